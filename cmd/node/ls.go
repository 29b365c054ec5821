package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cmd/node/admin"
)

// newLs lists nodes, also those that do not answer: a node that everybody still counts as a
// member and that says nothing is what an operator looks for. Such a list is complete as
// a list and partial as an answer, hence exit code 4 without --allow-partial.
func newLs() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "ls", Short: "list the nodes of the cluster", Args: noArgs, Aliases: []string{"members"},
		Example: "  loopmesh ls\n  loopmesh ls -o json | jq '.items[].id'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Node], error) { return c.Nodes(ctx) })
			if err != nil {
				return err
			}
			if err := showNodes(cmd, &o.output, list); err != nil {
				return err
			}
			return partial(&o, list)
		},
	}
	o.lists(cmd)
	return cmd
}

// showNodes prints nodes; a silent one has only what others know of it.
func showNodes(cmd *cobra.Command, o *output, list *admin.List[admin.Node]) error {
	told := func(value func(admin.Node) string) func(admin.Node) string {
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
		column[admin.Node]{"LOOPS", told(func(n admin.Node) string { return fmt.Sprint(n.Loops) })},
		column[admin.Node]{"TASKS", told(func(n admin.Node) string { return fmt.Sprint(n.Tasks) })},
		column[admin.Node]{"CONNS", told(func(n admin.Node) string { return fmt.Sprint(n.Conns) })},
		column[admin.Node]{"SERVED", told(func(n admin.Node) string { return fmt.Sprint(n.Served) })},
		column[admin.Node]{"AGE", told(func(n admin.Node) string { return age(list.Time.Sub(n.Started)) })},
		column[admin.Node]{"HOST", told(func(n admin.Node) string { return n.Host })},
		column[admin.Node]{"PID", told(func(n admin.Node) string { return fmt.Sprint(n.PID) })},
		column[admin.Node]{"NOTE", func(n admin.Node) string { return noteOf(n, list.Time) }},
	)
}

// noteOf marks the node that was asked, and says of a silent one when it was last heard
// of, by the clock of the node that was asked.
func noteOf(n admin.Node, now time.Time) string {
	switch {
	case n.Self:
		return "asked"
	case n.State == admin.Ready:
		return ""
	}
	return "last seen " + age(now.Sub(n.LastSeen)) + " ago"
}

// newLoop is the noun "loop". ANSWERED is how long a loop took to answer this question in
// a turn of its own: the time that anything else posted to it waits now.
func newLoop() *cobra.Command {
	var o target
	ls := &cobra.Command{
		Use: "ls", Short: "list the loops of all nodes", Args: noArgs,
		Example: "  loopmesh loop ls\n  loopmesh loop ls -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Loop], error) { return c.Loops(ctx) })
			if err != nil {
				return err
			}
			if err := showLoops(cmd, &o.output, list); err != nil {
				return err
			}
			return partial(&o, list)
		},
	}
	o.lists(ls)
	return group("loop", "event loops", ls)
}

func showLoops(cmd *cobra.Command, o *output, list *admin.List[admin.Loop]) error {
	return show(cmd, o, list,
		column[admin.Loop]{"LOOP", func(l admin.Loop) string { return l.ID }},
		column[admin.Loop]{"TASKS", func(l admin.Loop) string { return fmt.Sprint(l.Tasks) }},
		column[admin.Loop]{"CONNS", func(l admin.Loop) string { return fmt.Sprint(l.Conns) }},
		column[admin.Loop]{"ANSWERED", func(l admin.Loop) string { return (time.Duration(l.AnsweredUS) * time.Microsecond).String() }},
		column[admin.Loop]{"SERVES", func(l admin.Loop) string { return strings.Join(l.Servers, " ") }},
	)
}
