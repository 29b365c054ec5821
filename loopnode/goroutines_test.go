package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// fromElsewhere runs l and calls fn meanwhile on another goroutine.
func fromElsewhere(t *testing.T, l *Loop, fn func()) {
	t.Helper()
	up, ran := make(chan struct{}), make(chan error)
	l.CallSoon(func() { close(up) })
	go func() { ran <- l.RunForever() }() // ends with Stop below
	<-up
	fn()
	must(t, l.Ref().Stop())
	must(t, <-ran)
}

// TestWrongGoroutineInDebugMode: what is refused changes nothing, and no wake-up
// of the loop's own is dropped.
func TestWrongGoroutineInDebugMode(t *testing.T) {
	debug := func(c *Config) { c.Debug = true }
	bg := context.Background()
	t.Run("DBG-03 every public call that belongs to the loop is refused elsewhere", func(t *testing.T) {
		l, log := newLoop(t, debug)
		f := NewFuture[int](l)
		ran := 0
		id := f.AddDoneCallback(func(*Future[int]) { ran++ })
		k := CreateTask(l.Context(bg), "mine", func(ctx context.Context) (int, error) { return f.Await(ctx) })
		handle, timer := l.CallSoon(func() {}), l.CallLater(time.Hour, func() {})
		fromElsewhere(t, l, func() {
			for what, err := range map[string]error{
				"SetResult":          f.SetResult(1),
				"SetException":       f.SetException(errBoom),
				"NewFuture":          NewFuture[int](l).Exception(),
				"RunInExecutor":      RunInExecutor(l.Context(bg), nil, func() (int, error) { ran++; return 0, nil }).Exception(),
				"SetDefaultExecutor": l.SetDefaultExecutor(NewPool(1)),
				"AddReader":          l.AddReader(0, func() { ran++ }),
				"AddWriter":          l.AddWriter(0, func() { ran++ }),
				"CallSoon":           l.CallSoon(func() { ran++ }).Err(),
				"CallSoonContext":    l.CallSoonContext(bg, func(context.Context) { ran++ }).Err(),
				"CallLater":          l.CallLater(0, func() { ran++ }).Err(),
			} {
				if !errors.Is(err, ErrWrongGoroutine) {
					t.Errorf("%s: %v", what, err)
				}
			}
			l.SetExceptionHandler(func(*Loop, ExceptionContext) { ran++ })
			handle.Cancel()
			timer.Cancel()
			later := f.AddDoneCallback(func(*Future[int]) { ran++ })
			if f.Cancel() || k.Cancel() || f.RemoveDoneCallback(id) != 0 || later != 0 || k.Uncancel() != 0 ||
				l.RemoveReader(0) || l.RemoveWriter(0) || AllTasks(l) != nil {
				t.Error("a call was not refused")
			}
		})
		for _, call := range []string{"SetExceptionHandler", "Handle.Cancel", "TimerHandle.Cancel", "AddDoneCallback", "AllTasks", "RemoveReader"} {
			if !strings.Contains(log.String(), call) {
				t.Errorf("%s is not logged", call)
			}
		}
		if ran != 0 || f.Done() || timer.Cancelled() || l.ExceptionHandler() != nil || k.Cancelling() != 0 {
			t.Error("a refused call changed something")
		}
		must(t, f.SetResult(1))
		if v, err := RunUntilComplete(l, k); v != 1 || err != nil || ran != 1 {
			t.Error(v, err, ran)
		}
	})
	t.Run("a refused SetResult is told, and its waiter is woken by the right one", func(t *testing.T) {
		l, _ := newLoop(t, debug)
		f := NewFuture[int](l)
		k := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return f.Await(ctx) })
		refused := make(chan error, 1)
		l.CallSoon(func() {
			go func() { // ends at once
				refused <- f.SetResult(1)
				must(t, l.post(func() { must(t, f.SetResult(2)) }))
			}()
		})
		if v, err := RunUntilComplete(l, k); v != 2 || err != nil {
			t.Error(v, err)
		}
		isErr(t, <-refused, ErrWrongGoroutine)
	})
	t.Run("Stop from elsewhere still stops the loop", func(t *testing.T) {
		l, log := newLoop(t, debug)
		fromElsewhere(t, l, l.Stop)
		if !strings.Contains(log.String(), "Loop.Stop") {
			t.Error("it is not logged")
		}
	})
	t.Run("beside another running loop the right goroutine is known, in tasks and callbacks", func(t *testing.T) {
		other, _ := newLoop(t, debug)
		fromElsewhere(t, other, func() {
			l, log := newLoop(t, debug)
			f := NewFuture[int](l)
			k := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
				l.CallSoon(func() { must(t, f.SetResult(3)) })
				v, err := f.Await(ctx)
				must(t, NewFuture[int](l).SetResult(1))
				return v, err
			})
			if v, err := RunUntilComplete(l, k); v != 3 || err != nil || log.String() != "" {
				t.Error(v, err, log)
			}
			isErr(t, NewFuture[int](other).Exception(), ErrWrongGoroutine)
		})
	})
}
