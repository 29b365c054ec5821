package loopnode

import (
	"context"
	"errors"
	"fmt"
)

// SafeTask is a task seen from other goroutines than its loop's. Its methods:
// any goroutine. asyncio: the concurrent.futures.Future of
// run_coroutine_threadsafe.
type SafeTask[T any] struct {
	loop *Loop
	task *Task[T] // loop goroutine
	done chan struct{}
	// Written before done is closed, read after it.
	value T
	err   error
}

// RunCoroutineThreadsafe runs fn as a task of ref's loop, in its place behind
// what was posted before. It does not wait. A task that cannot be made is told
// by Result: ErrNotLocal, ErrLoopClosed, ErrInvalidArgument (nil). Any
// goroutine. asyncio: run_coroutine_threadsafe.
func RunCoroutineThreadsafe[T any](ref Ref, name string, fn func(ctx context.Context) (T, error)) *SafeTask[T] {
	s := &SafeTask[T]{loop: ref.loop, done: make(chan struct{})}
	switch {
	case ref.loop == nil:
		s.finish(fmt.Errorf("%w: %s: register the function with cluster.Func and call it by name", ErrNotLocal, ref))
		return s
	case fn == nil:
		s.finish(invalid("RunCoroutineThreadsafe needs a function, not nil"))
		return s
	}
	s.task = CreateTask(ref.loop.ctx, name, fn)
	if err := s.loop.Post(s.follow); err != nil {
		s.finish(err)
	}
	return s
}

// follow brings the outcome over. Loop goroutine.
func (s *SafeTask[T]) follow() {
	if s.task.loop == nil { // refused: nobody else would tell
		s.loop.CallExceptionHandler(ExceptionContext{Message: "Task could not be created", Exception: s.task.err})
		s.finish(s.task.err)
		return
	}
	s.task.onDone(func() {
		v, err := s.task.Result()
		s.value = v
		s.finish(err)
	})
}

func (s *SafeTask[T]) finish(err error) {
	s.err = err
	close(s.done)
}

// Done is closed when there is an outcome; never when the loop is closed first.
func (s *SafeTask[T]) Done() <-chan struct{} { return s.done }

// Result waits for the task, for ctx or for the end of the loop, and is the
// task's outcome. Giving up on the wait does not cancel the task. On the loop
// itself it would wait for ever: ErrWouldBlock. Other errors of its own:
// ErrTimeout, CancelledError (of ctx), ErrLoopClosed.
func (s *SafeTask[T]) Result(ctx context.Context) (v T, err error) {
	select {
	case <-s.done:
		return s.value, s.err
	default:
	}
	if s.loop.here() {
		return v, fmt.Errorf("%w: await the task on its own loop", ErrWouldBlock)
	}
	select {
	case <-s.done:
		return s.value, s.err
	case <-ctx.Done():
		return v, contextError(ctx)
	case <-s.loop.gone:
	}
	select {
	case <-s.done: // just in time
		return s.value, s.err
	default:
		return v, closedError(s.loop)
	}
}

// Cancel asks the task to end; see Future.Cancel. It does not wait. False when
// the outcome is there or the loop is closed.
func (s *SafeTask[T]) Cancel(msg ...string) bool {
	select {
	case <-s.done:
		return false
	default:
	}
	return !errors.Is(s.loop.Post(func() { s.task.Cancel(msg...) }), ErrLoopClosed)
}

// ToThread runs fn on the loop's default executor and waits for it in the
// calling task. fn's ctx has the values and the end of ctx, but no task and no
// loop: there is nothing to await in a worker. Errors: fn's, and those of
// RunInExecutor and Await. asyncio.to_thread.
func ToThread[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) (T, error) {
	if fn == nil {
		var zero T
		return zero, invalid("ToThread needs a function, not nil")
	}
	away := &awayContext{ctx}
	return RunInExecutor(ctx, nil, func() (T, error) { return fn(away) }).Await(ctx)
}

// awayContext is a ctx without its task and loop.
type awayContext struct{ context.Context }

func (c *awayContext) Value(key any) any {
	switch key.(type) {
	case taskKey, loopKey:
		return nil
	}
	return c.Context.Value(key)
}
