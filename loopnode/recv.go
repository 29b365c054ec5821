package loopnode

import (
	"context"
	"fmt"
)

// Recv receives from ch without blocking the loop: in a task it suspends the
// task, outside of a task it blocks the goroutine. ok is false when ch is closed.
// The wait ends early, with an error and without a value, when the task is
// cancelled or ctx ends. A value that has been received is never dropped: Recv
// returns it, and the cancellation comes with the next wait. A wait costs a
// goroutine; a value that is there already costs none. Errors: CancelledError,
// ErrTimeout, ErrLoopClosed, ErrWrongGoroutine, ErrWouldBlock (in a callback, with
// nothing to receive).
func Recv[T any](ctx context.Context, ch <-chan T) (v T, ok bool, err error) {
	t := taskOf(ctx)
	if t != nil {
		if err := t.owned(); err != nil {
			return v, false, err
		}
	}
	select {
	case v, ok = <-ch:
		return v, ok, nil
	default:
	}
	switch {
	case t != nil:
		return recvInTask(ctx, t, ch)
	case onLoop():
		return v, false, fmt.Errorf("%w: Recv is for tasks", ErrWouldBlock)
	case ctx == nil:
		return v, false, invalid("Recv needs a ctx, not nil")
	}
	select {
	case v, ok = <-ch:
		return v, ok, nil
	case <-ctx.Done():
		return v, false, contextError(ctx)
	}
}

// received is what the goroutine of a Recv got.
type received[T any] struct {
	v    T
	ok   bool // the channel is open
	came bool // something was received: a value, or the close
}

// recvInTask receives on a goroutine of its own. Invariant: that goroutine has
// ended, or is about to, when this returns, and nothing it got is lost.
func recvInTask[T any](ctx context.Context, t *task, ch <-chan T) (v T, ok bool, err error) {
	wake := NewFuture[struct{}](t.loop)
	stop, got := make(chan struct{}), make(chan received[T], 1)
	// goroutine: owner: the waiting task; ends when something came, or with the wait.
	go func() {
		var r received[T]
		select {
		case r.v, r.ok = <-ch:
			r.came = true
		case <-stop:
		}
		got <- r
		_ = t.loop.post(wake.settleOnce) // a closed loop has ended the wait
	}()
	_, err = wake.Await(ctx)
	close(stop)
	r := <-got // at once: stop is closed
	if !r.came {
		return v, false, err
	}
	if err != nil && t.cancelling > 0 {
		t.mustCancel = true // the request is delivered at the next wait
	}
	return r.v, r.ok, nil
}
