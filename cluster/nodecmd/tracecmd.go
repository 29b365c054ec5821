package nodecmd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command trace: where the time of a call goes, over nodes, without a collector of spans.
// All nodes keep the spans of one call, or of one function for some seconds, and nothing
// otherwise; the command puts them together and prints the steps as a tree.

const traceLong = `Each line is one call: who called, where it ran, how long after its caller it began (AT), how long its caller waited (TOOK), and what
of that was the way there and back (NETWORK), the queue of the loop (QUEUE) and the function itself with all that it waited for (RUN).
What it called is below it. Durations are measured by one clock each, so clocks that differ do no harm. Nothing is recorded before
and afterwards. It takes the right admin on every node, and every node of this version (LM3182). What does not answer is named, and
its steps are missing: exit code 4.`

// newTrace groups the two ways to choose what is traced.
func newTrace() *cobra.Command {
	return group("trace", "show where the time of calls goes, over nodes", newTraceCall(), newTraceWatch())
}

// newTraceCall is func call with a look at what it does.
func newTraceCall() *cobra.Command {
	var o target
	var on string
	cmd := &cobra.Command{
		Use: "call NAME JSON", Short: "run a function on a loop, and show every step of it", Args: exactArgs,
		Long:    "Runs the function NAME on the loop --on as 'func call' does, and shows every call that it makes. JSON - takes it from standard input.\n" + traceLong + "\nWhen the function fails, the tree is printed, and the exit code is that of 'func call'.",
		Example: "  loopmesh trace call demo.add '[1,2]' --on n2/io-0\n  loopmesh trace call shop.order '{\"id\":7}' --on n2/io-0 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if on == "" {
				return usageError{fmt.Errorf("--on is missing: the loop that runs the function, as NODE/LOOP")}
			}
			payload, err := argument(cmd, args[1])
			if err != nil {
				return err
			}
			return askTrace(cmd, &o, o.timeout, admin.TraceRequest{Function: args[0], On: on, Payload: payload})
		},
		ValidArgsFunction: suggestFunctions,
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&on, "on", "", "loop that runs the function, as NODE/LOOP")
	_ = cmd.RegisterFlagCompletionFunc("on", suggestLoops)
	cmd.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "exit with 0 although some nodes do not answer")
	return cmd
}

// The time to wait comes on top of --timeout, which bounds the questions before and behind it.
//
// newTraceWatch looks at what others call.
func newTraceWatch() *cobra.Command {
	var o target
	during := 10 * time.Second
	cmd := &cobra.Command{
		Use: "watch NAME", Short: "show every step of the calls of a function during some seconds", Args: exactArgs,
		Long:    "Waits for --for while the programs of the cluster call the function NAME, and shows these calls and every call that they make.\n" + traceLong + "\nA node keeps 500 steps at most; what it had no room for is counted on stderr.",
		Example: "  loopmesh trace watch shop.order --for 5s",
		RunE: func(cmd *cobra.Command, args []string) error {
			if during < time.Millisecond || during > time.Minute {
				return usageError{fmt.Errorf("--for is %v; give 1ms to 1m", during)}
			}
			return askTrace(cmd, &o, o.timeout+during, admin.TraceRequest{Function: args[0], ForMS: during.Milliseconds()})
		},
		ValidArgsFunction: suggestFunctions,
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&during, "for", during, "how long to record")
	cmd.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "exit with 0 although some nodes do not answer")
	return cmd
}

// askTrace asks for a trace and prints it. The outcome of a call that was made for it decides the
// exit code, behind the tree: how it failed is what the tree explains.
func askTrace(cmd *cobra.Command, o *target, limit time.Duration, q admin.TraceRequest) error {
	if o.timeout > 0 {
		o.timeout = limit
	}
	t, err := ask(cmd, o, func(ctx context.Context, c *admin.Client) (*admin.Trace, error) { return c.Trace(ctx, q) })
	if err != nil {
		return err
	}
	if err := showTrace(cmd, &o.output, t); err != nil {
		return err
	}
	switch {
	case t.Error != nil:
		return t.Error
	case len(t.Partial) > 0 && !o.allowPartial:
		return &partialError{t.Partial}
	}
	return nil
}

// The result comes behind the tree and not in front of it, so that a person sees it last, and a
// program that reads the result alone takes 'func call'.
//
// showTrace prints the steps as a tree, and below it the result of a call.
func showTrace(cmd *cobra.Command, o *output, t *admin.Trace) error {
	if o.forPrograms() {
		return o.document(cmd, t)
	}
	rows := stepRows(t.Spans)
	if err := show(cmd, o, &admin.List[stepRow]{Items: rows}, stepColumns()...); err != nil || o.format == formatName {
		return err
	}
	if t.Dropped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s more: nodes had no room for them\n", plural(t.Dropped, "step"))
	}
	if len(rows) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "nobody called it meanwhile")
	}
	if t.Result == nil {
		return nil
	}
	text, err := json.Marshal(t.Result)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "result: %s\n", printable(string(text)))
	}
	return err
}

// stepRow is a step with its place in the tree: the branch that is drawn in front of it, and
// how long after the first one it began.
type stepRow struct {
	admin.Span
	branch string
	at     int64 // microseconds
}

// A step whose parent is missing, since a node did not answer or had no room, begins a tree of
// its own: it is shown, and not lost. A circle cannot be, but a node that lies could send one;
// each step is printed once.
//
// stepRows orders the steps as a tree, those below one by their beginnings.
func stepRows(spans []admin.Span) (rows []stepRow) {
	known, below := map[string]bool{}, map[string][]admin.Span{}
	for _, s := range spans {
		known[s.ID] = true
	}
	for _, s := range spans {
		up := s.Parent
		if !known[up] {
			up = ""
		}
		below[up] = append(below[up], s)
	}
	done := map[string]bool{}
	var walk func(up, indent string, at int64)
	walk = func(up, indent string, at int64) {
		for i, s := range below[up] {
			if done[s.ID] {
				continue
			}
			done[s.ID] = true
			row, next := stepRow{Span: s, at: at + s.AfterUS}, ""
			if up != "" {
				row.branch, next = indent+"├─ ", indent+"│  "
				if i == len(below[up])-1 {
					row.branch, next = indent+"└─ ", indent+"   "
				}
			}
			rows = append(rows, row)
			walk(s.ID, next, row.at)
		}
	}
	walk("", "", 0)
	return rows
}

// Durations are printed as Go does: they span nanoseconds to minutes, and a column of one unit
// would be all zeros or all digits. What one of the two ends did not tell is "-".
//
// stepColumns are the columns of a trace; the first one is the name with its branch.
func stepColumns() []column[stepRow] {
	micros := func(us *int64) string {
		if us == nil {
			return ""
		}
		return (time.Duration(*us) * time.Microsecond).String()
	}
	return []column[stepRow]{
		{"CALL", func(r stepRow) string { return r.branch + r.Function }},
		{"FROM", func(r stepRow) string { return r.From }},
		{"TO", func(r stepRow) string { return r.To }},
		{"AT", func(r stepRow) string { return micros(&r.at) }},
		{"TOOK", func(r stepRow) string {
			if r.Open {
				return micros(&r.TookUS) + "..."
			}
			return micros(&r.TookUS)
		}},
		{"NETWORK", func(r stepRow) string { return micros(r.NetworkUS) }},
		{"QUEUE", func(r stepRow) string { return micros(r.QueueUS) }},
		{"RUN", func(r stepRow) string { return micros(r.RunUS) }},
		{"ERROR", func(r stepRow) string { return r.Error }},
	}
}
