package loopnode

import (
	"context"
	"errors"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// teardown ends what main left over and closes the loop.
func (l *Loop) teardown() error {
	if l.hurried {
		return l.Close()
	}
	left := AllTasks(l)
	for _, t := range left {
		t.Cancel()
	}
	if len(left) > 0 {
		if err := l.runUntil(l.allDone(left)); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	for _, t := range left {
		if f := t.t.fut; f.state == failed && !l.closed.Load() {
			f.see()
			l.CallExceptionHandler(ExceptionContext{
				Kind: report.Task, Message: "unhandled exception during Run shutdown", Exception: f.err, Task: t.String(), Context: t.t.values(),
			})
		}
	}
	k := CreateTask(l.ctx, "shutdown", func(ctx context.Context) (struct{}, error) {
		if err := l.ShutdownAsyncgens(ctx); err != nil {
			return struct{}{}, err
		}
		limit, cancel := context.WithTimeout(ctx, runShutdownLimit)
		defer cancel()
		return struct{}{}, l.ShutdownDefaultExecutor(limit)
	})
	_, err := RunUntilComplete(l, k)
	return errors.Join(err, l.Close())
}

// allDone is done when all of tasks are.
func (l *Loop) allDone(tasks []TaskRef) *future {
	all := &NewFuture[struct{}](l).future
	left := len(tasks)
	for _, t := range tasks {
		t.t.fut.onDone(func() {
			if left--; left == 0 {
				all.settleOnce()
			}
		})
	}
	return all
}
