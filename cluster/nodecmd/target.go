package nodecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// Which node is asked. A node shows its whole cluster, so any node of this machine will do,
// as long as all nodes of this user here are of one cluster; a command never guesses
// between two. Nodes are found by their admin sockets in a folder that only this user can
// write to (admin.Dir); package admin checks who is behind a socket before it trusts an
// answer.

// target holds the flags that choose the node to ask and how long to wait. --socket
// is for a node whose socket is not in the usual folder: of another user, for root,
// or started with --socket itself.
type target struct {
	output
	node, socket string
	context      string // its name
	timeout      time.Duration
	allowPartial bool
}

func (o *target) flags(cmd *cobra.Command) {
	o.output.flag(cmd)
	o.reachFlags(cmd)
}

// reachFlags are flags without a form of the output.
func (o *target) reachFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.node, "node", "n", "", "ask this node, one of yours on this machine; each shows the whole cluster")
	cmd.Flags().StringVarP(&o.socket, "socket", "s", "", "ask the node with this admin socket, instead of --node")
	cmd.Flags().StringVar(&o.context, "context", "", "ask the target that 'loopmesh context save' has kept under this name")
	_ = cmd.RegisterFlagCompletionFunc("context", suggestContexts)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Second, "give up after this time")
	_ = cmd.RegisterFlagCompletionFunc("node", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return admin.Sockets(), cobra.ShellCompDirectiveNoFileComp
	})
}

// listFlags adds what commands have that ask every node: with one silent node the
// list lacks something, and the user may accept that.
func (o *target) listFlags(cmd *cobra.Command) {
	o.flags(cmd)
	o.selected.flags(cmd)
	cmd.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "exit with 0 although some nodes or loops do not answer")
}

// ask finds a node, puts question to it and gives its answer. --timeout bounds the
// whole of it, the search for the node included.
func ask[T any](cmd *cobra.Command, o *target, question func(context.Context, *admin.Client) (T, error)) (out T, err error) {
	if err := o.check(); err != nil {
		return out, err
	}
	if o.timeout <= 0 {
		return out, usageError{fmt.Errorf("--timeout is %v; it must be positive", o.timeout)}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	client, err := o.client(ctx)
	if err != nil {
		return out, err
	}
	defer client.Close()
	return question(ctx, client)
}

// client decides which node is asked: the one of --socket, that of a context (--context, or
// the selected one without --node), the one of --node, else any. It never guesses: sockets whose nodes know each other, by name and
// incarnation, are one cluster and one target; sockets of two clusters are an error
// that lists them.
func (o *target) client(ctx context.Context) (*admin.Client, error) {
	if o.socket != "" {
		return admin.NewClient(o.socket), nil
	}
	if c, err := o.kept(); c != nil || err != nil {
		return c, err
	}
	all := admin.Sockets()
	if o.node != "" {
		if !slices.Contains(all, o.node) {
			return nil, unknownNode(ctx, o.node, all)
		}
		return admin.NewClient(admin.Path(o.node)), nil
	}
	found, err := answering(ctx, all)
	if err != nil {
		return nil, err
	}
	if groups := acquainted(found); len(groups) > 1 {
		return nil, &admin.Error{
			Kind: admin.BadRequest, Code: admin.CodeManyTargets, Message: "the nodes on this machine do not all know each other: " + strings.Join(groups, " | "),
			Hint: "they are of several clusters, or one is cut off from the others; choose one with --node",
		}
	}
	return admin.NewClient(admin.Path(found[0].socket)), nil
}

// kept is the client of the context that --context names, else of the one that was selected;
// nil: there is neither, or --node names a node of this machine. A context that cannot be
// found or read is an error and never another target.
func (o *target) kept() (*admin.Client, error) {
	if o.node != "" && o.context == "" {
		return nil, nil
	}
	all, err := readContexts()
	if err != nil {
		return nil, err
	}
	name := cmp.Or(o.context, all.Selected)
	if name == "" {
		return nil, nil
	}
	one, err := all.find(name)
	if err != nil {
		return nil, err
	}
	return clientOf(name, one)
}

// acquainted sorts nodes into groups, each of those that its first one knows, by name
// and incarnation, and names the members of each. A node that is cut off, by revoked
// keys or a broken link, is a group of its own, although its cluster is that of others.
func acquainted(nodes []found) (groups []string) {
	for len(nodes) > 0 {
		first := nodes[0]
		var names []string
		nodes = slices.DeleteFunc(slices.Clone(nodes), func(f found) bool {
			knows := f.socket == first.socket || sameLife(first.Members[f.Name], f.Incarnation)
			if knows {
				names = append(names, f.socket)
			}
			return knows
		})
		groups = append(groups, joinOrNone(names))
	}
	return groups
}

// sameLife compares two incarnations. Nodes of earlier versions write theirs as 16
// hexadecimal digits; a decimal one has 19, as the time in it is that of this century.
func sameLife(a, b string) bool {
	read := func(s string) uint64 {
		base := 10
		if len(s) == 16 {
			base = 16
		}
		n, _ := strconv.ParseUint(s, base, 64) // 0 is no life
		return n
	}
	return a == b || a != "" && read(a) == read(b) && read(a) != 0
}

// unknownNode names the nodes that answer now. The list of sockets alone would name
// nodes that were killed, and the user would try them next.
func unknownNode(ctx context.Context, name string, sockets []string) error {
	var names []string
	if running, err := answering(ctx, sockets); err == nil {
		for _, f := range running {
			names = append(names, f.socket)
		}
	}
	return &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("no node %q of yours runs on this machine", name), Hint: "nodes that run: " + joinOrNone(names)}
}

// joinOrNone keeps a message from ending in a colon and nothing.
func joinOrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// lookLimit bounds the question to one socket: the kernel accepts a connection on
// behalf of a suspended process, which then never answers.
const lookLimit = time.Second

// found is a node that answered, and the name of its socket.
type found struct {
	socket string
	*admin.Self
}

// answering asks every node of this user on this machine for its name, one after
// another. It returns those that answer, at least one; else an error that says what
// was found. A node that accepts and does not answer (it is suspended, or stuck) is
// the better message than sockets without a node, so that one is kept.
//
// Why ask at all: a killed node leaves its socket file behind, and connecting to it
// is the only way to tell. Each question has a limit of its own, or one suspended
// node would use up the time of the others.
func answering(ctx context.Context, sockets []string) (all []found, err error) {
	var hung error
	for _, name := range sockets {
		look, cancel := context.WithTimeout(ctx, lookLimit)
		client := admin.NewClient(admin.Path(name))
		self, err := client.Self(look)
		client.Close()
		cancel()
		var e *admin.Error
		switch {
		case err == nil:
			all = append(all, found{name, self})
		case errors.As(err, &e) && e.Kind != admin.Unreachable:
			hung = err
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case hung != nil:
		return nil, hung
	}
	why := "there is no socket in " + admin.Dir()
	if len(sockets) > 0 {
		why = "the nodes that left a socket in " + admin.Dir() + " have ended: " + strings.Join(sockets, ", ")
	}
	return nil, &admin.Error{
		Kind: admin.Unreachable, Message: "no node of yours runs on this machine: " + why,
		Hint: `start one with "loopmesh start" or "loopmesh dev", or point at one with --socket`,
	}
}

// runList asks for a list, prints it and checks that it is complete; again and again
// with --watch.
func runList[T any](cmd *cobra.Command, o *target, question func(context.Context, *admin.Client) (*admin.List[T], error), print func(*admin.List[T]) error) error {
	return o.selected.repeat(cmd, func() error {
		list, err := ask(cmd, o, question)
		if err != nil {
			return err
		}
		if err := print(list); err != nil {
			return err
		}
		return checkComplete(o, list)
	})
}

// Lists are alike: the same flags, the same treatment of who did not answer, the same
// forms of output. What differs between two of them is which question is put and which
// columns are shown; the rest is here.
//
// listing describes a command that lists things of one kind.
type listing[T any] struct {
	use, short, long, example string
	ask                       func(context.Context, *admin.Client) (*admin.List[T], error)
	columns                   []column[T]
}

// command makes it.
func (l listing[T]) command() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: l.use, Short: l.short, Long: l.long + "\nExit code 4 when a node or a loop does not answer.", Example: l.example, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &o, l.ask, func(list *admin.List[T]) error { return show(cmd, &o.output, list, l.columns...) })
		},
	}
	o.listFlags(cmd)
	return cmd
}

// checkComplete makes the command fail, after its list is printed, when somebody did
// not answer: a script that counts the lines of an incomplete list would be wrong.
func checkComplete[T any](o *target, list *admin.List[T]) error {
	if len(list.Partial) == 0 || o.allowPartial {
		return nil
	}
	return &partialError{list.Partial}
}
