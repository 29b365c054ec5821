// Command supervise runs shell commands and starts those that end again, by a
// policy: temporary never, transient after a failure, permanent always; more
// slowly each time, and not more often than a budget allows. What they print
// comes out line by line behind their number. Ctrl-C ends them: SIGTERM to each
// command and what it started, and SIGKILL two seconds later.
//
//	go run ./examples/supervise -restart transient 'sleep 1; echo tired; exit 3' 'sleep 3; echo done'
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

var lifetimes = map[string]actors.Lifetime{"temporary": actors.Temporary, "transient": actors.Transient, "permanent": actors.Permanent}

func main() {
	restart := flag.String("restart", "transient", "temporary, transient or permanent")
	most := flag.Int("most", 5, "how many restarts of one command there may be in a minute")
	flag.Parse()
	lifetime, ok := lifetimes[*restart]
	if !ok || *most < 1 || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: supervise [-restart temporary|transient|permanent] [-most N] COMMAND...")
		os.Exit(2)
	}
	policy := actors.Strategy{
		Restart: lifetime, Intensity: *most, Period: time.Minute,
		Backoff: actors.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second, Jitter: 0.2},
	}
	if err := run(context.Background(), policy, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(1)
	}
}

// run supervises the commands, each in a task of its own, until all have ended
// for good, ctx ends or the program is interrupted. One that fails for good
// does not end the others.
func run(ctx context.Context, policy actors.Strategy, commands []string, out io.Writer) error {
	var failed []error
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		return loopnode.WithTaskGroup(ctx, func(ctx context.Context, g *loopnode.TaskGroup) error {
			for i, command := range commands {
				loopnode.GroupTask(g, command, func(ctx context.Context) (struct{}, error) {
					err := supervise(ctx, policy, command, &lines{out: out, name: fmt.Sprintf("%d: ", i+1)})
					if err != nil && !errors.Is(err, loopnode.ErrCancelled) {
						failed, err = append(failed, fmt.Errorf("%q: %w", command, err)), nil
					}
					return struct{}{}, err
				})
			}
			return nil
		})
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		err = nil
	}
	return errors.Join(append(failed, err)...)
}

func supervise(ctx context.Context, policy actors.Strategy, command string, log *lines) error {
	return subprocess.Supervision{
		Strategy: policy,
		Grace:    2 * time.Second,
		Start: func(ctx context.Context) (*subprocess.Process, error) {
			p, err := subprocess.ShellProcess(ctx, command, subprocess.WithStdin(subprocess.DevNull),
				subprocess.WithStdout(subprocess.Pipe), subprocess.WithStderr(subprocess.Stdout), subprocess.WithGroupKill())
			if err != nil {
				return nil, err
			}
			loopnode.CreateTask(ctx, "output of "+command, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, log.copy(p.Stdout.With(ctx))
			})
			return p, nil
		},
		OnEvent: func(e subprocess.Event) { log.event(e) },
	}.Run(ctx)
}

// lines prints what belongs to one command. All of them write on the loop, so
// lines of two commands never mix.
type lines struct {
	out  io.Writer
	name string
}

// copy prints until the command has closed its output. A line of more than maxLine
// bytes is printed in parts: a command that never ends its line costs no more memory.
func (l *lines) copy(from io.Reader) error {
	in := bufio.NewReaderSize(from, maxLine)
	for {
		text, _, err := in.ReadLine()
		if err != nil {
			return nil
		}
		fmt.Fprintf(l.out, "%s%s\n", l.name, text)
	}
}

const maxLine = 64 << 10

func (l *lines) event(e subprocess.Event) {
	switch e.Kind {
	case subprocess.Started:
		fmt.Fprintf(l.out, "%sstarted, life %d\n", l.name, e.Life)
	case subprocess.Ended:
		if e.Err == nil {
			fmt.Fprintf(l.out, "%sended well\n", l.name)
			return
		}
		fmt.Fprintf(l.out, "%s%v\n", l.name, e.Err)
	case subprocess.Restarting:
		fmt.Fprintf(l.out, "%sstarting again in %v\n", l.name, e.Delay.Round(time.Millisecond))
	case subprocess.GivenUp:
		fmt.Fprintf(l.out, "%sgiven up\n", l.name)
	}
}
