package nodecmd

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// proc run on several nodes. Each has a connection of its own, and all of them write to the
// same two outputs. A line leaves whole, with the name of its node in front: what a process
// has written of a line waits until the rest of it comes, or the line is too long, or the
// process has ended. Output that cannot be written slows all of them, as it slows one.

// Why no stdin? One stdin cannot be read by several processes, and a copy for each would run
// as fast as the slowest of them. A file that all of them need is an argument.
//
// maxLine is how much of a line waits for its end. A longer one is printed in pieces, each
// with its name and a newline.
const maxLine = 64 << 10

// marked marks the lines of one output of one node. Owned by the goroutine of its node; out is
// shared, behind mu.
type marked struct {
	mu   *sync.Mutex
	out  io.Writer
	mark string
	rest []byte // of a line that has not ended
}

// Write prints the lines that have ended.
func (l *marked) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	var ready bytes.Buffer
	for {
		end := bytes.IndexByte(l.rest, '\n')
		piece, skip := end, end+1
		switch {
		case end >= 0 && end <= maxLine:
		case len(l.rest) > maxLine:
			piece, skip = maxLine, maxLine
		default:
			return len(p), l.print(&ready)
		}
		ready.WriteString(l.mark)
		ready.Write(l.rest[:piece])
		ready.WriteByte('\n')
		l.rest = append(l.rest[:0], l.rest[skip:]...)
	}
}

// flush prints what is left of a last line without an end.
func (l *marked) flush() error {
	var ready bytes.Buffer
	if len(l.rest) > 0 {
		ready.WriteString(l.mark)
		ready.Write(l.rest)
		ready.WriteByte('\n')
		l.rest = nil
	}
	return l.print(&ready)
}

// print writes whole lines with one call, so that those of another node stay beside them.
func (l *marked) print(ready *bytes.Buffer) error {
	if ready.Len() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.out.Write(ready.Bytes())
	return err
}

// All are started before the output of any is shown, and then read at the same time. The
// exit code is 1 when any has failed, whatever their codes were: which one would count?
//
// runMany runs q on each node. A node that cannot start it is one that failed, and the others
// go on: with twenty nodes one is often away, and the command is for the nineteen.
func (o *runOptions) runMany(cmd *cobra.Command, client *admin.Client, nodes []string, q admin.RunRequest) error {
	q.NoStdin = true
	runs, ends := make([]*admin.Run, len(nodes)), make([]string, len(nodes))
	failed := make([]bool, len(nodes))
	each := func(do func(i int)) {
		var work sync.WaitGroup
		for i := range nodes {
			// goroutine: owner: runMany, which waits for it; ends with the start, or with the process
			work.Go(func() { do(i) })
		}
		work.Wait()
	}
	each(func(i int) {
		mine := q
		mine.On = nodes[i]
		var err error
		if runs[i], err = o.begin(cmd, client, mine); err != nil {
			ends[i], failed[i] = exitOf(admin.RunFrame{}, err)
		}
	})
	var live []*admin.Run
	for _, r := range runs {
		if r != nil {
			live = append(live, r)
			defer r.Close()
		}
	}
	stop := forward(cmd.Context(), live)
	defer stop()
	var mu sync.Mutex
	each(func(i int) {
		if runs[i] != nil {
			out, errs := &marked{&mu, cmd.OutOrStdout(), nodes[i] + ": ", nil}, &marked{&mu, cmd.ErrOrStderr(), nodes[i] + ": ", nil}
			last, err := relay(runs[i], out, errs)
			for _, l := range []*marked{out, errs} {
				if flushed := l.flush(); err == nil {
					err = flushed
				}
			}
			ends[i], failed[i] = exitOf(last, err)
		}
	})
	return summary(cmd.ErrOrStderr(), nodes, ends, failed)
}

// summary says how each node ended, those that failed last, where one looks first.
func summary(errs io.Writer, nodes, ends []string, failed []bool) error {
	count, wide := 0, 0
	for i, n := range nodes {
		wide = max(wide, len(n))
		if failed[i] {
			count++
		}
	}
	for _, bad := range []bool{false, true} {
		for i, n := range nodes {
			if failed[i] == bad {
				fmt.Fprintf(errs, "%-*s  %s\n", wide, n, printable(ends[i]))
			}
		}
	}
	if count == 0 {
		return nil
	}
	fmt.Fprintf(errs, "%d of %d failed\n", count, len(nodes))
	return exitError(exitFailed)
}
