package loopnode

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/core"
	"github.com/loopmesh/loopmesh/internal/coro"
)

// Task is a function that runs on the loop and may wait in the middle. It is
// the Future of its result; SetResult and SetException are refused.
// asyncio.Task.
type Task[T any] struct {
	Future[T]
	t  task
	fn func(context.Context) (T, error)
	at uintptr // the user's function inside fn, for descriptions; 0 when it is fn itself
}

// task is the half of Task[T] that does not know T. Owned by the loop goroutine.
type task struct {
	loop *Loop
	fut  *future
	body runner // the Task[T]
	ctx  taskContext
	w    *worker       // from its first step to its end
	name string        // as given; "" for Task-N
	n    int64         // the N
	gid  atomic.Uint64 // the goroutine it runs on; 0: not known, see runsHere

	started    bool
	scheduled  bool // a step is queued
	asking     bool // what it waits for is being asked to end
	mustCancel bool // a cancellation waits to be delivered
	cancelMsg  string
	cancelling int
	refusals   int
	waiting    *future
	waitID     CallbackID
	thrown     error       // what the next resumption throws
	eager      bool        // its first step runs, inside CreateTask
	outer      *task       // the task inside whose step that is; nil in a callback
	inner      bool        // such a step runs inside this one's
	gen        *generator  // the innermost one whose Next or Close it is in
	report     *[]uintptr  // where the suspended task writes down its stack
	unlink     func() bool // takes the watch on the creating ctx back
	atEnd      func()      // see newTask
	id         uint64      // on its loop, from when it is in loop.tasks
	maker      *task       // who made it, until it has its id
	by         uint64      // the id of maker, 0 for none of this loop
	parked     uint64      // what loop.beat counted when it began to wait
	// Invariant: linked into loop.tasks while not done.
	prev, next *task
}

// runner runs the body, keeps its value, and knows where its code is.
type runner interface {
	exec() error
	entry() uintptr
	showAs(fn any)
	told() // the task has ended or was abandoned
}

var taskCount atomic.Int64

// accept takes one item out of the inbox: a callback, or a task to begin, whose
// first step gets this place in the queue.
func (l *Loop) accept(it core.Item) {
	t, isTask := it.Meta.(*task)
	if !isTask {
		l.core.Ready.Push(it)
		return
	}
	l.tasks.add(t)
	if !l.closed.Load() {
		t.scheduled = true
		l.core.Ready.Push(stepOf(t))
	}
}

// stepOf is the entry of the ready queue for the next step of t. Its function is
// never called: the turn knows a step by its Meta and calls t.step. It is there
// because an entry without a function is a cancelled one.
func stepOf(t *task) core.Item { return core.Item{Run: taskStep, Meta: t} }

func taskStep() {}

// schedule queues the next step of a task that has not ended, once.
func (t *task) schedule() {
	if !t.scheduled && t.fut.state == pending {
		t.scheduled = true
		t.loop.queue(t)
	}
}

// step runs the task until it waits or ends.
func (t *task) step() {
	t.scheduled = false
	l := t.loop
	if !t.started {
		if t.mustCancel {
			t.mustCancel = false
			t.complete(t.cancelled()) // never executes any of its body
			return
		}
		t.started = true
		t.w = l.takeWorker(t)
		t.w.co.Start(t.w.main)
	}
	if l.debug && !t.eager {
		l.beat.task = t
	}
	l.setCurrent(t)
	out := t.w.co.Resume()
	if out != coro.Suspended || t.eager {
		l.setCurrent(t.outer)
		t.outer, t.eager = nil, false
	}
	switch out {
	case coro.Finished:
		t.complete(t.thrown)
	case coro.Panicked:
		t.complete(t.w.co.Panic)
	case coro.Exited:
		t.w.co.Discard()
		t.w = nil
		t.complete(ErrGoexit)
	}
}

// main is the body of the coroutine.
func (t *task) main() {
	t.w.identify(t.loop)
	t.gid.Store(t.w.gid)
	t.thrown = nil
	if t.loop.labels {
		t.thrown = t.labelled(t.body.exec)
		return
	}
	t.thrown = t.body.exec()
}

func (k *Task[T]) exec() (err error) {
	k.value, err = k.fn(&k.t.ctx)
	return err
}

func (k *Task[T]) told() {}

// complete ends the task.
func (t *task) complete(err error) {
	l := t.loop
	if t.w != nil {
		l.giveWorker(t.w)
		t.w = nil
	}
	l.tasks.remove(t)
	t.release()
	switch fatal := asFatal(err); {
	case fatal != nil:
		t.fut.fail(err)
		l.fatal = fatal
	case err == nil && t.mustCancel:
		t.fut.settle(cancelled, t.cancelled())
	case err == nil:
		t.fut.settle(finished, nil)
	case t.endsCancelled(err):
		t.fut.settle(cancelled, err)
	default:
		t.fut.fail(err)
	}
	t.told()
}

// told lets who asked for it know that the task has ended or was abandoned.
func (t *task) told() {
	t.body.told()
	if t.atEnd != nil {
		t.atEnd()
		t.atEnd = nil
	}
}

// release ends what the task's ctx and the one it was made with have to do with
// each other and with the task.
func (t *task) release() {
	t.ctx.end()
	if t.unlink != nil {
		t.unlink()
		t.unlink = nil
	}
}

// Name is the task's name.
func (k *Task[T]) Name() string { return k.t.label() }

func (t *task) label() string {
	if t.name == "" && t.n > 0 {
		return "Task-" + strconv.FormatInt(t.n, 10)
	}
	return t.name
}

// SetName changes it.
func (k *Task[T]) SetName(name string) { k.t.name, k.t.n = name, 0 }

// Func is the function the task runs; nil when it completed eagerly.
// asyncio: Task.get_coro.
func (k *Task[T]) Func() func(context.Context) (T, error) { return k.fn }

// Context is the ctx the function gets; one that is over when the task was born
// failed. asyncio: Task.get_context.
func (k *Task[T]) Context() context.Context {
	if k.loop == nil {
		over, end := context.WithCancel(context.Background())
		end()
		return over
	}
	return &k.t.ctx
}

// SetResult is refused: only its function gives a task a result.
func (k *Task[T]) SetResult(T) error {
	return fmt.Errorf("%w: a task gets its result from its function", ErrInvalidState)
}

// SetException is refused like SetResult.
func (k *Task[T]) SetException(error) error {
	return fmt.Errorf("%w: a task gets its error from its function", ErrInvalidState)
}

// yield gives up exactly one turn.
func (t *task) yield() error {
	if err := t.owned(); err != nil {
		return err
	}
	if t.loop.canSkipTurn(t) {
		t.loop.beat.enter()
		return nil
	}
	t.schedule()
	return t.suspend()
}
