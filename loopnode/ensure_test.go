package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// order is a type of a program that is a future by having one inside.
type order struct {
	*Future[int]
	number int
}

func TestEnsureFuture(t *testing.T) {
	t.Run("FUT-16 what has a future inside is one: it passes through, is awaited and gathered", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			o := &order{NewFuture[int](l), 7}
			var _ Waiter = o // what asyncio.isfuture asks, the compiler answers
			if got := EnsureFuture[int](ctx, o); got != Awaitable[int](o) {
				t.Errorf("EnsureFuture made %v of it", got)
			}
			l.CallSoon(func() { _ = o.SetResult(5) })
			vs, err := Gather[int](ctx, o)
			if err != nil || vs[0] != 5 {
				t.Errorf("gathered %v, %v", vs, err)
			}
			if v, err := Shield[int](ctx, o).Await(ctx); v != 5 || err != nil {
				t.Errorf("shielded %v, %v", v, err)
			}
			return nil
		})
	})
	t.Run("TSK-28 futures pass, functions become tasks, other awaitables are wrapped", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			k := CreateTask(ctx, "", value(1))
			if EnsureFuture(ctx, f) != Awaitable[int](f) || EnsureFuture(ctx, k) != Awaitable[int](k) {
				t.Error("a future or task did not pass through")
			}
			made := EnsureFuture(ctx, Coroutine[int](value(2)))
			if _, is := made.(*Task[int]); !is {
				t.Errorf("a function became %T", made)
			}
			if v, err := made.Await(ctx); v != 2 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
			safe := NewSafeFuture[int]()
			go func() { _ = safe.SetResult(3) }()
			if v, err := EnsureFuture(ctx, safe).Await(ctx); v != 3 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
			other, _ := newLoop(t)
			isErr(t, EnsureFuture(ctx, NewFuture[int](other)).Exception(), ErrWrongLoop)
			isErr(t, EnsureFuture[int](ctx, nil).Exception(), ErrInvalidArgument)
			isErr(t, EnsureFuture(ctx, Coroutine[int](nil)).Exception(), ErrInvalidArgument)
			isErr(t, EnsureFuture(context.Background(), Coroutine[int](value(0))).Exception(), ErrNoRunningLoop)
			return nil
		})
	})
}

func TestCreateTaskRefusals(t *testing.T) {
	t.Run("TSK-02 on a closed loop the task is born failed and its function never runs", func(t *testing.T) {
		l, log := newLoop(t)
		ctx := l.Context(context.Background())
		must(t, l.Close())
		never := func(context.Context) (int, error) { t.Error("it ran"); return 0, nil }
		k := CreateTask(ctx, "", never)
		isErr(t, k.Exception(), ErrLoopClosed)
		if !k.Done() || k.Cancelled() {
			t.Error("it is not failed")
		}
		isErr(t, EnsureFuture(ctx, Coroutine[int](never)).Exception(), ErrLoopClosed)
		open, _ := newLoop(t)
		isErr(t, CreateTask[int](open.Context(context.Background()), "", nil).Exception(), ErrInvalidArgument)
		if n := strings.Count(log.String(), "task refused"); n != 2 || strings.Count(log.String(), "\n") != n {
			t.Errorf("each refusal is one line, and nothing else is reported: %s", log)
		}
	})
}

func TestCancelMessages(t *testing.T) {
	t.Run("TSK-12 the message of the first cancel that took effect arrives, as one error", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var inside error
			sleeper := func(ctx context.Context) (int, error) { inside = Sleep(ctx, time.Hour); return 0, inside }
			message := func(err error) string {
				var c *CancelledError
				if !errors.As(err, &c) {
					t.Errorf("got %v", err)
					return ""
				}
				return c.Msg
			}
			waiting := CreateTask(ctx, "", sleeper)
			must(t, Sleep(ctx, 0))
			waiting.Cancel("first")
			waiting.Cancel("second")
			_, err := waiting.Await(ctx)
			if message(err) != "first" || err != inside {
				t.Errorf("the task got %v, its parent %v", inside, err)
			}
			early := CreateTask(ctx, "", sleeper) // nothing has taken effect before its first step
			early.Cancel("first")
			early.Cancel("second")
			_, err = early.Await(ctx)
			if message(err) != "second" {
				t.Errorf("before the first step: %v", err)
			}
			f := NewFuture[int](l)
			late := CreateTask(ctx, "", f.Await)
			must(t, Sleep(ctx, 0))
			must(t, f.SetResult(1))
			late.Cancel("late")
			_, err = late.Await(ctx)
			if message(err) != "late" {
				t.Errorf("after the result of what it waited for: %v", err)
			}
			quiet := CreateTask(ctx, "", sleeper)
			must(t, Sleep(ctx, 0))
			quiet.Cancel()
			_, err = quiet.Await(ctx)
			if message(err) != "" || err.Error() != "cancelled" {
				t.Errorf("without a message: %v", err)
			}
			return nil
		})
	})
}

func TestFutureContexts(t *testing.T) {
	t.Run("FUT-09 a done callback sees what it captured, or the context given for it", func(t *testing.T) {
		type key struct{}
		l, _ := newLoop(t)
		var reported context.Context
		l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) { reported = ec.Context })
		var got []any
		f := NewFuture[int](l)
		for i := range 2 {
			ctx := context.WithValue(context.Background(), key{}, i)
			f.AddDoneCallback(func(*Future[int]) { got = append(got, ctx.Value(key{})) })
			f.AddDoneCallbackContext(ctx, func(ctx context.Context, g *Future[int]) {
				if g != f || loopOf(ctx) != l {
					t.Errorf("called with %v and a ctx of %v", g, loopOf(ctx))
				}
				got = append(got, ctx.Value(key{}))
			})
		}
		id := f.AddDoneCallbackContext(context.Background(), func(context.Context, *Future[int]) { t.Error("called after it was removed") })
		if f.RemoveDoneCallback(id) != 1 {
			t.Error("not removed")
		}
		must(t, f.SetResult(0))
		runTurns(t, l, 1)
		same(t, got, []any{0, 0, 1, 1})
		f.AddDoneCallbackContext(context.WithValue(context.Background(), key{}, "boom"), func(context.Context, *Future[int]) { panic("boom") })
		runTurns(t, l, 1)
		if reported == nil || reported.Value(key{}) != "boom" {
			t.Errorf("the report has the context %v", reported)
		}
	})
	t.Run("FUT-18 a waiter that was cancelled does not explode when its event comes", func(t *testing.T) {
		l, log := newLoop(t)
		f := NewFuture[struct{}](l)
		f.Cancel()
		f.settleOnce()
		if !f.Cancelled() {
			t.Error("the state changed")
		}
		for _, d := range []time.Duration{0, time.Millisecond} { // sleeps whose timer is due together with the cancel
			k := CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, d) })
			l.CallLater(d, func() { k.Cancel() })
			_, _ = RunUntilComplete(l, k)
		}
		safe := NewSafeFuture[int]()
		wrapped := WrapFuture(l.Context(context.Background()), safe)
		wrapped.Cancel()
		runTurns(t, l, 2)
		if err := safe.SetResult(1); !errors.Is(err, ErrInvalidState) {
			t.Error(err)
		}
		runTurns(t, l, 2)
		if strings.Contains(log.String(), "Exception") {
			t.Error(log)
		}
	})
}
