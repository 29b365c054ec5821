package tasksync

import (
	"container/list"
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// waiter is what one task awaits until it is granted what it waits for.
type waiter = loopnode.Future[struct{}]

// grant wakes the task behind e, unless that has been granted or cancelled.
func grant(e *list.Element) bool {
	f := e.Value.(*waiter)
	return !f.Done() && f.SetResult(struct{}{}) == nil
}

// waiters are tasks that wait for the same thing, first come first. It belongs
// to the loop whose task waited first.
type waiters struct {
	loop *loopnode.Loop
	list list.List // of *waiter
}

// wait suspends t until it is granted what it waits for. Granted and an error
// together: the task was cancelled after its turn had come.
func (w *waiters) wait(ctx context.Context, t loopaccess.Task) (granted bool, err error) {
	l := t.Loop().(*loopnode.Loop)
	if w.loop == nil {
		w.loop = l
	}
	if w.loop != l {
		return false, fmt.Errorf("%w: it is used by %s, not by %s", loopnode.ErrWrongLoop, w.loop.Name(), l.Name())
	}
	f := loopnode.NewFuture[struct{}](l)
	e := w.list.PushBack(f)
	_, err = f.Await(ctx)
	w.list.Remove(e)
	return f.Done() && !f.Cancelled(), err
}

// check refuses, in debug mode, a call from another goroutine than that of the loop:
// ErrWrongGoroutine, also logged. Which loop that is shows when the first task waits;
// before that nobody can be hurt.
func (w *waiters) check(what string) error {
	if w.loop == nil {
		return nil
	}
	return loopaccess.Of(w.loop).CheckGoroutine(what)
}

// wakeHead grants the first in the queue, which may have been granted already.
func (w *waiters) wakeHead() {
	if e := w.list.Front(); e != nil {
		grant(e)
	}
}

// wake grants up to n that wait and returns how many that were.
func (w *waiters) wake(n int) (woken int) {
	for e := w.list.Front(); e != nil && woken < n; e = e.Next() {
		if grant(e) {
			woken++
		}
	}
	return woken
}

// take is wake for who counts nobody twice: it drops them from the queue, so
// that many calls in one turn cost no search.
func (w *waiters) take(n int) (woken int) {
	for w.list.Len() > 0 && woken < n {
		e := w.list.Front()
		if grant(e) {
			woken++
		}
		w.list.Remove(e)
	}
	return woken
}

// busy reports whether somebody is in the queue who was not cancelled.
func (w *waiters) busy() bool {
	for e := w.list.Front(); e != nil; e = e.Next() {
		if !e.Value.(*waiter).Cancelled() {
			return true
		}
	}
	return false
}

// currentTask is the task that ctx belongs to and that may wait here.
func currentTask(ctx context.Context) (loopaccess.Task, error) {
	t := loopaccess.TaskOf(ctx)
	if t == nil {
		return nil, fmt.Errorf("%w: this must be called in a task", loopnode.ErrInvalidState)
	}
	return t, t.Owned()
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{loopnode.ErrInvalidArgument}, args...)...)
}
