package loopnode

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// RunCoroutineThreadsafe runs fn as a task of r's loop, behind what was posted
// before, and gives its outcome to any goroutine: Wait of it waits. Cancelling the outcome asks
// the task to end; the outcome is cancelled at once, whatever the task makes of
// it. It does not wait. Any goroutine. An outcome that cannot come is a failure
// at once: ErrNotLocal, ErrInvalidArgument (nil), ErrLoopClosed (also when the
// loop is closed before the task has ended), and what the loop's TaskFactory
// says, which is reported too. asyncio.run_coroutine_threadsafe.
func RunCoroutineThreadsafe[T any](r Ref, name string, fn func(context.Context) (T, error), opts ...TaskOption) *SafeFuture[T] {
	f := NewSafeFuture[T]()
	var err error
	if r.loop == nil {
		err = fmt.Errorf("%w: %s: register the function with cluster.Func and call it by name", ErrNotLocal, r)
	} else {
		err = startable(r.loop, fn == nil)
	}
	if err != nil {
		_ = f.SetException(err)
		return f
	}
	l := r.loop
	k := newTask(l, l.ctx, name, fn, nil, func(k *Task[T]) { k.tell(f) }, opts)
	if k.loop == nil {
		_ = f.SetException(k.err)
		_ = l.post(func() { // refused by a closed loop, which is no news
			l.CallExceptionHandler(ExceptionContext{Kind: report.Task, Message: "Task could not be created", Exception: k.err})
		})
		return f
	}
	f.AddDoneCallback(func() {
		if f.Cancelled() {
			_ = l.post(func() { k.Cancel(cancelMessage(f.err)...) })
		}
	})
	return f
}

// tell copies the outcome of the task, which has ended or was abandoned.
func (k *Task[T]) tell(f *SafeFuture[T]) {
	var zero T
	switch k.state {
	case pending:
		f.settle(failed, zero, closedError(k.loop))
	case finished:
		f.settle(finished, k.value, nil)
	default:
		f.settle(k.state, zero, k.Exception())
	}
}
