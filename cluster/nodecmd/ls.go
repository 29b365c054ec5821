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

// newLs lists nodes, also those that do not answer and those that died: a member that
// says nothing is what an operator looks for. A silent one makes the answer partial,
// hence exit code 4 without --allow-partial; a dead one is an answer, and is exit code 4
// with --strict. The alias "members" is what other clusters' tools call this list.
func newLs() *cobra.Command {
	var o target
	var strict, all bool
	cmd := &cobra.Command{
		Use: "ls", Short: "list the nodes of the cluster", Args: noArgs, Aliases: []string{"members"},
		Long: "Lists the nodes of the cluster as the node that is asked knows them. STATE is ready, suspect (not heard of for a while),\n" +
			"silent (it did not answer now) or dead: it was given up, and stays listed for a day. SERVED counts calls of other nodes that\n" +
			"ran there. Exit code 4 when a node or a loop does not answer, and with --strict when a node is dead.",
		Example: "  loopmesh ls\n  loopmesh ls --strict && deploy\n  loopmesh ls -o json | jq '.items[].id'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			question := func(ctx context.Context, c *admin.Client) (*admin.List[admin.Node], error) {
				if all {
					return c.AllNodes(ctx)
				}
				return c.Nodes(ctx)
			}
			return runList(cmd, &o, question, func(list *admin.List[admin.Node]) error {
				if err := showNodes(cmd, &o.output, list); err != nil || !strict {
					return err
				}
				return noneDead(list)
			})
		},
	}
	o.listFlags(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 4 when a node is dead")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "include nodes that left on purpose")
	return cmd
}

// noneDead is an error that names the dead members. It is the same kind of error as a
// partial answer, and has the same exit code: for a script that counts nodes both mean
// that the cluster is not what it should be.
func noneDead(list *admin.List[admin.Node]) error {
	var missing []admin.Missing
	for _, n := range list.Items {
		if n.State == admin.Dead {
			missing = append(missing, admin.Missing{ID: n.ID, Error: admin.Error{Message: "dead, " + noteOf(n, list.Time)}})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &partialError{missing}
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
		wide[admin.Node](),
		column[admin.Node]{"VERSION", ifAnswered(func(n admin.Node) string { return n.Version })},
		column[admin.Node]{"INCARNATION", func(n admin.Node) string { return n.Incarnation }},
		column[admin.Node]{"JOIN", ifAnswered(func(n admin.Node) string { return n.URL })},
		column[admin.Node]{"WHY", func(n admin.Node) string { return n.Why }},
	)
}

// noteOf marks the node that was asked, and says of a silent or suspect one when it
// was last heard of, by the clock of the node that was asked.
func noteOf(n admin.Node, now time.Time) string {
	switch {
	case n.Self && n.Draining:
		return "asked, draining"
	case n.Draining:
		return "draining"
	case n.Self:
		return "asked"
	case n.State == admin.Ready:
		return ""
	case n.State == admin.Dead:
		return fmt.Sprintf("killed? last seen %s ago", age(now.Sub(n.LastSeen)))
	case n.State == admin.Left:
		return fmt.Sprintf("left %s ago", age(now.Sub(n.Ended)))
	}
	return "last seen " + age(now.Sub(n.LastSeen)) + " ago"
}

// newLoop groups the commands about loops. Each is measured for a moment, since how
// many callbacks wait says little without how long they do.
func newLoop() *cobra.Command {
	var o target
	var measure time.Duration
	ls := &cobra.Command{
		Use: "ls", Short: "list the loops of all nodes, and how busy they are", Args: noArgs,
		Long: "Lists the loops of all nodes and measures each for --measure. BUSY is the share of the time in which callbacks ran; LAG P99 is how\n" +
			"late its timers are, and so what everything that is sent to it waits; LONGEST is the longest turn. ANSWERED is how long the\n" +
			"loop took to answer. A loop that does not answer is blocked: -o wide shows since when and where.\n" +
			"Exit code 4 when a node or a loop does not answer.",
		Example: "  loopmesh loop ls --sort -measured.busy\n  loopmesh loop ls --measure 2s --filter 'measured.lag_p99_us>10ms'\n  loopmesh loop ls -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if measure < 0 || measure > maxMeasure {
				return usageError{fmt.Errorf("--measure is %v; give a time up to %v", measure, maxMeasure)}
			}
			question := func(ctx context.Context, c *admin.Client) (*admin.List[admin.Loop], error) {
				if measure == 0 {
					return c.Loops(ctx)
				}
				return c.MeasuredLoops(ctx, measure)
			}
			return runList(cmd, &o, question, func(list *admin.List[admin.Loop]) error { return showLoops(cmd, &o.output, list) })
		},
	}
	o.listFlags(ls)
	ls.Flags().DurationVar(&measure, "measure", defaultMeasure, "measure each loop for so long; 0 does not measure")
	return group("loop", "list the event loops", ls)
}

// A question to a loop takes a third of --timeout at most, hence maxMeasure.
const (
	defaultMeasure = 200 * time.Millisecond
	maxMeasure     = time.Second
)

// showLoops prints loops. What was not measured is "-", and so is what a blocked loop
// would have told; of that one the node knows, from outside, since when its callback has
// not returned and where it is. Numbers that explain each other stand together: BUSY near
// 100 % with a small LONGEST is a loop with too much to do, which more loops help; a small
// BUSY with a large LONGEST is one callback that blocks, which they do not.
func showLoops(cmd *cobra.Command, o *output, list *admin.List[admin.Loop]) error {
	measured := func(value func(*admin.Measured) string) func(admin.Loop) string {
		return func(l admin.Loop) string {
			if l.Measured == nil {
				return ""
			}
			return value(l.Measured)
		}
	}
	answered := func(value func(admin.Loop) int) func(admin.Loop) string {
		return func(l admin.Loop) string {
			if l.State == admin.Blocked {
				return ""
			}
			return fmt.Sprint(value(l))
		}
	}
	return show(cmd, o, list,
		column[admin.Loop]{"LOOP", func(l admin.Loop) string { return l.ID }},
		column[admin.Loop]{"STATE", func(l admin.Loop) string { return l.State }},
		column[admin.Loop]{"BUSY", measured(func(m *admin.Measured) string { return fmt.Sprintf("%.0f%%", m.Busy*100) })},
		column[admin.Loop]{"LAG P99", measured(func(m *admin.Measured) string { return micros(m.LagP99US) })},
		column[admin.Loop]{"LONGEST", measured(func(m *admin.Measured) string { return micros(m.LongestUS) })},
		column[admin.Loop]{"QUEUE", answered(func(l admin.Loop) int { return l.Queue })},
		column[admin.Loop]{"TASKS", answered(func(l admin.Loop) int { return l.Tasks })},
		column[admin.Loop]{"CONNS", answered(func(l admin.Loop) int { return l.Conns })},
		column[admin.Loop]{"ANSWERED", func(l admin.Loop) string {
			if l.State == admin.Blocked {
				return ""
			}
			return micros(l.AnsweredUS)
		}},
		column[admin.Loop]{"SERVES", func(l admin.Loop) string { return strings.Join(l.Servers, " ") }},
		wide[admin.Loop](),
		column[admin.Loop]{"TIMERS", answered(func(l admin.Loop) int { return l.Timers })},
		column[admin.Loop]{"FDS", answered(func(l admin.Loop) int { return l.Watched })},
		column[admin.Loop]{"PROCS", answered(func(l admin.Loop) int { return l.Children })},
		column[admin.Loop]{"PAUSED", answered(func(l admin.Loop) int { return l.Paused })},
		column[admin.Loop]{"UNSENT", answered(func(l admin.Loop) int { return l.Unsent })},
		column[admin.Loop]{"TURNS/S", measured(func(m *admin.Measured) string { return perSecond(m.Turns, m.ForUS) })},
		column[admin.Loop]{"CALLBACKS/S", measured(func(m *admin.Measured) string { return perSecond(m.Callbacks, m.ForUS) })},
		column[admin.Loop]{"BLOCKED", func(l admin.Loop) string {
			if l.State != admin.Blocked {
				return ""
			}
			return age(time.Duration(l.BlockedMS)*time.Millisecond) + " in " + l.Frame
		}},
	)
}

// micros writes a number of microseconds as a duration.
func micros(us int64) string { return (time.Duration(us) * time.Microsecond).String() }

// perSecond is a rate.
func perSecond(n uint64, us int64) string {
	return fmt.Sprintf("%.0f", float64(n)*1e6/float64(max(us, 1)))
}
