package subprocess

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// supervised runs a command whose lives end as codes say, the last for ever, and
// returns the events without pids.
func supervised(ctx context.Context, s Supervision, codes ...string) (events []string, err error) {
	n := 0
	s.Start = func(ctx context.Context) (*Process, error) {
		code := codes[min(n, len(codes)-1)]
		n++
		switch code {
		case "missing":
			return ExecProcess(ctx, []string{"/nonexistent/program"})
		case "panic":
			panic("in Start")
		case "nothing":
			return nil, nil
		}
		return ExecProcess(ctx, testkit.Program("exit", code), noStdio)
	}
	s.OnEvent = func(e Event) {
		text := fmt.Sprintf("%d %s", e.Life, e.Kind)
		var exit *ExitError
		switch {
		case errors.As(e.Err, &exit):
			text += fmt.Sprintf(" %d", exit.Code)
		case e.Err != nil:
			text += " failed"
		}
		events = append(events, text)
	}
	err = s.Run(ctx)
	return events, err
}

func TestSuperviseProcess(t *testing.T) {
	type lives = []string
	exit := func(err error) int {
		var e *ExitError
		if errors.As(err, &e) {
			return e.Code
		}
		return 0
	}
	for name, c := range map[string]struct {
		strategy actors.Strategy
		codes    lives
		want     lives
		code     int
		err      error
	}{
		"a temporary command is started once": {
			actors.Strategy{}, lives{"3"}, lives{"1 started", "1 ended 3", "1 given up 3"}, 3, nil,
		},
		"a transient command is restarted after a failure, until it ends well": {
			actors.Strategy{Restart: actors.Transient}, lives{"1", "missing", "0"},
			lives{"1 started", "1 ended 1", "1 restarting 1", "2 ended failed", "2 restarting failed", "3 started", "3 ended"}, 0, nil,
		},
		"a permanent command is restarted after every end, within the budget": {
			actors.Strategy{Restart: actors.Permanent, Intensity: 2, Period: time.Hour}, lives{"0", "0", "4"},
			lives{"1 started", "1 ended", "1 restarting", "2 started", "2 ended", "2 restarting", "3 started", "3 ended 4", "3 given up 4"}, 4, actors.ErrTooManyRestarts,
		},
		"a Start that panics has failed": {
			actors.Strategy{Restart: actors.Transient}, lives{"panic", "0"},
			lives{"1 ended failed", "1 restarting failed", "2 started", "2 ended"}, 0, nil,
		},
		"a Start without a process has failed": {
			actors.Strategy{}, lives{"nothing"}, lives{"1 ended failed", "1 given up failed"}, 0, loopnode.ErrInvalidArgument,
		},
		"a decision of the user's counts": {
			actors.Strategy{Restart: actors.Permanent, Decide: func(f actors.Failure) actors.Directive {
				if exit(f.Reason) == 7 {
					return actors.Stop
				}
				return actors.Undecided
			}}, lives{"1", "7"}, lives{"1 started", "1 ended 1", "1 restarting 1", "2 started", "2 ended 7", "2 given up 7"}, 7, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				events, err := supervised(ctx, Supervision{Strategy: c.strategy}, c.codes...)
				if !reflect.DeepEqual(events, c.want) {
					t.Errorf("%s\nwant %s", strings.Join(events, ", "), strings.Join(c.want, ", "))
				}
				if exit(err) != c.code || c.err != nil && !errors.Is(err, c.err) || c.err == nil && c.code == 0 && err != nil {
					t.Error(err)
				}
				return nil
			})
		})
	}
	t.Run("restarts are delayed, each longer than the one before", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var delays []time.Duration
			l := must1(loopnode.Running(ctx))
			begin := l.Time()
			n := 0
			err := Supervision{
				Strategy: actors.Strategy{Restart: actors.Transient, Intensity: 3, Backoff: actors.Backoff{Min: 10 * time.Millisecond, Factor: 3}},
				Start: func(ctx context.Context) (*Process, error) {
					n++
					return ExecProcess(ctx, testkit.Program("exit", "1"), noStdio)
				},
				OnEvent: func(e Event) {
					if e.Kind == Restarting {
						delays = append(delays, e.Delay)
					}
				},
			}.Run(ctx)
			want := []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 90 * time.Millisecond}
			if !errors.Is(err, actors.ErrTooManyRestarts) || !reflect.DeepEqual(delays, want) || n != 4 {
				t.Error(err, delays, n)
			}
			if d := l.Time().Sub(begin); d < 130*time.Millisecond {
				t.Error("it did not wait:", d)
			}
			return nil
		})
	})
	t.Run("cancelling ends the child first: politely, then not", func(t *testing.T) {
		for what, c := range map[string]struct {
			grace time.Duration
			args  []string
			code  int
		}{
			"SIGTERM is enough":   {0, testkit.Program("hang"), -15},
			"SIGTERM is ignored":  {20 * time.Millisecond, testkit.Program("stubborn"), -9},
			"there is no grace":   {-1, testkit.Program("hang"), -9},
			"grace of a long one": {time.Hour, testkit.Program("hang"), -15},
		} {
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				before := testkit.Descriptors()
				ready := loopnode.NewFuture[int](must1(loopnode.Running(ctx)))
				var last Event
				task := loopnode.CreateTask(ctx, "supervises", func(ctx context.Context) (struct{}, error) {
					return struct{}{}, Supervision{
						Strategy: actors.Strategy{Restart: actors.Permanent},
						Grace:    c.grace,
						Start: func(ctx context.Context) (*Process, error) {
							p, err := ExecProcess(ctx, c.args, WithStdout(Pipe))
							if err == nil {
								_, err = p.Stdout.Read(make([]byte, 64))
							}
							return p, err
						},
						OnEvent: func(e Event) {
							last = e
							if e.Kind == Started {
								_ = ready.SetResult(e.PID)
							}
						},
					}.Run(ctx)
				})
				pid, err := ready.Await(ctx)
				testkit.Must(t, err)
				task.Cancel()
				if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
					t.Error(what, err)
				}
				if last.Kind != Ended || last.PID != pid || exit(last.Err) != c.code {
					t.Errorf("%s: %v", what, last)
				}
				testkit.Must(t, loopnode.Sleep(ctx, 0))
				testkit.Must(t, loopnode.Sleep(ctx, 0))
				alone(t, before)
				return nil
			})
		}
	})
	t.Run("without a Start there is nothing to supervise", func(t *testing.T) {
		if err := (Supervision{}).Run(t.Context()); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error(err)
		}
		if s := (&ExitError{12, -int(syscall.SIGKILL)}).Error(); s != "process 12 ended: signal 9" {
			t.Error(s)
		}
	})
}
