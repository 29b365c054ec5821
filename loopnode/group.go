package loopnode

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// GroupError holds what the tasks of a group, and its body, failed with, in the
// order they ended. asyncio: ExceptionGroup.
type GroupError struct{ Errs []error }

func (e *GroupError) Error() string {
	s := fmt.Sprintf("unhandled errors in a TaskGroup (%d)", len(e.Errs))
	for _, err := range e.Errs {
		s += "; " + err.Error()
	}
	return s
}

func (e *GroupError) Unwrap() []error { return e.Errs }

// TaskGroup is tasks that end together; see WithTaskGroup. Owned by the loop goroutine.
type TaskGroup struct {
	ctx      context.Context
	parent   *task
	tasks    taskSet
	idle     *Future[struct{}] // what the end of the group waits for
	errs     []error
	fatal    error
	exiting  bool
	aborting bool
	// cancelledParent: the group asked its parent to cancel and owes it an uncancel.
	cancelledParent bool
}

// WithTaskGroup runs body, which starts tasks with GroupTask, and waits for all of
// them. The first failure, of a task or of body, cancels the others and body's
// wait; all failures come back as one *GroupError, cancellations left out.
// Cancelling the current task cancels the tasks, waits for them and comes back
// as the cancellation unless something failed. A FatalError comes back bare.
// A panic of body counts as its failure. Errors of its own: ErrInvalidState
// outside of a task. asyncio.TaskGroup.
func WithTaskGroup(ctx context.Context, body func(ctx context.Context, g *TaskGroup) error) error {
	t, err := currentTask(ctx)
	switch {
	case err != nil:
		return err
	case body == nil:
		return invalid("WithTaskGroup needs a function, not nil")
	}
	g := &TaskGroup{ctx: ctx, parent: t, tasks: taskSet{at: map[*task]int{}}}
	over := false
	defer func() {
		if !over { // the goroutine is ending: nobody will wait
			g.exiting = true
			g.abort()
		}
	}()
	var failure error
	if p := guard.Call(func() { failure = body(ctx, g) }); p != nil {
		failure = p
	}
	err = g.wait(failure)
	over = true
	return err
}

// GroupTask runs fn as a task of g; see CreateTask. On a group that has ended
// or is ending after a failure the task is born failed with ErrInvalidState and
// fn never runs. A task that cannot start for another reason, see CreateTask, is a
// failure of the group. asyncio: TaskGroup.create_task.
func GroupTask[T any](g *TaskGroup, name string, fn func(context.Context) (T, error), opts ...TaskOption) *Task[T] {
	return groupTask(g, name, fn, nil, opts)
}

// groupTask is GroupTask; shown as in createTask.
func groupTask[T any](g *TaskGroup, name string, fn func(context.Context) (T, error), shown any, opts []TaskOption) *Task[T] {
	if err := g.open(); err != nil {
		return refusedTask[T](name, err)
	}
	k := createTask(g.ctx, name, fn, shown, opts)
	switch {
	case k.loop == nil: // it could not start
		g.failed(k.err)
		return k
	case k.state == finished: // done eagerly: nothing to wait for
		return k
	}
	g.tasks.add(&k.t)
	k.onDoneFor(g.parent.fut, func() { g.ended(&k.t) })
	return k
}

// Go is GroupTask for functions without a result.
func (g *TaskGroup) Go(name string, fn func(context.Context) error, opts ...TaskOption) *Task[struct{}] {
	if fn == nil {
		return GroupTask[struct{}](g, name, nil, opts...)
	}
	return groupTask(g, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, fn, opts)
}

func (g *TaskGroup) open() error {
	switch {
	case g == nil || g.parent == nil:
		return fmt.Errorf("%w: the task group has not been entered; use WithTaskGroup", ErrInvalidState)
	case g.exiting && len(g.tasks.at) == 0:
		return fmt.Errorf("%w: the task group is finished", ErrInvalidState)
	case g.aborting:
		return fmt.Errorf("%w: the task group is shutting down", ErrInvalidState)
	case !onLoop():
		return fmt.Errorf("%w: a task group belongs to its loop", ErrWrongGoroutine)
	}
	return nil
}

// ended is the done callback of the group's tasks.
func (g *TaskGroup) ended(t *task) {
	g.tasks.remove(t)
	if g.idle != nil && len(g.tasks.at) == 0 {
		g.idle.settleOnce()
	}
	err := t.fut.Exception()
	if err == nil || t.fut.state == cancelled {
		return
	}
	if g.parent.fut.state != pending { // its goroutine ended: nobody hears of errs any more
		t.loop.CallExceptionHandler(ExceptionContext{
			Kind: report.Task, Message: "Task of a TaskGroup failed whose parent task " + g.parent.label() + " has ended", Exception: err, Task: t.String(),
		})
		return
	}
	g.failed(err)
}

// failed counts one failure of a task; the first one ends the others.
func (g *TaskGroup) failed(err error) {
	g.errs = append(g.errs, err)
	g.noteFatal(err)
	if !g.aborting && !g.cancelledParent {
		g.abort()
		g.cancelledParent = true
		g.parent.cancel()
	}
}

func (g *TaskGroup) noteFatal(err error) {
	if g.fatal == nil && asFatal(err) != nil {
		g.fatal = err
	}
}

func (g *TaskGroup) abort() {
	g.aborting = true
	for _, t := range g.tasks.all() {
		t.cancel()
	}
}

// wait is the end of the group: body has returned failure.
func (g *TaskGroup) wait(failure error) error {
	g.exiting = true
	var cancellation error
	if failure != nil {
		g.noteFatal(failure)
		if g.parent.endsCancelled(failure) {
			cancellation, failure = failure, nil
		}
		if !g.aborting {
			g.abort()
		}
	}
	for len(g.tasks.at) > 0 {
		g.idle = NewFuture[struct{}](g.parent.loop)
		_, err := g.idle.Await(&g.parent.ctx)
		switch {
		case err == nil:
		case !g.parent.endsCancelled(err):
			return err // the loop is closed
		case !g.aborting:
			cancellation = err
			g.abort()
		}
		g.idle = nil
	}
	return g.verdict(failure, cancellation)
}

// verdict says what the group returns, and settles the account of cancel
// requests with the parent.
func (g *TaskGroup) verdict(failure, cancellation error) error {
	if g.fatal != nil {
		return g.fatal
	}
	if g.cancelledParent && g.parent.uncancel() == 0 {
		cancellation = nil
	}
	if cancellation != nil && len(g.errs) == 0 {
		return cancellation
	}
	if failure != nil {
		g.errs = append(g.errs, failure)
	}
	if len(g.errs) == 0 {
		return nil
	}
	if g.parent.cancelling > 0 { // somebody else's request: it must hit the next wait
		g.parent.uncancel()
		g.parent.cancel()
	}
	return &GroupError{g.errs}
}

// taskSet is tasks in the order they came.
type taskSet struct {
	at   map[*task]int
	next int
}

func (s *taskSet) add(t *task) { s.at[t], s.next = s.next, s.next+1 }

func (s *taskSet) remove(t *task) { delete(s.at, t) }

func (s *taskSet) all() []*task {
	return slices.SortedFunc(maps.Keys(s.at), func(a, b *task) int { return s.at[a] - s.at[b] })
}
