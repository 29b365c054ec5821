package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"
)

func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSafeFuture(t *testing.T) {
	t.Run("states go one way, callbacks come once", func(t *testing.T) {
		f := NewSafeFuture[int]()
		calls := make(chan int, 3)
		f.AddDoneCallback(func() { calls <- 1 })
		_, err := f.Result()
		isErr(t, err, ErrInvalidState)
		isErr(t, f.SetException(nil), ErrInvalidArgument)
		go func() { _ = f.SetResult(4) }()
		if v, err := f.Wait(inTime(t)); v != 4 || err != nil {
			t.Errorf("got %v, %v", v, err)
		}
		isErr(t, f.SetResult(5), ErrInvalidState)
		isErr(t, f.SetException(errors.New("x")), ErrInvalidState)
		if f.Cancel() || f.Cancelled() {
			t.Error("cancelled after it was done")
		}
		f.AddDoneCallback(func() { calls <- 2 })
		if sum := <-calls + <-calls; sum != 3 || len(calls) != 0 {
			t.Errorf("the callbacks gave %d and %d more", sum, len(calls))
		}
	})
	t.Run("waiting ends with ctx, and is refused on a loop", func(t *testing.T) {
		f := NewSafeFuture[int]()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := f.Wait(ctx)
		isErr(t, err, ErrCancelled)
		inTask(t, func(ctx context.Context, l *Loop) error {
			_, err := f.Wait(ctx)
			isErr(t, err, ErrWouldBlock)
			return nil
		})
		if f.Cancelled() {
			t.Error("who stopped waiting cancelled it")
		}
	})
}

func TestWrapFuture(t *testing.T) {
	t.Run("FUT-17 outcomes cross from goroutines to the loop, cancellations both ways", func(t *testing.T) {
		boom := errors.New("boom")
		inTask(t, func(ctx context.Context, l *Loop) error {
			for _, c := range []struct {
				settle func(*SafeFuture[int])
				want   error
			}{
				{func(f *SafeFuture[int]) { _ = f.SetResult(6) }, nil},
				{func(f *SafeFuture[int]) { _ = f.SetException(boom) }, boom},
				{func(f *SafeFuture[int]) { _ = f.SetException(ErrTimeout) }, ErrTimeout},
				{func(f *SafeFuture[int]) { f.Cancel("why") }, ErrCancelled},
			} {
				safe := NewSafeFuture[int]()
				outer := WrapFuture(ctx, safe)
				go c.settle(safe)
				v, err := outer.Await(ctx)
				own, ownErr := safe.Result()
				if v != own || err != ownErr || !errors.Is(err, c.want) || outer.Cancelled() != (c.want == ErrCancelled) {
					t.Errorf("loop side %v, %v; goroutine side %v, %v", v, err, own, ownErr)
				}
			}
			safe := NewSafeFuture[int]()
			outer := WrapFuture(ctx, safe)
			outer.Cancel("from the loop") // and no turn later
			_, err := safe.Result()
			var cancelled *CancelledError
			if !safe.Cancelled() || !errors.As(err, &cancelled) || cancelled.Msg != "from the loop" {
				t.Errorf("the goroutine side got %v", err)
			}
			done := NewSafeFuture[int]()
			must(t, done.SetResult(1))
			if v, err := WrapFuture(ctx, done).Await(ctx); v != 1 || err != nil {
				t.Errorf("of one that is done: %v, %v", v, err)
			}
			isErr(t, WrapFuture[int](ctx, nil).Exception(), ErrInvalidArgument)
			isErr(t, WrapFuture(context.Background(), done).Exception(), ErrNoRunningLoop)
			return nil
		})
		l, log := newLoop(t)
		safe := NewSafeFuture[int]()
		outer := WrapFuture(l.Context(context.Background()), safe)
		must(t, l.Close())
		must(t, safe.SetException(boom)) // the loop is not there any more: nobody is told
		if outer.Done() || log.String() != "" {
			t.Errorf("%v, log %s", outer, log)
		}
		isErr(t, WrapFuture(l.Context(context.Background()), safe).Exception(), ErrLoopClosed)
	})
}

func TestSafeFutureCallsAllCallbacks(t *testing.T) {
	f := NewSafeFuture[int]()
	called := 0
	f.AddDoneCallback(func() { called++; panic(errBoom) })
	f.AddDoneCallback(func() { called++ })
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, errBoom) {
				t.Error("the panic is lost", err)
			}
		}()
		_ = f.SetResult(1)
	}()
	if called != 2 {
		t.Errorf("%d of 2 callbacks were called", called)
	}
}
