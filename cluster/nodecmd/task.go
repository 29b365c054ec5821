package nodecmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about tasks: who waits for whom, since when, and where. A task is told
// of by its own loop, which wakes it for a moment so that it can write down its calls;
// so a blocked loop tells of none and is named as the one that did not answer.
//
// "Why is it slow?" is answered from here in three steps: 'loop ls' shows a loop whose
// lag is high or which is blocked; 'ps --filter loop=NAME' what its tasks wait for;
// 'task show' the calls of one of them and the chain of tasks behind it. When nobody is
// busy and all wait, the chain ends in something outside (a peer, another node), or it
// closes: then CIRCLE stands beside each task in it.

// taskColumns are how a task is shown. The wide ones make a graph of the list: each edge
// is "is waited for by".
func taskColumns() []column[admin.Task] {
	return []column[admin.Task]{
		{"TASK", func(t admin.Task) string { return t.ID }},
		{"NAME", func(t admin.Task) string { return t.Name }},
		{"STATE", taskState},
		{"WAITS IN", func(t admin.Task) string { return t.Waits }},
		{"FOR", waitedFor},
		{"AT", func(t admin.Task) string { return placeOf(t) }},
		wide[admin.Task](),
		{"AWAITED BY", func(t admin.Task) string { return strings.Join(t.AwaitedBy, " ") }},
		{"MADE BY", func(t admin.Task) string { return t.Parent }},
	}
}

// taskState marks a task that will wait for ever.
func taskState(t admin.Task) string {
	if t.Circle {
		return t.State + " CIRCLE"
	}
	return t.State
}

// waitedFor is "" when nothing is known: a loop without a watchdog, or a wait that has
// just begun.
func waitedFor(t admin.Task) string {
	if t.WaitsUS == nil {
		return ""
	}
	return age(time.Duration(*t.WaitsUS) * time.Microsecond)
}

// placeOf is file and line of the newest call, without the folders.
func placeOf(t admin.Task) string {
	if len(t.Stack) == 0 {
		return ""
	}
	place := t.Stack[0]
	if at := strings.LastIndexByte(place, '('); at >= 0 {
		place = strings.TrimSuffix(place[at+1:], ")")
	}
	return place[strings.LastIndexByte(place, '/')+1:]
}

// taskListing is "task ls", and "ps" under the name that everybody tries first.
func taskListing(use string) *cobra.Command {
	return listing[admin.Task]{
		use: use, short: "list the tasks of all nodes: what each waits for, and since when",
		long: "Lists the tasks of all loops. WAITS IN is the function of this library that the task waits in, FOR how long it has waited at least,\n" +
			"AT where it called that. CIRCLE marks tasks that wait for themselves, through others, and so for ever; -o wide shows who waits\n" +
			"for whom.",
		example: "  loopmesh " + use + " --filter state=waiting --sort -waits_us\n  loopmesh " + use + " --filter circle=true -o wide",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Task], error) { return c.Tasks(ctx, 1) },
		columns: taskColumns(),
	}.command()
}

func newPs() *cobra.Command { return taskListing("ps") }

// newTask groups the commands about tasks.
func newTask() *cobra.Command {
	return group("task", "list tasks, show where they wait, and cancel them", taskListing("ls"), newTaskShow(), newTaskCancel())
}

// wholeStack is how many calls "task show" asks for: the most that the API gives. A
// deeper stack is cut at its oldest calls.
const wholeStack = 64

// newTaskShow shows one task with its whole stack and the chain of those that wait for
// it.
func newTaskShow() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "show TASK", Short: "show one task: its stack, and who waits for it", Args: exactArgs,
		Long:    "Shows the task TASK, an id that 'loopmesh ps' prints: what it waits in, its calls with the newest first, who made it, and the chain of\ntasks that wait for it.",
		Example: "  loopmesh task show n1/io-0/tasks/7",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Task], error) {
				return c.Tasks(ctx, wholeStack)
			})
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list.Items, func(t admin.Task) bool { return t.ID == args[0] })
			if i < 0 {
				return notListed("task", args[0], list.Partial)
			}
			if o.forPrograms() {
				return o.document(cmd, list.Items[i])
			}
			if o.format == formatName {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), list.Items[i].ID)
				return err
			}
			var b strings.Builder
			taskPage(&b, list.Items[i], list.Items)
			_, err = io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
		ValidArgsFunction: suggestTasks,
	}
	o.flags(cmd)
	return cmd
}

// notListed says that an id is not in a list, or that its loop did not answer.
func notListed(what, id string, partial []admin.Missing) error {
	for _, m := range partial {
		if strings.HasPrefix(id, m.ID+"/") {
			return &partialError{[]admin.Missing{m}}
		}
	}
	return &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("there is no %s %q", what, id), Hint: "it may have ended; list what there is"}
}

// taskPage is one task for people: one line of what it does, then its calls, then who
// waits for it. All of it is what another node tells, so each line is printed like any
// foreign text.
func taskPage(b *strings.Builder, t admin.Task, all []admin.Task) {
	line := t.ID + "  " + t.Name + "  " + taskState(t)
	if t.Waits != "" {
		line += " in " + t.Waits
	}
	if text := waitedFor(t); text != "" {
		line += " for " + text
	}
	fmt.Fprintln(b, printable(line))
	if t.Parent != "" {
		fmt.Fprintf(b, "  made by %s\n", printable(t.Parent))
	}
	for _, call := range t.Stack {
		fmt.Fprintf(b, "  at %s\n", printable(call))
	}
	if len(t.AwaitedBy) > 0 {
		fmt.Fprintln(b, "  awaited by")
		awaiters(b, t, all, map[string]bool{t.ID: true}, "    ")
	}
}

// awaiters prints who waits for t, all the way up; a task that stands there already is
// named and not followed again.
func awaiters(b *strings.Builder, t admin.Task, all []admin.Task, met map[string]bool, indent string) {
	for _, id := range t.AwaitedBy {
		i := slices.IndexFunc(all, func(by admin.Task) bool { return by.ID == id })
		switch {
		case i < 0:
			fmt.Fprintln(b, printable(indent+id))
		case met[id]:
			fmt.Fprintln(b, printable(indent+id+"  "+all[i].Name)+", see above")
		default:
			met[id] = true
			fmt.Fprintln(b, printable(indent+id+"  "+all[i].Name+"  "+placeOf(all[i])))
			awaiters(b, all[i], all, met, indent+"  ")
		}
	}
}

// newTaskCancel cancels a task: it gets a CancelledError with the reason where it
// waits, and may clean up or refuse, as with any cancellation.
func newTaskCancel() *cobra.Command {
	var o target
	var reason string
	cmd := &cobra.Command{
		Use: "cancel TASK", Short: "cancel a task of any node", Args: exactArgs,
		Long: "Cancels the task TASK, an id that 'loopmesh ps' prints: its wait ends with a CancelledError. It may take its time to end, or refuse;\n" +
			"'loopmesh task show' tells. Exit code 0 means that it was asked.",
		Example: "  loopmesh task cancel n1/io-0/tasks/7 --reason 'replaced by n2'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) {
				return c.CancelTask(ctx, args[0], reason)
			})
		},
		ValidArgsFunction: suggestTasks,
	}
	o.flags(cmd)
	reasonFlag(cmd, &reason)
	return cmd
}

// reasonFlag adds --reason. The default says at least that it was not the program.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "by an operator", "why, for the events and for what it ends")
}

// suggestTasks completes a task's id; a shell that can shows the name beside it.
func suggestTasks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return suggest(cmd, func(ctx context.Context, c *admin.Client) (ids []string) {
		if list, err := c.Tasks(ctx, 1); err == nil {
			for _, t := range list.Items {
				ids = append(ids, t.ID+"\t"+t.Name)
			}
		}
		return ids
	})
}
