package nodecmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about what outlives nodes: names, calls for later, commands. All of it is
// in the store of the cluster (JetStream), so any node shows the same. A cluster without
// a store answers with what to change, and with exit code 8 as "start" does: the same
// question fails until the configuration is another one.
//
// Three questions are answered from here. "Who runs it?" is 'name ls': timers/GROUP and
// queue/QUEUE stand there with the node that serves them, and what nobody serves waits.
// "Why did it not run?" is 'timer ls' or 'command ls': FAILED counts, and ERROR is the
// last one. "What was given up?" is 'command dead' and 'timer ls --filter state=dead'.

// newName groups the commands about names.
func newName() *cobra.Command {
	return group("name", "list the names that nodes own", listing[admin.Name]{
		use: "ls", short: "list the names that nodes own",
		long: "Lists the names that nodes of the cluster own: singletons, groups of durable calls (timers/GROUP), queues (queue/QUEUE). TOKEN is\n" +
			"higher for each later owner of a name. Times are UTC.",
		example: "  loopmesh name ls\n  loopmesh name ls --filter node=n1 -o name",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Name], error) { return c.Names(ctx) },
		columns: nameColumns(),
	}.command())
}

func nameColumns() []column[admin.Name] {
	return []column[admin.Name]{
		{"NAME", func(n admin.Name) string { return n.ID }},
		{"NODE", func(n admin.Name) string { return n.Node }},
		{"LOOP", func(n admin.Name) string { return n.Loop }},
		{"TOKEN", func(n admin.Name) string { return fmt.Sprint(n.Token) }},
		{"SINCE", func(n admin.Name) string { return moment(n.Since) }},
		wide[admin.Name](),
		{"INCARNATION", func(n admin.Name) string { return n.Incarnation }},
	}
}

// moment writes a time for people, "" for none. Why not how long ago: what is due lies
// ahead, and a schedule is read beside a calendar.
func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.DateTime)
}

// newTimer groups the commands about durable calls for later.
func newTimer() *cobra.Command {
	var of string
	ls := listing[admin.Timer]{
		use: "ls", short: "list the durable calls for later",
		long: "Lists the durable calls for later by their times. STATE is pending, done or cancelled (both are kept for an hour) or dead: it failed\n" +
			"as often as it may, and ERROR says how. Times are UTC. A group that nobody serves and that is empty is not found.",
		example: "  loopmesh timer ls --group shop\n  loopmesh timer ls --filter state=dead -o name",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Timer], error) { return c.Timers(ctx, of) },
		columns: timerColumns(),
	}.command()
	ls.Flags().StringVarP(&of, "group", "g", "", "only those of this group")
	return group("timer", "list durable calls for later, cancel and fire them", ls, withTimers(ordering("cancel TIMER", "take a durable call for later back",
		"Takes the call TIMER back, an id GROUP/ID that 'loopmesh timer ls' prints. A run that has begun goes on and is the last one.\n"+
			"The node that is asked needs the right admin.", "  loopmesh timer cancel shop/remind-17 --reason 'paid'",
		func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error) {
			return c.CancelTimer(ctx, id, reason)
		})), withTimers(ordering("fire TIMER", "make a durable call due now",
		"Makes the call TIMER due now, an id GROUP/ID that 'loopmesh timer ls' prints, also one that is dead: it has all its attempts again. A\n"+
			"recurring one goes on with its rule. Exit code 0 means that it is stored so, not that it ran. The node that is asked needs the right\nadmin.",
		"  loopmesh timer fire shop/report",
		func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error) {
			return c.FireTimer(ctx, id, reason)
		})))
}

func timerColumns() []column[admin.Timer] {
	return []column[admin.Timer]{
		{"TIMER", func(t admin.Timer) string { return t.ID }},
		{"STATE", func(t admin.Timer) string { return t.State }},
		{"DUE", func(t admin.Timer) string { return moment(t.Due) }},
		{"RULE", func(t admin.Timer) string { return t.Rule }},
		{"FUNCTION", func(t admin.Timer) string { return t.Function }},
		{"FAILED", func(t admin.Timer) string { return fmt.Sprint(t.Attempts) }},
		{"ERROR", func(t admin.Timer) string { return t.Error }},
		wide[admin.Timer](),
		{"ZONE", func(t admin.Timer) string { return t.Zone }},
		{"CHANGED", func(t admin.Timer) string { return moment(t.Changed) }},
	}
}

// withTimers completes a timer's id; a shell that can shows its state beside it.
func withTimers(cmd *cobra.Command) *cobra.Command {
	return completing(cmd, func(ctx context.Context, c *admin.Client) (ids []string) {
		if list, err := c.Timers(ctx, ""); err == nil {
			for _, t := range list.Items {
				ids = append(ids, t.ID+"\t"+t.State)
			}
		}
		return ids
	})
}

// completing completes the one argument of a command from what a node lists.
func completing(cmd *cobra.Command, ids func(context.Context, *admin.Client) []string) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return suggest(cmd, ids)
	}
	return cmd
}

// newCommand groups the commands about durable commands.
func newCommand() *cobra.Command {
	waiting := commandListing("ls", "list the durable commands that wait or run",
		"Lists the commands that wait in queues or run, in the order in which they were stored, 10,000 at most.",
		func(ctx context.Context, c *admin.Client, queue string) (*admin.List[admin.Command], error) {
			return c.Commands(ctx, queue)
		})
	dead := commandListing("dead", "list the dead letters",
		"Lists the commands that failed as often as they may; ERROR is the last error. They stay until they are requeued.",
		func(ctx context.Context, c *admin.Client, queue string) (*admin.List[admin.Command], error) {
			return c.DeadLetters(ctx, queue)
		})
	requeue := ordering("requeue COMMAND", "let a dead letter wait in its queue again",
		"Lets the dead letter COMMAND wait in its queue again, an id QUEUE/ID that 'loopmesh command dead' prints. It has all its attempts again\n"+
			"and goes to the end of its key. The node that is asked needs the right admin.",
		"  loopmesh command requeue mail/mail-17\n  loopmesh command dead -o name | xargs -n1 loopmesh command requeue",
		func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error) {
			return c.Requeue(ctx, id, reason)
		})
	return group("command", "list durable commands and dead letters, requeue them", waiting, dead, completing(requeue, func(ctx context.Context, c *admin.Client) (ids []string) {
		if list, err := c.DeadLetters(ctx, ""); err == nil {
			for _, d := range list.Items {
				ids = append(ids, d.ID+"\t"+d.Error)
			}
		}
		return ids
	}))
}

// commandListing is one of the two lists of commands, with --queue.
func commandListing(use, short, long string, ask func(ctx context.Context, c *admin.Client, queue string) (*admin.List[admin.Command], error)) *cobra.Command {
	var of string
	cmd := listing[admin.Command]{
		use: use, short: short, long: long + " Times are UTC.\nA queue that nobody serves and that is empty is not found.",
		example: "  loopmesh command " + use + " --queue mail -o name",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Command], error) { return ask(ctx, c, of) },
		columns: commandColumns(),
	}.command()
	cmd.Flags().StringVarP(&of, "queue", "q", "", "only those of this queue")
	return cmd
}

func commandColumns() []column[admin.Command] {
	return []column[admin.Command]{
		{"COMMAND", func(c admin.Command) string { return c.ID }},
		{"STATE", func(c admin.Command) string { return c.State }},
		{"KEY", func(c admin.Command) string { return c.Key }},
		{"FUNCTION", func(c admin.Command) string { return c.Function }},
		{"SENT", func(c admin.Command) string { return moment(c.Sent) }},
		{"FAILED", func(c admin.Command) string { return fmt.Sprint(c.Attempts) }},
		{"ERROR", func(c admin.Command) string { return c.Error }},
		wide[admin.Command](),
		{"ENDED", func(c admin.Command) string { return moment(c.Ended) }},
	}
}
