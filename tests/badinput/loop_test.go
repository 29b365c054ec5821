package badinput

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// closedLoop is a loop that was closed.
func closedLoop(e *env) *loopnode.Loop {
	l, err := loopnode.New(loopnode.Config{Name: "gone", Logger: hclog.NewNullLogger()})
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		e.Fatal(err)
	}
	return l
}

// elsewhere runs fn on a goroutine that runs no loop.
func elsewhere(fn func() error) error {
	out := make(chan error)
	// goroutine: owner: the test; ends when fn returns.
	go func() {
		err := errors.New("it left by runtime.Goexit")
		defer func() { out <- err }()
		if p := guard.Call(func() { err = fn() }); p != nil {
			err = p
		}
	}()
	return <-out
}

var errMine = errors.New("mine")

func TestCallbacks(t *testing.T) {
	nothing := func() {}
	check(t, []row{
		{name: "CallSoon of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return e.loop.CallSoon(nil).Err() }},
		{name: "CallSoonContext of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return e.loop.CallSoonContext(e.ctx, nil).Err() }},
		{name: "CallLater of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return e.loop.CallLater(0, nil).Err() }},
		{name: "CallAt of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return e.loop.CallAt(loopnode.Never, nil).Err() }},
		{name: "CallSoonThreadsafe of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return e.loop.Ref().CallSoonThreadsafe(nil) }},
		{name: "CallSoonThreadsafeHandle of nil", is: loopnode.ErrInvalidArgument, says: []string{"callback is nil"},
			do: func(e *env) error { return second(e.loop.Ref().CallSoonThreadsafeHandle(nil)) }},
		{name: "CallSoonThreadsafe of the zero Ref", is: loopnode.ErrNotLocal, says: []string{"cluster.Func"},
			do: func(e *env) error { return loopnode.Ref{}.CallSoonThreadsafe(nothing) }},
		{name: "CallSoonThreadsafe of a loop on another node", is: loopnode.ErrNotLocal, says: []string{"n2/io"},
			do: func(e *env) error {
				return loopnode.RemoteRef(actors.Address{Node: "n2", Path: "io"}).CallSoonThreadsafe(nothing)
			}},
		{name: "CallLater in the past runs", do: func(e *env) error {
			f := loopnode.NewFuture[int](e.loop)
			e.loop.CallLater(-5*time.Second, func() { _ = f.SetResult(1) })
			_, err := f.Await(e.ctx)
			return err
		}},
		{name: "CallLater of the smallest duration runs", do: func(e *env) error {
			f := loopnode.NewFuture[int](e.loop)
			e.loop.CallLater(math.MinInt64, func() { _ = f.SetResult(1) })
			_, err := f.Await(e.ctx)
			return err
		}},
		{name: "a timer 300 years ahead does not run", do: func(e *env) error {
			for _, d := range []time.Duration{math.MaxInt64, 290 * 365 * 24 * time.Hour} {
				h := e.loop.CallLater(d, func() { e.Error("a far timer ran") })
				if err := h.Err(); err != nil || h.When() < e.loop.Time() {
					return errors.Join(err, errors.New("it is due in the past"))
				}
			}
			return loopnode.Sleep(e.ctx, 0)
		}},
		{name: "CallSoon on a foreign goroutine", is: loopnode.ErrWrongGoroutine, says: []string{"CallSoonThreadsafe"},
			do: func(e *env) error {
				e.loop.SetDebug(true)
				defer e.loop.SetDebug(false)
				return elsewhere(func() error { return e.loop.CallSoon(nothing).Err() })
			}},
		{name: "CallSoon after Close", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return closedLoop(e).CallSoon(nothing).Err() }},
		{name: "CallLater after Close", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return closedLoop(e).CallLater(1, nothing).Err() }},
		{name: "CallSoonThreadsafe after Close", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return closedLoop(e).Ref().CallSoonThreadsafe(nothing) }},
		{name: "Stop of a closed loop by its Ref", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return closedLoop(e).Ref().Stop() }},
		{name: "a handle cancelled twice and late", do: func(e *env) error {
			h := e.loop.CallSoon(nothing)
			h2 := e.loop.CallLater(0, nothing)
			if err := loopnode.Sleep(e.ctx, time.Millisecond); err != nil {
				return err
			}
			h.Cancel()
			h.Cancel()
			h2.Cancel()
			h2.Cancel()
			e.loop.CallSoon(nil).Cancel()
			e.loop.CallLater(1, nil).Cancel()
			return nil
		}},
		{name: "a panic in a callback", reports: "boom", do: func(e *env) error {
			e.loop.CallSoon(func() { panic("boom") })
			return nil
		}},
		{name: "a panic of nil in a callback", reports: "nil", do: func(e *env) error {
			e.loop.CallSoon(func() { panic(nil) })
			return nil
		}},
		{name: "runtime.Goexit in a callback", reports: "Goexit", do: func(e *env) error {
			e.loop.CallSoon(func() { goexit() })
			return nil
		}},
		{name: "OnClose of nil", do: func(e *env) error {
			e.loop.OnClose(nil)()
			e.loop.OnClose(nil)
			closedLoop(e).OnClose(nil)
			return nil
		}},
		{name: "a million callbacks in one turn", do: func(e *env) error {
			n := 0
			for range 1_000_000 {
				e.loop.CallSoon(func() { n++ })
			}
			if err := loopnode.Sleep(e.ctx, 0); err != nil || n != 1_000_000 {
				return errors.Join(err, errors.New("some did not run"))
			}
			return nil
		}},
	})
}

func TestRunning(t *testing.T) {
	fresh := func(e *env) *loopnode.Loop {
		l, err := loopnode.New(loopnode.Config{Name: "fresh", Logger: hclog.NewNullLogger()})
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(func() { _ = l.Close() })
		return l
	}
	check(t, []row{
		{name: "RunForever of the running loop", is: loopnode.ErrLoopRunning,
			do: func(e *env) error { return e.loop.RunForever() }},
		{name: "RunForever of another loop in a callback", is: loopnode.ErrNestedLoop,
			do: func(e *env) error {
				l := fresh(e)
				defer l.Close()
				return l.RunForever()
			}},
		{name: "RunForever of a closed loop", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { l := closedLoop(e); return elsewhere(l.RunForever) }},
		{name: "Close of a running loop", is: loopnode.ErrLoopRunning, says: []string{"stop it"},
			do: func(e *env) error { return e.loop.Close() }},
		{name: "Close twice", do: func(e *env) error { return closedLoop(e).Close() }},
		{name: "RunUntilComplete of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				l := fresh(e)
				defer l.Close()
				return elsewhere(func() error { return second(loopnode.RunUntilComplete[int](l, nil)) })
			}},
		{name: "RunUntilComplete of another loop's future", is: loopnode.ErrWrongLoop,
			do: func(e *env) error {
				l := fresh(e)
				defer l.Close()
				f := loopnode.NewFuture[int](e.loop)
				return elsewhere(func() error { return second(loopnode.RunUntilComplete(l, f)) })
			}},
		{name: "RunUntilComplete without a loop", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				f := loopnode.NewFuture[int](e.loop)
				return elsewhere(func() error { return second(loopnode.RunUntilComplete(nil, f)) })
			}},
		{name: "Run without a function", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error {
				return elsewhere(func() error { return loopnode.Run(context.Background(), nil, loopnode.WithoutSignals()) })
			}},
		{name: "Run inside a loop", is: loopnode.ErrNestedLoop,
			do: func(e *env) error {
				return loopnode.Run(e.ctx, func(context.Context) error { return nil })
			}},
		{name: "Run with a nil option", do: func(e *env) error {
			return elsewhere(func() error {
				return loopnode.Run(context.Background(), func(context.Context) error { return nil }, nil)
			})
		}},
		{name: "Run with a loop factory that fails", is: errMine,
			do: func(e *env) error {
				return elsewhere(func() error {
					return loopnode.Run(context.Background(), func(context.Context) error { return nil },
						loopnode.WithLoopFactory(func() (*loopnode.Loop, error) { return nil, errMine }))
				})
			}},
		{name: "Run with a loop factory that makes none", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				return elsewhere(func() error {
					return loopnode.Run(context.Background(), func(context.Context) error { return nil },
						loopnode.WithLoopFactory(func() (*loopnode.Loop, error) { return nil, nil }))
				})
			}},
		{name: "Running without a loop", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error { return second(loopnode.Running(context.Background())) }},
	})
}

func TestConfig(t *testing.T) {
	refused := func(cfg loopnode.Config) func(e *env) error {
		return func(e *env) error {
			l, err := loopnode.New(cfg)
			if err == nil {
				return l.Close()
			}
			return second(l, err)
		}
	}
	check(t, []row{
		{name: "a negative slow callback", do: refused(loopnode.Config{SlowCallback: -1}),
			is: loopnode.ErrInvalidArgument, says: []string{"SlowCallback", "-1ns", "0 or more"}},
		{name: "negative workers", do: refused(loopnode.Config{MaxWorkers: -3}),
			is: loopnode.ErrInvalidArgument, says: []string{"MaxWorkers", "-3", "0 for the default"}},
		{name: "a name that is no address", do: refused(loopnode.Config{Name: "a//b"}),
			is: loopnode.ErrInvalidArgument, says: []string{"Name", "a//b", "empty segment"}},
		{name: "a name with a NUL", do: refused(loopnode.Config{Name: "a\x00b"}),
			is: loopnode.ErrInvalidArgument, says: []string{"Name", `a\x00b`, "does not print"}},
	})
}
