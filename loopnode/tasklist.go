package loopnode

import (
	"context"
	"errors"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// taskList is the loop's tasks that are not done, oldest first. They are held
// strongly: a pending task that nobody refers to goes on.
type taskList struct {
	head, tail *task
	count      int
	ids        uint64 // the last one given
}

func (l *taskList) add(t *task) {
	if t.prev = l.tail; t.prev != nil {
		t.prev.next = t
	} else {
		l.head = t
	}
	l.tail = t
	l.count++
	l.named(t)
}

func (l *taskList) remove(t *task) {
	if t.prev == nil && l.head != t {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.prev, t.next = nil, nil
	l.count--
}

// TaskRef is a task whatever its result type.
type TaskRef struct{ t *task }

// Name is the task's name.
func (r TaskRef) Name() string { return r.t.label() }

// Cancel asks the task to end; see Future.Cancel.
func (r TaskRef) Cancel(msg ...string) bool { return r.t.fut.Cancel(msg...) }

// Cancelling is how many cancel requests are open; see Task.Cancelling.
func (r TaskRef) Cancelling() int { return r.t.cancelling }

// Uncancel withdraws one request; see Task.Uncancel.
func (r TaskRef) Uncancel() int { return r.t.uncancel() }

// Done reports whether the task has ended.
func (r TaskRef) Done() bool { return r.t.fut.state != pending }

// String shows name and state.
func (r TaskRef) String() string { return r.t.String() }

// CurrentTask is the task that ctx belongs to and that runs now; false in a
// callback. asyncio.current_task.
func CurrentTask(ctx context.Context) (TaskRef, bool) {
	if t := taskOf(ctx); t != nil && t.loop.current.Load() == t {
		return TaskRef{t}, true
	}
	return TaskRef{}, false
}

// AllTasks are l's tasks that are not done, oldest first. Loop goroutine.
// asyncio.all_tasks.
func AllTasks(l *Loop) []TaskRef {
	if l.checkGoroutine("AllTasks") != nil {
		return nil
	}
	l.inbox.Drain(l.admit) // tasks just created count
	out := make([]TaskRef, 0, l.tasks.count)
	for t := l.tasks.head; t != nil; t = t.next {
		out = append(out, TaskRef{t})
	}
	return out
}

// abandonTasks reports tasks that are pending when the loop closes and unwinds
// them: their next wait returns ErrLoopClosed, their deferred calls run.
func (l *Loop) abandonTasks() {
	for t := l.tasks.head; t != nil; t = l.tasks.head {
		l.tasks.remove(t)
		l.CallExceptionHandler(ExceptionContext{Kind: report.Pending, Message: "Task was destroyed but it is pending!", Task: t.String(), Source: frames(t.fut.source), Context: t.values()})
		t.release()
		t.unwind()
		t.told()
	}
}

// unwind ends the coroutine of a task whose loop closes; what it throws
// meanwhile is reported.
func (t *task) unwind() {
	if t.w == nil {
		return
	}
	t.w.co.Close()
	if p := t.w.co.Panic; t.started && p != nil && !errors.Is(p, ErrLoopClosed) {
		t.loop.CallExceptionHandler(ExceptionContext{
			Kind: report.Task, Message: "Exception in a task of a closed loop", Exception: p, Task: t.String(), Context: t.values(),
		})
	}
}
