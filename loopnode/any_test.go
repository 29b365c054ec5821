package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

func TestAny(t *testing.T) {
	t.Run("AWT-01 gathers nest and mix types", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			number := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 1, Sleep(ctx, 0) })
			word := CreateTask(ctx, "", func(ctx context.Context) (string, error) { return "two", nil })
			inner := GatherFuture(ctx, CreateTask(ctx, "", func(ctx context.Context) (bool, error) { return true, nil }))
			all, err := Gather(ctx, number.Any(), word.Any(), inner.Any())
			if err != nil || len(all) != 3 || all[0] != 1 || all[1] != "two" || !all[2].([]bool)[0] {
				t.Error(all, err)
			}
			return nil
		})
	})
	t.Run("AWT-03 cancelling the outer gather reaches the tasks of the inner one", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			deep := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
			outer := GatherFuture(ctx, GatherFuture(ctx, deep).Any())
			_ = Sleep(ctx, 0)
			if !outer.Cancel("enough") {
				t.Error("not asked")
			}
			_, err := outer.Await(ctx)
			if !deep.Cancelled() || !errors.Is(err, ErrCancelled) {
				t.Error(deep, err)
			}
			return nil
		})
	})
	t.Run("what needs a future of its own gets one that ends as the other", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			if _, err := WaitForFuture(ctx, f.Any(), time.Millisecond); !errors.Is(err, ErrTimeout) || !f.Cancelled() {
				t.Error("the limit does not reach it:", err, f)
			}
			g := NewFuture[int](l)
			guarded := Shield(ctx, g.Any())
			must(t, g.SetResult(7))
			if v, err := guarded.Await(ctx); v != 7 || err != nil {
				t.Error(v, err)
			}
			if v, err := Shield(ctx, g.Any()).Await(ctx); v != 7 || err != nil {
				t.Error("of one that is done:", v, err)
			}
			if err := Shield(ctx, refusedFuture[int](errBoom).Any()).Exception(); !errors.Is(err, errBoom) {
				t.Error("of a refused one:", err)
			}
			return nil
		})
	})
}

func TestNilArguments(t *testing.T) {
	inTask(t, func(ctx context.Context, l *Loop) error {
		var noCtx context.Context
		var noTask *Task[int]
		var noFuture *Future[int]
		_, err := NewFuture[int](l).Await(noCtx)
		isErr(t, err, ErrInvalidArgument)
		_, err = noFuture.Await(ctx)
		isErr(t, err, ErrInvalidArgument)
		for _, aw := range []Awaitable[int]{nil, noTask, noFuture} {
			_, err = Gather(ctx, aw)
			isErr(t, err, ErrInvalidArgument)
			_, _, err = Wait(ctx, []Waiter{aw})
			isErr(t, err, ErrInvalidArgument)
			_, err = WaitForFuture(ctx, aw, time.Second)
			isErr(t, err, ErrInvalidArgument)
			isErr(t, Shield(ctx, aw).Exception(), ErrInvalidArgument)
			_, err = RunUntilComplete(l, aw)
			isErr(t, err, ErrInvalidArgument)
		}
		return nil
	})
}

// TestCallsWithContext: timers and posts take a ctx, as CallSoonContext does, and a
// failure is reported with it.
func TestCallsWithContext(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "mine")
	for _, debug := range []bool{false, true} {
		l, _ := newLoop(t, quiet, func(c *Config) { c.Debug = debug })
		seen, reported := 0, 0
		l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) {
			if ec.Context.Value(key{}) == "mine" && errors.Is(ec.Exception, errBoom) {
				reported++
			}
		})
		use := func(ctx context.Context) {
			if ctx.Value(key{}) == "mine" && loopOf(ctx) == l {
				seen++
			}
			panic(errBoom)
		}
		l.CallLaterContext(ctx, 0, use)
		l.CallAtContext(ctx, l.Time(), use)
		must(t, l.Ref().CallSoonThreadsafeContext(ctx, use))
		l.CallLaterContext(ctx, 0, use).Cancel()
		runTurns(t, l, 2)
		if seen != 3 || reported != 3 {
			t.Errorf("debug %v: %d calls of 3 had their context, %d of 3 reports", debug, seen, reported)
		}
		isErr(t, l.CallLaterContext(ctx, 0, nil).Err(), ErrInvalidArgument)
		isErr(t, l.Ref().CallSoonThreadsafeContext(ctx, nil), ErrInvalidArgument)
		isErr(t, Ref{}.CallSoonThreadsafeContext(ctx, use), ErrNotLocal)
		must(t, l.Close())
		isErr(t, l.Ref().CallSoonThreadsafeContext(ctx, use), ErrLoopClosed)
	}
}

// TestOneErrorTable: what means the same is the same value.
func TestOneErrorTable(t *testing.T) {
	isErr(t, ErrGoexit, actors.ErrGoexit)
	isErr(t, ErrWouldBlock, actors.ErrWouldBlock)
	pool := NewPool(1)
	must(t, pool.Shutdown(context.Background()))
	isErr(t, pool.Submit(func() {}), actors.ErrShutdown)
}
