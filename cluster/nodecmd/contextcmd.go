package nodecmd

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about contexts. They ask no node: a context may be saved for a node that does
// not run yet.

// Nothing checks whether the target answers when it is saved: the next command will, and says
// what is wrong. What can be checked without asking anybody is (savedContext.check).

// contextItem is a context as lists and documents show it. The token is never in it.
type contextItem struct {
	ID       string `json:"id"`
	Target   string `json:"target"`
	HasToken bool   `json:"has_token"`
	Selected bool   `json:"selected"`
}

// Why "select" and "rm", as nats and kubectl have them, and no command that renames? Saving under
// another name is one line, and renaming what is selected raises questions that nobody has.
//
// newContext groups them.
func newContext() *cobra.Command {
	return group("context", "keep names for nodes to ask, and choose one for all commands", newContextSave(), newContextLs(), newContextShow(), newContextSelect(), newContextRm())
}

// newContextSave keeps a target. The address of a node by --node is that of its socket, so the
// context goes on to work when the node is started anew; an incarnation is not in it.
func newContextSave() *cobra.Command {
	var o output
	var one savedContext
	var node, tokenFile string
	var replace, choose, insecure bool
	cmd := &cobra.Command{
		Use: "save NAME", Short: "keep a target under a name", Args: exactArgs,
		Long: `Keeps a target under NAME, for --context NAME and 'context select NAME' of all commands: the admin socket of a node, or the
address of an admin API (start --admin-listen) with the token in a file. The token is copied into the file of contexts,
which only you can read, and is never printed. An address without TLS beyond this machine would send the token readable
for everybody on the way: it takes --insecure.`,
		Example: "  loopmesh context save here --node n1\n  loopmesh context save prod --url https://ops.example.net --token-file ./token --select",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if node != "" && one.Socket == "" {
				one.Socket = admin.Path(node)
			}
			if one.Socket != "" {
				path, err := filepath.Abs(one.Socket)
				if err != nil {
					return usageError{fmt.Errorf("--socket: %w", err)}
				}
				one.Socket = path
			}
			var err error
			if one.Token, err = readTokenOf("--token-file", tokenFile); err != nil {
				return err
			}
			if err := one.check(args[0]); err != nil {
				return usageError{fmt.Errorf("context %q: %w", args[0], err)}
			}
			if u, err := checkURL(one.URL); err == nil && u.Scheme == "http" && one.Token != "" && !onLoopback(u) && !insecure {
				return usageError{fmt.Errorf("%s sends the token without TLS to another machine; put it behind TLS, or add --insecure", one.URL)}
			}
			err = changeContexts(func(c *contexts) error {
				if have, there := c.Contexts[args[0]]; there && !replace {
					return &admin.Error{Kind: admin.Refused, Code: admin.CodeContextThere, Message: fmt.Sprintf("there is a context %q already, for %s", args[0], have.target()), Hint: "--replace replaces it"}
				}
				c.Contexts[args[0]] = one
				if choose {
					c.Selected = args[0]
				}
				return nil
			})
			return sayContext(cmd, &o, args[0], err)
		},
	}
	o.flag(cmd)
	f := cmd.Flags()
	f.StringVarP(&node, "node", "n", "", "the node of this name on this machine, by its usual socket")
	f.StringVarP(&one.Socket, "socket", "s", "", "the node with this admin socket")
	f.StringVar(&one.URL, "url", "", "the admin API at this address, as https://host:port")
	f.StringVar(&tokenFile, "token-file", "", "file with the token of --url")
	f.BoolVar(&replace, "replace", false, "replace a context of this name")
	f.BoolVar(&choose, "select", false, "and use it for all commands from now on")
	f.BoolVar(&insecure, "insecure", false, "send the token without TLS, also to another machine")
	return cmd
}

// sayContext tells what was done, to programs only: exit code 0 says it to people.
func sayContext(cmd *cobra.Command, o *output, name string, err error) error {
	switch {
	case err != nil:
		return err
	case o.forPrograms():
		return o.document(cmd, &admin.Done{Kind: "Done", APIVersion: admin.APIVersion, ID: name})
	case o.format == formatName:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
	}
	return err
}

// contextItems are all contexts by their names.
func contextItems() (*admin.List[contextItem], error) {
	c, err := readContexts()
	if err != nil {
		return nil, err
	}
	list := &admin.List[contextItem]{Kind: "ContextList", APIVersion: admin.APIVersion, Time: time.Now().UTC(), Items: []contextItem{}}
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		one := c.Contexts[name]
		list.Items = append(list.Items, contextItem{name, one.target(), one.Token != "", name == c.Selected})
	}
	return list, nil
}

// contextColumns are how a context is shown.
func contextColumns() []column[contextItem] {
	return []column[contextItem]{
		{"CONTEXT", func(c contextItem) string { return c.ID }},
		{"SELECTED", func(c contextItem) string { return yesNo(c.Selected) }},
		{"TARGET", func(c contextItem) string { return c.Target }},
		{"TOKEN", func(c contextItem) string {
			if c.HasToken {
				return "kept"
			}
			return ""
		}},
	}
}

// newContextLs lists them; unlike the lists of nodes it has no --watch: nothing but its reader
// changes it.
func newContextLs() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "ls", Short: "list the contexts", Args: noArgs, Example: "  loopmesh context ls\n  loopmesh context ls -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			list, err := contextItems()
			if err != nil {
				return err
			}
			return show(cmd, &o, list, contextColumns()...)
		},
	}
	o.flag(cmd)
	o.selected.choiceFlags(cmd)
	return cmd
}

// newContextShow is one line of the list, by its name: for scripts that want to know where a word
// leads before they use it.
func newContextShow() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "show NAME", Short: "show one context, without its token", Args: exactArgs, Example: "  loopmesh context show prod -o json", ValidArgsFunction: suggestContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := readContexts()
			if err != nil {
				return err
			}
			one, err := c.find(args[0])
			if err != nil {
				return err
			}
			item := contextItem{args[0], one.target(), one.Token != "", args[0] == c.Selected}
			if o.forPrograms() {
				return o.document(cmd, item)
			}
			return show(cmd, &o, &admin.List[contextItem]{Items: []contextItem{item}}, contextColumns()...)
		},
	}
	o.flag(cmd)
	return cmd
}

// newContextSelect changes what every later command of this user asks. That is why what is
// selected stands first in the list, and an unknown name is refused here and not later.
func newContextSelect() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "select NAME", Short: "use a context for all commands from now on", Args: exactArgs, ValidArgsFunction: suggestContexts,
		Long:    "Uses the context NAME for all commands that name no node, socket or context themselves. \"none\" takes that back: then a command asks\na node of this machine.",
		Example: "  loopmesh context select prod\n  loopmesh context select none",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return sayContext(cmd, &o, args[0], changeContexts(func(c *contexts) error {
				if args[0] == noContext {
					c.Selected = ""
					return nil
				}
				_, err := c.find(args[0])
				c.Selected = args[0]
				return err
			}))
		},
	}
	o.flag(cmd)
	return cmd
}

// newContextRm forgets a target. It asks nothing back: saving it again takes one line, and a token
// that should be gone should be gone at once.
func newContextRm() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "forget a context, with its token", Args: exactArgs, ValidArgsFunction: suggestContexts,
		Long: "Forgets the context NAME. When it was selected, none is selected.", Example: "  loopmesh context rm prod",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return sayContext(cmd, &o, args[0], changeContexts(func(c *contexts) error {
				_, err := c.find(args[0])
				delete(c.Contexts, args[0])
				if c.Selected == args[0] {
					c.Selected = ""
				}
				return err
			}))
		},
	}
	o.flag(cmd)
	return cmd
}

// Completion reads the same file as the commands, and is silent when it cannot: a prompt is no
// place for an error that the next command tells.
//
// suggestContexts completes the name of a context.
func suggestContexts(_ *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	if list, err := contextItems(); err == nil && len(args) == 0 {
		for _, c := range list.Items {
			out = append(out, c.ID+"\t"+printable(c.Target))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
