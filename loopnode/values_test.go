package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// message is what the CancelledError in err carries.
func message(t testing.TB, err error) string {
	t.Helper()
	var e *CancelledError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a CancelledError", err)
	}
	return e.Msg
}

// TestOutcomesAsCPython has values that were measured with CPython 3.13.
func TestOutcomesAsCPython(t *testing.T) {
	t.Run("AWT-08 no time left: an earlier cancellation of the future comes back as it is", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			f.Cancel("early")
			_, err := WaitForFuture(ctx, f, 0)
			if errors.Is(err, ErrTimeout) || message(t, err) != "early" {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("AWT-07 a failure that comes with the limit is returned, as a result is", func(t *testing.T) {
		inVirtualTask(t, func(ctx context.Context, l *Loop, clock *jumpClock) error {
			f := NewFuture[int](l)
			l.CallLater(time.Millisecond, func() { must(t, f.SetException(errBoom)) })
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return WaitForFuture(ctx, f, 2*time.Millisecond) })
			pass(t, ctx, 2)
			clock.spend(5 * time.Millisecond) // both timers are due in one turn
			_, err := k.Await(ctx)
			isErr(t, err, errBoom)
			return nil
		})
	})
	t.Run("AWT-07 a function under a limit: the limit ends its wait although what it waits for is done", func(t *testing.T) {
		inVirtualTask(t, func(ctx context.Context, l *Loop, clock *jumpClock) error {
			f := NewFuture[int](l)
			l.CallLater(time.Millisecond, func() { must(t, f.SetResult(3)) })
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				return WaitFor(ctx, f.Await, 2*time.Millisecond)
			})
			pass(t, ctx, 2)
			clock.spend(5 * time.Millisecond)
			_, err := k.Await(ctx)
			isErr(t, err, ErrTimeout)
			return nil
		})
	})
	t.Run("AWT-04 a cancelled gather carries the message of the child that ended last", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			swallow := CreateTask(ctx, "", func(ctx context.Context) (int, error) { _ = Sleep(ctx, time.Hour); return 5, nil })
			f := NewFuture[int](l)
			for name, aws := range map[string][]Awaitable[int]{
				"tasks":   {asleep(ctx), asleep(ctx)},
				"refuses": {swallow},
				"future":  {f},
			} {
				k := CreateTask(ctx, "", func(ctx context.Context) ([]Outcome[int], error) { return GatherAll(ctx, aws...) })
				pass(t, ctx, 2)
				k.Cancel("enough")
				_, err := k.Await(ctx)
				if got := message(t, err); (name == "refuses") != (got == "") && got != "enough" {
					t.Errorf("%s: %q", name, got)
				}
			}
			return nil
		})
	})
	t.Run("SCH-05 cancelling a timer after it ran changes nothing", func(t *testing.T) {
		l, _ := newLoop(t)
		h := l.CallLater(0, func() {})
		var inside *TimerHandle
		inside = l.CallLater(0, func() { inside.Cancel() })
		early := l.CallLater(time.Hour, func() {})
		early.Cancel()
		runTurns(t, l, 2)
		h.Cancel()
		early.Cancel()
		if h.Cancelled() || inside.Cancelled() || !early.Cancelled() {
			t.Error(h.Cancelled(), inside.Cancelled(), early.Cancelled())
		}
	})
}

func TestRefusedAtBirth(t *testing.T) {
	bg := context.Background()
	nop := func(context.Context) (int, error) { return 0, nil }
	t.Run("AWT-19 a child that cannot start is a failure of its group", func(t *testing.T) {
		refusal := errors.New("not today")
		inTask(t, func(ctx context.Context, l *Loop) error {
			l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error {
				if spec.Name == "bad" {
					return refusal
				}
				return nil
			})
			var sibling *Task[struct{}]
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				sibling = g.Go("good", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
				g.Go("bad", func(context.Context) error { return nil })
				return nil
			})
			if errs := groupErrors(t, err); len(errs) != 1 || !errors.Is(errs[0], refusal) || !sibling.Cancelled() {
				t.Error(err, sibling)
			}
			err = WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error { g.Go("", nil); return nil })
			isErr(t, err, ErrInvalidArgument)
			if n := cancellingNow(ctx); n != 0 {
				t.Errorf("%d cancel requests are left", n)
			}
			return Sleep(ctx, 0)
		})
	})
	t.Run("TSK-23 a factory that takes the function away is refused", func(t *testing.T) {
		l, _ := newLoop(t)
		l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error { spec.Body = nil; return nil })
		isErr(t, CreateTask(l.Context(bg), "", nop).Exception(), ErrInvalidArgument)
	})
	t.Run("a refused task keeps its name and is logged", func(t *testing.T) {
		l, log := newLoop(t)
		must(t, l.Close())
		k := CreateTask(l.Context(bg), "mine", nop)
		isErr(t, k.Exception(), ErrLoopClosed)
		if k.Name() != "mine" || !strings.Contains(log.String(), "task refused") || !strings.Contains(log.String(), "mine") {
			t.Error(k.Name(), log)
		}
		if name := CreateTask(l.Context(bg), "", nop).Name(); !strings.HasPrefix(name, "Task-") {
			t.Error(name)
		}
	})
	t.Run("AWT-14 a time limit in a callback is both no task and a wait that would block", func(t *testing.T) {
		l, _ := newLoop(t)
		var err error
		CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			l.CallSoon(func() { err = Timeout(ctx, time.Hour, func(context.Context) error { return nil }) })
			return 0, Sleep(ctx, 0)
		})
		runTurns(t, l, 3)
		isErr(t, err, ErrInvalidState)
		isErr(t, err, ErrWouldBlock)
	})
}

func TestAwaitOutsideOfADoneFuture(t *testing.T) {
	l, _ := newLoop(t)
	f := NewFuture[int](l)
	must(t, f.SetResult(3))
	over, end := context.WithCancel(context.Background())
	end()
	for range 100 { // the loop does not even run
		if v, err := f.Await(over); v != 3 || err != nil {
			t.Fatal(v, err)
		}
	}
	must(t, l.Close())
	if v, err := f.Await(over); v != 3 || err != nil {
		t.Fatal(v, err)
	}
}
