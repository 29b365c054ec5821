package nodecmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command status: nodes with their loops, as a page for people, and a verdict as
// exit code. The node that is asked is asked twice, for nodes and for loops; a node
// that appears between the two has no loops on its page, which the next call shows.

// nodeStatus is a node with its loops: the item of StatusList in JSON.
type nodeStatus struct {
	admin.Node
	Detail []admin.Loop `json:"loop_details"`
}

// newStatus shows what "ls" and "loop ls" show, of one node or all, and checks it:
// exit code 7 when a node is not ready or a loop does not answer. That is another
// code than 4, since everybody who could be asked was asked, and the answer is no.
func newStatus() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "status [NODE]", Short: "show one node or all nodes, and check that they are healthy", Example: "  loopmesh status\n  loopmesh status n2\n  loopmesh status > /dev/null || alert",
		Long: "Shows nodes with their loops, and checks them: exit code 7 when a node is not ready or a loop does not answer, so that a\n" +
			"script can ask 'is it healthy?'.",
		Args: oneNodeAtMost,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := ask(cmd, &o, status)
			if err != nil {
				return err
			}
			if list, err = keepNode(list, args); err != nil {
				return err
			}
			if err := showStatus(cmd, &o.output, list); err != nil {
				return err
			}
			return checkHealth(list)
		},
	}
	o.flags(cmd)
	cmd.ValidArgsFunction = suggestNodes
	return cmd
}

// suggestNodes completes the name of a node of the cluster, not only of this machine.
func suggestNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return suggest(cmd, func(ctx context.Context, c *admin.Client) (names []string) {
		if list, err := c.Nodes(ctx); err == nil {
			for _, n := range list.Items {
				names = append(names, n.ID)
			}
		}
		return names
	})
}

// status puts nodes and loops together. Both lists come from one node; who is partial
// is taken from the first one, which asks the loops, too.
func status(ctx context.Context, c *admin.Client) (*admin.List[nodeStatus], error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	loops, err := c.Loops(ctx)
	if err != nil {
		return nil, err
	}
	list := &admin.List[nodeStatus]{Kind: "StatusList", APIVersion: nodes.APIVersion, Time: nodes.Time, Partial: nodes.Partial}
	for _, n := range nodes.Items {
		s := nodeStatus{Node: n, Detail: []admin.Loop{}}
		for _, l := range loops.Items {
			if l.Node == n.ID {
				s.Detail = append(s.Detail, l)
			}
		}
		list.Items = append(list.Items, s)
	}
	return list, nil
}

// keepNode leaves of the list the node that the user named, with what is missing of
// it: another node's silence must not decide the exit code of "status n2".
func keepNode(list *admin.List[nodeStatus], args []string) (*admin.List[nodeStatus], error) {
	if len(args) == 0 {
		return list, nil
	}
	one := *list
	one.Items, one.Partial = nil, nil
	var known []string
	for _, n := range list.Items {
		known = append(known, n.ID)
		if n.ID == args[0] {
			one.Items = append(one.Items, n)
		}
	}
	for _, m := range list.Partial {
		if node, _, _ := strings.Cut(m.ID, "/"); node == args[0] {
			one.Partial = append(one.Partial, m)
		}
	}
	if len(one.Items) == 0 {
		return nil, &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("no node %q in the cluster", args[0]), Hint: "nodes: " + strings.Join(known, ", ")}
	}
	return &one, nil
}

// checkHealth gives the verdict. A node that is silent as a whole counts once, by its
// state; from the list of who did not answer only single loops are taken (their ids
// have a slash), or the node would be counted twice.
func checkHealth(list *admin.List[nodeStatus]) error {
	var problems []string
	for _, n := range list.Items {
		if n.State != admin.Ready {
			problems = append(problems, fmt.Sprintf("%s is %s", n.ID, n.State))
		}
	}
	for _, m := range list.Partial {
		if strings.Contains(m.ID, "/") {
			problems = append(problems, m.ID+" does not answer")
		}
	}
	if len(problems) > 0 {
		return conditionError{fmt.Errorf("not everything is healthy: %s", strings.Join(problems, ", "))}
	}
	return nil
}

// showStatus prints pages for people; as JSON or names it is a list like the others.
func showStatus(cmd *cobra.Command, o *output, list *admin.List[nodeStatus]) error {
	if o.format != formatTable && o.format != formatWide {
		return show(cmd, o, list, column[nodeStatus]{"NODE", func(n nodeStatus) string { return n.ID }})
	}
	var b strings.Builder
	for i, n := range list.Items {
		if i > 0 {
			b.WriteByte('\n')
		}
		statusPage(&b, n, list)
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// statusPage is one node as a page for people. A node that did not answer has no
// start time; all that is known of it is its state and when it was last heard of.
// SILENT marks a loop, or a node, that did not answer in time.
func statusPage(b *strings.Builder, n nodeStatus, list *admin.List[nodeStatus]) {
	row := func(title, format string, args ...any) {
		fmt.Fprintf(b, "%10s  %s\n", title, printable(fmt.Sprintf(format, args...)))
	}
	if n.Started.IsZero() {
		fmt.Fprintf(b, "%s, last seen %s ago\n", printable(n.ID+" - "+n.State), age(list.Time.Sub(n.LastSeen)))
	} else {
		fmt.Fprintf(b, "%s since %s (%s)\n", printable(n.ID+" - "+n.State), n.Started.Format(time.RFC3339), age(list.Time.Sub(n.Started)))
		row("process", "%d on %s, loopmesh %s, %s", n.PID, n.Host, n.Version, n.Go)
		if n.URL != "" {
			row("join URL", "%s", n.URL)
		}
		row("calls", "%d served, %d made, %d of these failed", n.Served, n.Calls, n.CallsFailed)
	}
	for _, l := range n.Detail {
		serves := ""
		if len(l.Servers) > 0 {
			serves = ", serves " + strings.Join(l.Servers, " ")
		}
		row("loop", "%s: %d tasks, %d conns, answered in %v%s", l.Name, l.Tasks, l.Conns, time.Duration(l.AnsweredUS)*time.Microsecond, serves)
	}
	for _, m := range list.Partial {
		if node, _, _ := strings.Cut(m.ID, "/"); node == n.ID {
			row("SILENT", "%s: %s", m.ID, m.Error.Message)
		}
	}
}
