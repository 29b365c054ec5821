package loopnode

import (
	"context"
	"fmt"
	"sync"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// SafeFuture is a result that will be there later, for goroutines: all its
// methods may be called from any. concurrent.futures.Future. NewSafeFuture
// makes one; the zero value is of no use.
type SafeFuture[T any] struct {
	done chan struct{} // closed once the rest does not change any more

	mu    sync.Mutex
	state futureState
	value T
	err   error
	calls []func() // nil once done
}

// NewSafeFuture makes a pending one. It belongs to no loop.
func NewSafeFuture[T any]() *SafeFuture[T] { return &SafeFuture[T]{done: make(chan struct{})} }

// SetResult makes v the result and calls the done callbacks. ErrInvalidState
// when already done.
func (f *SafeFuture[T]) SetResult(v T) error {
	if !f.settle(finished, v, nil) {
		return fmt.Errorf("%w: SetResult on a future that is done", ErrInvalidState)
	}
	return nil
}

// SetException makes err the outcome. ErrInvalidState when already done,
// ErrInvalidArgument for nil. A failure nobody looks at is not reported.
func (f *SafeFuture[T]) SetException(err error) error {
	if err == nil {
		return invalid("SetException needs an error, not nil")
	}
	var zero T
	if !f.settle(failed, zero, err) {
		return fmt.Errorf("%w: SetException on a future that is done", ErrInvalidState)
	}
	return nil
}

// Cancel ends the future with ErrCancelled and reports true; false when it is
// done. A loop's future that wraps it ends with it.
func (f *SafeFuture[T]) Cancel(msg ...string) bool {
	var zero T
	return f.settle(cancelled, zero, cancelError(msg))
}

func (f *SafeFuture[T]) settle(s futureState, v T, err error) bool {
	f.mu.Lock()
	if f.state != pending {
		f.mu.Unlock()
		return false
	}
	f.state, f.value, f.err = s, v, err
	calls := f.calls
	f.calls = nil
	close(f.done)
	f.mu.Unlock()
	var thrown *guard.Panic
	for _, call := range calls {
		if p := guard.Call(call); p != nil && thrown == nil {
			thrown = p
		}
	}
	if thrown != nil {
		panic(thrown)
	}
	return true
}

// Done is closed when there is a result, an error or a cancellation.
func (f *SafeFuture[T]) Done() <-chan struct{} { return f.done }

// Cancelled reports whether it ended cancelled.
func (f *SafeFuture[T]) Cancelled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == cancelled
}

// Result is the outcome: the value, the error it failed with, the
// CancelledError, or ErrInvalidState while pending. It does not wait.
func (f *SafeFuture[T]) Result() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == pending {
		return f.value, fmt.Errorf("%w: the result is not ready", ErrInvalidState)
	}
	return f.value, f.err
}

// Wait blocks the goroutine until the outcome is there, and returns it, or until
// ctx ends. In a task use WrapFuture: here it is ErrWouldBlock, like in a
// callback. A nil ctx is ErrInvalidArgument. concurrent.futures: result(timeout).
func (f *SafeFuture[T]) Wait(ctx context.Context) (T, error) {
	var zero T
	switch {
	case ctx == nil:
		return zero, invalid("Wait needs a ctx, not nil")
	case onLoop():
		return zero, fmt.Errorf("%w: use WrapFuture and await that", ErrWouldBlock)
	}
	select {
	case <-f.done:
		return f.Result()
	default:
	}
	select {
	case <-f.done:
		return f.Result()
	case <-ctx.Done():
		return zero, contextError(ctx)
	}
}

// AddDoneCallback calls fn when the future is done, on the goroutine that
// settles it; at once when it is done already. fn must not block; nil is nothing
// to call. A panic of fn comes out of the call that settled it, after the other
// callbacks were called.
func (f *SafeFuture[T]) AddDoneCallback(fn func()) {
	if fn == nil {
		return
	}
	f.mu.Lock()
	if f.state == pending {
		f.calls = append(f.calls, fn)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	fn()
}

// WrapFuture gives a future of ctx's loop that ends as f does; cancelling it
// cancels f at once. A loop that is closed by then is not told. It does not wait. Loop
// goroutine. What cannot be is born failed: ErrNoRunningLoop, ErrLoopClosed,
// ErrInvalidArgument (nil). asyncio.wrap_future.
func WrapFuture[T any](ctx context.Context, f *SafeFuture[T]) *Future[T] {
	l := loopOf(ctx)
	switch {
	case f == nil:
		return refusedFuture[T](invalid("WrapFuture needs a future, not nil"))
	case l == nil:
		return refusedFuture[T](fmt.Errorf("%w: give WrapFuture a task's ctx or Loop.Context", ErrNoRunningLoop))
	case l.closed.Load():
		return refusedFuture[T](closedError(l))
	}
	outer := NewFuture[T](l)
	// Why inside Cancel and not in a done callback: whoever asks f in the same turn
	// must find it cancelled.
	outer.asked = func(msg ...string) bool {
		outer.settle(cancelled, cancelError(msg))
		f.Cancel(msg...)
		return true
	}
	f.AddDoneCallback(func() {
		_ = l.post(func() { outer.conclude(f.state, f.value, f.err) }) // a closed loop needs no news
	})
	return outer
}

// cancelMessage is the message of a cancellation as Cancel takes it.
func cancelMessage(err error) []string {
	if e, ok := err.(*CancelledError); ok && e.Msg != "" {
		return []string{e.Msg}
	}
	return nil
}
