package loopnode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
}

// task is the half of Task[T] that does not know T. Owned by the loop goroutine.
type task struct {
	loop *Loop
	fut  *future
	body runner // the Task[T]
	ctx  taskContext
	w    *worker
	name string        // as given; "" for Task-N
	n    int64         // the N
	gid  atomic.Uint64 // the goroutine it runs on; 0 before its first step

	started    bool
	scheduled  bool // a step is queued
	mustCancel bool // a cancellation waits to be delivered
	cancelMsg  string
	cancelling int
	refusals   int
	waiting    *future
	waitID     CallbackID
	thrown     error // what the next resumption throws
	unlink     func() bool
	// Invariant: linked into loop.tasks while not done.
	prev, next *task
}

// runner runs the body and keeps its value.
type runner interface{ exec() error }

// worker is a pooled coroutine with its functions bound once.
type worker struct {
	co   *coro.Worker
	t    *task
	main func()
	step func()
	gid  uint64 // the coroutine's goroutine; 0 before its first body
}

const maxIdleWorkers = 4096

func (l *Loop) takeWorker(t *task) *worker {
	if n := len(l.left.idle); n > 0 {
		w := l.left.idle[n-1]
		l.left.idle = l.left.idle[:n-1]
		w.t = t
		return w
	}
	w := &worker{co: coro.New(), t: t}
	w.main = func() { w.t.main() }
	w.step = func() { w.t.step() }
	return w
}

func (l *Loop) giveWorker(w *worker) {
	w.t = nil
	if l.closed.Load() || len(l.left.idle) >= maxIdleWorkers {
		w.co.Close()
		return
	}
	l.left.idle = append(l.left.idle, w)
}

var taskCount atomic.Int64

// CreateTask runs fn as a task of ctx's loop; its first step comes in the next
// turn, never inside CreateTask, in the order of all calls and callbacks. The task sees the values of ctx; it is not
// cancelled with the task that created it, but it is when ctx has an end of its
// own (context.WithTimeout and the like). An empty name becomes Task-N. Without
// a usable loop the task is born failed: ErrNoRunningLoop, ErrLoopClosed.
// Any goroutine. asyncio: loop.create_task.
func CreateTask[T any](ctx context.Context, name string, fn func(context.Context) (T, error)) *Task[T] {
	l := loopOf(ctx)
	k := &Task[T]{fn: fn}
	k.loop = l
	if err := startable(l, fn == nil); err != nil {
		k.loop, k.state, k.err = nil, failed, err
		return k
	}
	k.owner = &k.t
	k.t = task{loop: l, fut: &k.future, body: k, name: name}
	if name == "" {
		k.t.n = taskCount.Add(1)
	}
	if l.tracing.Load() {
		k.source = creationFrames()
	}
	k.t.ctx.task = &k.t
	k.t.inherit(ctx)
	// Why through the inbox, on the loop's own goroutine too: nobody has to know
	// where this code runs, and the inbox keeps the order.
	if !l.inbox.Put(core.Item{Meta: &k.t}) {
		k.state, k.err = failed, startable(l, false)
	}
	return k
}

func startable(l *Loop, noFunc bool) error {
	switch {
	case l == nil:
		return fmt.Errorf("%w: give CreateTask a task's ctx or Loop.Context", ErrNoRunningLoop)
	case l.closed.Load():
		return closedError(l)
	case noFunc:
		return invalid("CreateTask needs a function, not nil")
	}
	return nil
}

// inherit takes ctx's values, and its end when that is its own.
func (t *task) inherit(ctx context.Context) {
	creator := taskOf(ctx)
	if c, ok := ctx.(*taskContext); ok {
		t.ctx.parent = c.parent // a chain of tasks keeps no ancestors alive
		return
	}
	t.ctx.parent = ctx
	if done := ctx.Done(); done == nil || creator != nil && !ownDone(ctx, creator) {
		return
	}
	t.unlink = context.AfterFunc(ctx, func() {
		_ = t.loop.Post(func() { t.cancel(contextError(ctx).Error()) })
	})
}

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
		t.w = l.takeWorker(t)
		t.scheduled = true
		l.core.Ready.Push(core.Item{Run: t.w.step})
	}
}

// schedule queues the next step, once.
func (t *task) schedule() {
	if !t.scheduled && t.w != nil {
		t.scheduled = true
		t.loop.soon(t.w.step)
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
		t.w.co.Start(t.w.main)
	}
	if l.debug {
		l.beat.task = t
	}
	prev := l.current.Load()
	l.current.Store(t)
	out := t.w.co.Resume()
	l.current.Store(prev)
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
	if t.w.gid == 0 {
		t.w.gid = goroutineID()
	}
	t.gid.Store(t.w.gid)
	t.thrown = nil
	t.thrown = t.body.exec()
}

func (k *Task[T]) exec() (err error) {
	k.value, err = k.fn(&k.t.ctx)
	return err
}

// complete ends the task.
func (t *task) complete(err error) {
	l := t.loop
	if t.w != nil {
		l.giveWorker(t.w)
		t.w = nil
	}
	l.tasks.remove(t)
	t.ctx.end()
	if t.unlink != nil {
		t.unlink()
	}
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
	t.body = nil
}

// endsCancelled: the body let a cancellation through, in this package's words
// or, once asked to cancel, in the context package's.
func (t *task) endsCancelled(err error) bool {
	return errors.Is(err, ErrCancelled) || t.cancelling > 0 && errors.Is(err, context.Canceled)
}

func (t *task) cancelled() error { return &CancelledError{Msg: t.cancelMsg} }

// cancel asks the task to end; see future.Cancel.
func (t *task) cancel(msg ...string) bool {
	if t.fut.state != pending {
		return false
	}
	t.cancelling++
	if len(msg) > 0 {
		t.cancelMsg = msg[0]
	} else {
		t.cancelMsg = ""
	}
	t.ctx.end()
	if t.waiting != nil && t.waiting.Cancel(msg...) {
		return true // its end wakes the task
	}
	t.mustCancel = true
	return true
}

// Cancelling is how many cancel requests are open. asyncio: cancelling.
func (k *Task[T]) Cancelling() int { return k.t.cancelling }

// Uncancel withdraws one request and returns how many are left; at 0 a
// cancellation not yet delivered is withdrawn and the ctx is usable again.
// asyncio: uncancel.
func (k *Task[T]) Uncancel() int { return k.t.uncancel() }

func (t *task) uncancel() int {
	if t.cancelling > 0 && t.fut.state == pending {
		if t.cancelling--; t.cancelling == 0 {
			t.mustCancel = false
			t.ctx.reopen()
		}
	}
	return t.cancelling
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

// SetResult is refused: only its function gives a task a result.
func (k *Task[T]) SetResult(T) error {
	return fmt.Errorf("%w: a task gets its result from its function", ErrInvalidState)
}

// SetException is refused like SetResult.
func (k *Task[T]) SetException(error) error {
	return fmt.Errorf("%w: a task gets its error from its function", ErrInvalidState)
}

// String shows name and state.
func (k *Task[T]) String() string { return k.t.String() }

func (t *task) String() string {
	state := [...]string{"pending", "finished", "failed", "cancelled"}[t.fut.state]
	switch {
	case t.fut.state == pending && t.cancelling > 0:
		state = "cancelling"
	case t.fut.state == pending && t.waiting != nil:
		state = "pending, waiting"
	}
	return fmt.Sprintf("<Task %s %s>", t.label(), state)
}

// yield gives up exactly one turn.
func (t *task) yield() error {
	if err := t.owned(); err != nil {
		return err
	}
	t.schedule()
	return t.suspend()
}

// taskList is the loop's tasks that are not done, oldest first. They are held
// strongly: a pending task that nobody refers to goes on.
type taskList struct {
	head, tail *task
	count      int
}

func (l *taskList) add(t *task) {
	if t.prev = l.tail; t.prev != nil {
		t.prev.next = t
	} else {
		l.head = t
	}
	l.tail = t
	l.count++
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
func (r TaskRef) Cancel(msg ...string) bool { return r.t.cancel(msg...) }

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
		l.CallExceptionHandler(ExceptionContext{Message: "Task was destroyed but it is pending!", Task: t.String(), Source: frames(t.fut.source), Context: t.values()})
		t.ctx.end()
		if t.unlink != nil {
			t.unlink()
		}
		if w := t.w; w != nil {
			t.w.co.Close()
			runtime.KeepAlive(w)
		}
	}
}
