package nodecmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about functions. What a node can run is compiled into its program and
// registered by name (cluster.Func); a command sends a name and JSON, never code. The
// node that is asked finds out nothing in advance: an unknown function, or an
// argument of another type, is the answer of the node that would run it.

// newFunc groups the commands about the functions that the programs of the cluster
// register.
func newFunc() *cobra.Command {
	return group("func", "list functions and run them on loops of any node", newFuncLs(), newFuncCall())
}

// newFuncLs lists functions by name with the nodes that have them. The functions
// through which nodes ask each other for these lists are left out without --all:
// calling them by hand is of no use.
func newFuncLs() *cobra.Command {
	var o target
	var all bool
	cmd := &cobra.Command{
		Use: "ls", Short: "list the functions of all nodes", Args: noArgs,
		Long: "Lists the functions that the programs of the cluster have registered, with the Go types of their input and output and\n" +
			"the nodes that have them. Exit code 4 when a node does not answer.",
		Example: "  loopmesh func ls\n  loopmesh func ls --all",
		RunE: func(cmd *cobra.Command, _ []string) error {
			question := func(ctx context.Context, c *admin.Client) (*admin.List[admin.Func], error) { return c.Funcs(ctx) }
			return runList(cmd, &o, question, func(list *admin.List[admin.Func]) error {
				if !all {
					list.Items = slices.DeleteFunc(list.Items, func(f admin.Func) bool { return f.Internal })
				}
				return showFuncs(cmd, &o.output, list)
			})
		},
	}
	o.listFlags(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "include the functions through which nodes answer these commands")
	return cmd
}

// showFuncs prints functions. A name that stands there twice belongs to programs of
// two versions, with different types.
func showFuncs(cmd *cobra.Command, o *output, list *admin.List[admin.Func]) error {
	return show(cmd, o, list,
		column[admin.Func]{"FUNCTION", func(f admin.Func) string { return f.ID }},
		column[admin.Func]{"INPUT", func(f admin.Func) string { return f.In }},
		column[admin.Func]{"OUTPUT", func(f admin.Func) string { return f.Out }},
		column[admin.Func]{"NODES", func(f admin.Func) string { return strings.Join(f.Nodes, " ") }},
	)
}

// newFuncCall is cluster.Function.Call for people. The node that is asked makes the
// call in this command's place: it passes the deadline on, and when this command is
// interrupted, the request ends, and with it the call, which cancels the function's
// task on the other node. That the argument is JSON is checked here, before any node
// is asked, so that a quoting error of the shell is an error of usage.
func newFuncCall() *cobra.Command {
	var o target
	var on string
	cmd := &cobra.Command{
		Use: "call NAME JSON", Short: "run a function on a loop and print its result", Args: exactArgs,
		Long: "Runs the function NAME on the loop --on, at most once, with JSON as its argument. JSON - takes it from standard input.\n" +
			"Prints the result as JSON; with -o json inside a document that also says how long the call took.\n" +
			"After exit code 4 or 5 the function may have run or not. Ctrl-C cancels the function's task.",
		Example: "  loopmesh func call demo.add '[1,2]' --on n2/io-0\n  loopmesh func call demo.sleep '\"10s\"' --on n1/io-0 --timeout 20s",
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := argument(cmd, args[1])
			if err != nil {
				return err
			}
			if on == "" {
				return usageError{fmt.Errorf("--on is missing: name a loop, for example --on n1/io-0; \"loopmesh loop ls\" lists them")}
			}
			if !json.Valid(payload) {
				return usageError{fmt.Errorf("the argument %q is not JSON: write a text as '\"text\"', and null for a function without input", args[1])}
			}
			q := admin.CallRequest{Function: args[0], On: on, Payload: payload}
			result, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.CallResult, error) { return c.Call(ctx, q) })
			if err != nil {
				return err
			}
			if o.forPrograms() {
				return o.document(cmd, result)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), escaped(string(result.Result), jsonEscape))
			return err
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&on, "on", "", "loop that runs the function, as NODE/LOOP")
	cmd.ValidArgsFunction = suggestFunctions
	_ = cmd.RegisterFlagCompletionFunc("on", suggestLoops)
	return cmd
}

// suggestFunctions completes the name of a function, the first argument.
func suggestFunctions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return suggest(cmd, func(ctx context.Context, c *admin.Client) (names []string) {
		if list, err := c.Funcs(ctx); err == nil {
			for _, f := range list.Items {
				names = append(names, f.ID)
			}
		}
		return names
	})
}

// suggestLoops completes the address of a loop of any node.
func suggestLoops(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return suggest(cmd, func(ctx context.Context, c *admin.Client) (names []string) {
		if list, err := c.Loops(ctx); err == nil {
			for _, l := range list.Items {
				names = append(names, l.ID)
			}
		}
		return names
	})
}

// maxInput bounds what is read from standard input. It is above every MaxPayload that
// a node can have, so that the limit which a user is told is the node's own.
const maxInput = 8 << 20

// argument is an argument as it stands, or all of standard input for a dash, so that
// data which is long or secret need not stand on a command line.
func argument(cmd *cobra.Command, text string) ([]byte, error) {
	if text != "-" {
		return []byte(text), nil
	}
	b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("there are more than %d bytes, the most that a call or write can carry", maxInput)
	}
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return b, nil
}

// suggestLimit is how long a user waits for words after pressing tab.
const suggestLimit = 300 * time.Millisecond

// suggest asks a node for words that complete an argument. The shell runs this
// program for each tab, in the middle of a line that is being typed: errors give no
// words and no message, and the short limit keeps the prompt from hanging on a node
// that does not answer. A word may have a tab and a description behind it.
func suggest(cmd *cobra.Command, question func(context.Context, *admin.Client) []string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, suggestLimit)
	defer cancel()
	var o target
	o.node, _ = cmd.Flags().GetString("node") // both are there
	o.socket, _ = cmd.Flags().GetString("socket")
	o.context, _ = cmd.Flags().GetString("context")
	client, err := o.client(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	words := question(ctx, client)
	for i, w := range words {
		word, about, described := strings.Cut(w, "\t")
		if words[i] = printable(word); described {
			words[i] += "\t" + printable(about)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeFrom completes one of a few fixed words.
func completeFrom(all ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
