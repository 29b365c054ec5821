// Package wait lets a task or a goroutine wait for one value that another
// goroutine delivers, for example an answer.
package wait

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Waiter is somebody who waits for one value from another goroutine: a task,
// which is suspended, or a goroutine, which blocks.
type Waiter[T any] struct {
	loop   *loopnode.Loop // the task's; nil for a goroutine
	future *loopnode.Future[T]
	ready  chan T
}

// New makes the Waiter that fits ctx. In a callback of a loop nobody may
// wait: ErrWouldBlock.
func New[T any](ctx context.Context) (Waiter[T], error) {
	if loop, ok := taskLoop(ctx); ok {
		return Waiter[T]{loop: loop, future: loopnode.NewFuture[T](loop)}, nil
	}
	if coro.Inside() {
		return Waiter[T]{}, fmt.Errorf("%w: call from a task with its ctx, or use a form that does not wait (CallSoon, TryCallSoon)", loopnode.ErrWouldBlock)
	}
	return Waiter[T]{ready: make(chan T, 1)}, nil
}

// Whoever describes what waits wants to say where: a call of a task is shown as one of its
// loop, and one of a goroutine as one of the node.
//
// Loop is the name of the loop of the task that waits; "" for a goroutine.
func (w Waiter[T]) Loop() string {
	if w.loop == nil {
		return ""
	}
	return w.loop.Name()
}

// taskLoop is the loop of the task that ctx belongs to and that runs now.
func taskLoop(ctx context.Context) (*loopnode.Loop, bool) {
	if _, ok := loopnode.CurrentTask(ctx); !ok || !coro.Marked() {
		return nil, false
	}
	loop, err := loopnode.Running(ctx)
	return loop, err == nil
}

// Deliver gives the value. Only the first one counts. Any goroutine.
func (w Waiter[T]) Deliver(v T) {
	if w.future == nil {
		select {
		case w.ready <- v:
		default:
		}
		return
	}
	// A closed loop has ended the task already, and a cancelled task has cancelled the
	// future: in both cases nobody waits for the value.
	_ = w.loop.Ref().CallSoonThreadsafe(func() { _ = w.future.SetResult(v) })
}

// Wait returns the value, or why ctx or the task ended first.
func (w Waiter[T]) Wait(ctx context.Context) (v T, err error) {
	if w.future != nil {
		return w.future.Await(ctx)
	}
	select {
	case v = <-w.ready:
		return v, nil
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}
