package loopnode

import (
	"context"
	"fmt"
)

// WaitDone waits until ctx ends and returns why: a CancelledError or ErrTimeout.
// In a task it suspends the task, where a receive from ctx.Done() would block the
// loop with all its tasks; outside of a task it blocks the goroutine. It never
// returns nil. Errors besides: ErrInvalidArgument (ctx never ends, and is no
// task's), ErrWouldBlock (called in a callback), ErrWrongGoroutine.
func WaitDone(ctx context.Context) error {
	switch t := taskOf(ctx); {
	case t != nil:
		_, err := NewFuture[struct{}](t.loop).Await(ctx)
		return err
	case ctx == nil || ctx.Done() == nil:
		return invalid("WaitDone needs a ctx that ends")
	case ctx.Err() != nil:
	case onLoop():
		return fmt.Errorf("%w: WaitDone is for tasks", ErrWouldBlock)
	}
	<-ctx.Done()
	return contextError(ctx)
}
