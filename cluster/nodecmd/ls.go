package nodecmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The lists of nodes and of loops. A list is data and verdict at once: it is printed
// whole, also when somebody did not answer, and only then does the command fail
// (checkComplete). So a script that ignores exit codes reads valid data, and one that
// looks at them knows that the data is incomplete.

// newLs lists nodes, also those that do not answer: a member that says nothing is
// what an operator looks for. Such a list names every member and lacks what the
// silent one would have told, hence exit code 4 without --allow-partial. The alias
// "members" is what other clusters' tools call this list.
func newLs() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "ls", Short: "list the nodes of the cluster", Args: noArgs, Aliases: []string{"members"},
		Long: "Lists the nodes of the cluster as the node that is asked knows them. STATE is ready, suspect (not heard of for a while)\n" +
			"or silent (it did not answer now). SERVED counts calls of other nodes that ran there.\n" +
			"Exit code 4 when a node or a loop does not answer.",
		Example: "  loopmesh ls\n  loopmesh ls -o json | jq '.items[].id'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Node], error) { return c.Nodes(ctx) })
			if err != nil {
				return err
			}
			if err := showNodes(cmd, &o.output, list); err != nil {
				return err
			}
			return checkComplete(&o, list)
		},
	}
	o.listFlags(cmd)
	return cmd
}

// showNodes prints nodes. The columns that only the node itself can fill are "-" for
// one that did not answer: a zero would look like an idle node.
func showNodes(cmd *cobra.Command, o *output, list *admin.List[admin.Node]) error {
	ifAnswered := func(value func(admin.Node) string) func(admin.Node) string {
		return func(n admin.Node) string {
			if n.Started.IsZero() {
				return "-"
			}
			return value(n)
		}
	}
	return show(cmd, o, list,
		column[admin.Node]{"NODE", func(n admin.Node) string { return n.ID }},
		column[admin.Node]{"STATE", func(n admin.Node) string { return n.State }},
		column[admin.Node]{"LOOPS", ifAnswered(func(n admin.Node) string { return fmt.Sprint(n.Loops) })},
		column[admin.Node]{"TASKS", ifAnswered(func(n admin.Node) string { return fmt.Sprint(n.Tasks) })},
		column[admin.Node]{"CONNS", ifAnswered(func(n admin.Node) string { return fmt.Sprint(n.Conns) })},
		column[admin.Node]{"SERVED", ifAnswered(func(n admin.Node) string { return fmt.Sprint(n.Served) })},
		column[admin.Node]{"AGE", ifAnswered(func(n admin.Node) string { return age(list.Time.Sub(n.Started)) })},
		column[admin.Node]{"HOST", ifAnswered(func(n admin.Node) string { return n.Host })},
		column[admin.Node]{"PID", ifAnswered(func(n admin.Node) string { return fmt.Sprint(n.PID) })},
		column[admin.Node]{"NOTE", func(n admin.Node) string { return noteOf(n, list.Time) }},
	)
}

// noteOf marks the node that was asked, and says of a silent or suspect one when it
// was last heard of, by the clock of the node that was asked.
func noteOf(n admin.Node, now time.Time) string {
	switch {
	case n.Self:
		return "asked"
	case n.State == admin.Ready:
		return ""
	}
	return "last seen " + age(now.Sub(n.LastSeen)) + " ago"
}

// newLoop groups the commands about loops; so far it lists them. ANSWERED is how long
// a loop took to answer this question in a turn of its own: about what anything else
// that is posted to it waits now.
func newLoop() *cobra.Command {
	var o target
	ls := &cobra.Command{
		Use: "ls", Short: "list the loops of all nodes", Args: noArgs,
		Long: "Lists the loops of all nodes. TASKS and CONNS are what lives on a loop now, ANSWERED is how long it took to answer:\n" +
			"anything else that is sent to it waits about as long. SERVES are the addresses it listens on.\n" +
			"Exit code 4 when a node or a loop does not answer.",
		Example: "  loopmesh loop ls\n  loopmesh loop ls -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Loop], error) { return c.Loops(ctx) })
			if err != nil {
				return err
			}
			if err := showLoops(cmd, &o.output, list); err != nil {
				return err
			}
			return checkComplete(&o, list)
		},
	}
	o.listFlags(ls)
	return group("loop", "list the event loops", ls)
}

// showLoops prints loops; one that did not answer is not among them and is named in
// the error that follows.
func showLoops(cmd *cobra.Command, o *output, list *admin.List[admin.Loop]) error {
	return show(cmd, o, list,
		column[admin.Loop]{"LOOP", func(l admin.Loop) string { return l.ID }},
		column[admin.Loop]{"TASKS", func(l admin.Loop) string { return fmt.Sprint(l.Tasks) }},
		column[admin.Loop]{"CONNS", func(l admin.Loop) string { return fmt.Sprint(l.Conns) }},
		column[admin.Loop]{"ANSWERED", func(l admin.Loop) string { return (time.Duration(l.AnsweredUS) * time.Microsecond).String() }},
		column[admin.Loop]{"SERVES", func(l admin.Loop) string { return strings.Join(l.Servers, " ") }},
	)
}
