package nodecmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The command bench: how fast is it between these two nodes, now? The nodes measure, not this
// command: what it adds (a socket, JSON) is in none of the figures. They begin when it asks
// and end with it.

// A terminal is told meanwhile how far it is, on one line that is written over; a pipe, a file
// and a log are not, since there each line stays. The question how far it is goes to the node
// that measures and costs it one call four times a second, among thousands.

// benchLooks is how often a terminal is told how far it is.
const benchLooks = 250 * time.Millisecond

// newBench measures. It takes the loop by its address, as func call does: there is no
// usual one to guess.
func newBench() *cobra.Command {
	var o target
	q := admin.BenchRequest{}
	measure := 5 * time.Second
	cmd := &cobra.Command{
		Use: "bench WHAT LOOP", Short: "measure calls, casts or streams between two nodes that run", Args: exactArgs,
		Long: `Has a node send to LOOP (NODE/LOOP) as fast as that one takes it, for a while, and prints how much was done:
  calls    functions that answer: calls that were answered
  casts    functions without an answer: those that the other loop has run
  streams  bytes to another node: pieces that were taken there
P50, P99 and MAX are how long the sender waited: for the answer of a call, until a cast or a piece could be sent.

It is a load like any other: what runs on the two nodes is slower meanwhile. One node makes one measurement at a time, and
it is an event (LM3191) of the node that sends. Ctrl-C ends it. When a part failed the exit code is 1, behind the figures.`,
		Example: "  loopmesh bench calls n2/io-0\n  loopmesh bench casts n2/io-0 --from n3 --for 10s --at-once 64\n  loopmesh bench streams n2/io-0 --size 65536 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case measure <= 0 || measure > time.Minute:
				return usageError{fmt.Errorf("--for is %v; give a time up to %v", measure, time.Minute)}
			case q.AtOnce < 0 || q.Size < 0:
				return usageError{fmt.Errorf("--at-once is %d and --size %d; give positive numbers, or 0 for what is usual", q.AtOnce, q.Size)}
			}
			q.What, q.To, q.ForMS = args[0], args[1], max(measure.Milliseconds(), 1)
			return bench(cmd, &o, q)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return []string{admin.BenchCalls, admin.BenchCasts, admin.BenchStreams}, cobra.ShellCompDirectiveNoFileComp
			case 1:
				return suggestLoops(cmd, args[1:], word)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "the node that sends (default: the one that is asked)")
	f.DurationVar(&measure, "for", measure, "measure for so long, 1m at most; --timeout is what the rest may take")
	f.IntVar(&q.AtOnce, "at-once", 0, "so many callers, 256 at most, or streams, 4 at most (default 16, and 1 stream)")
	f.IntVar(&q.Size, "size", 0, "bytes in each, 65536 at most (default 64, and 16384 of a stream)")
	_ = cmd.RegisterFlagCompletionFunc("from", suggestNodes)
	return cmd
}

// Exit codes: what failed on the way is an answer, so the figures are printed first, and the
// error follows with the code of its kind's first failure. A script that only wants to know
// whether the way works looks at the exit code.
//
// bench asks for the measurement and shows it. --timeout is what asking may take, on top of the
// time that is measured.
func bench(cmd *cobra.Command, o *target, q admin.BenchRequest) error {
	whole := *o
	if whole.timeout > 0 {
		whole.timeout += time.Duration(q.ForMS) * time.Millisecond
	}
	done, err := ask(cmd, &whole, func(ctx context.Context, c *admin.Client) (*admin.Bench, error) {
		if q.From == "" {
			self, err := c.Self(ctx)
			if err != nil {
				return nil, err
			}
			q.From = self.Name
		}
		if isTerminal(cmd.ErrOrStderr()) {
			stop := follow(ctx, cmd.ErrOrStderr(), c, q.From)
			defer stop()
		}
		return c.Bench(ctx, q)
	})
	if err != nil {
		return err
	}
	if err := showBench(cmd, &o.output, done); err != nil {
		return err
	}
	if done.Failed > 0 {
		e := &admin.Error{Kind: admin.Failed, Message: fmt.Sprintf("%d of %d failed", done.Failed, done.Failed+done.Done)}
		if done.Error != nil {
			e.Message, e.Hint, e.Code = e.Message+": "+done.Error.Message, done.Error.Hint, done.Error.Code
		}
		return e
	}
	return nil
}

// follow prints again and again, over the same line, how far the measurement is. stop ends
// that and clears the line. It is for a terminal only.
func follow(ctx context.Context, errs io.Writer, c *admin.Client, node string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	// goroutine: owner: bench, whose stop waits for it; ends with stop or ctx
	go func() {
		defer close(ended)
		tick := time.NewTicker(benchLooks)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				fmt.Fprint(errs, "\r\x1b[K")
				return
			case <-tick.C:
			}
			if b, err := c.Benching(ctx, node); err == nil && b.Running {
				fmt.Fprintf(errs, "\r\x1b[K%s", printable(benchLine(b)))
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// benchLine is how far a measurement is, in a line.
func benchLine(b *admin.Bench) string {
	return fmt.Sprintf("%s to %s: %d %s in %.1fs", b.From, b.To, b.Done, b.What, float64(b.TookUS)/1e6)
}

// showBench prints a measurement: a line for people, a document for programs.
func showBench(cmd *cobra.Command, o *output, b *admin.Bench) error {
	if o.forPrograms() {
		return o.document(cmd, b)
	}
	list := &admin.List[admin.Bench]{Kind: "BenchList", APIVersion: admin.APIVersion, Items: []admin.Bench{*b}}
	type row = admin.Bench
	return show(cmd, o, list,
		column[row]{"MEASURED", func(b row) string { return b.What }},
		column[row]{"FROM", func(b row) string { return b.From }},
		column[row]{"TO", func(b row) string { return b.To }},
		column[row]{"DONE", func(b row) string { return fmt.Sprint(b.Done) }},
		column[row]{"FAILED", func(b row) string { return fmt.Sprint(b.Failed) }},
		column[row]{"PER SECOND", func(b row) string { return fmt.Sprintf("%.0f", b.PerSecond) }},
		column[row]{"BYTES/S", func(b row) string { return byteSize(uint64(b.PerSecond * float64(b.Size))) }},
		column[row]{"P50", func(b row) string { return micros(b.P50US) }},
		column[row]{"P99", func(b row) string { return micros(b.P99US) }},
		column[row]{"MAX", func(b row) string { return micros(b.MaxUS) }},
		wide[row](),
		column[row]{"AT ONCE", func(b row) string { return fmt.Sprint(b.AtOnce) }},
		column[row]{"SIZE", func(b row) string { return byteSize(uint64(b.Size)) }},
		column[row]{"TOOK", func(b row) string { return micros(b.TookUS) }},
	)
}
