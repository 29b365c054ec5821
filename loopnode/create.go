package loopnode

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/core"
)

// CreateTask runs fn as a task of ctx's loop; its first step comes in the next
// turn, never inside CreateTask, in the order of all calls and callbacks (but
// see EagerStart). fn must not block: a channel, a mutex or time.Sleep stops the
// loop with all its tasks; it waits with Await, Recv, WaitDone and Sleep, and must
// not wait after runtime.LockOSThread, which would end the process (see the
// package's documentation). The task sees the values of ctx; it is not cancelled with the
// task that created it, but it is when ctx has an end of its own
// (context.WithTimeout and the like). An empty name becomes Task-N. A task that
// cannot start is born failed, which is logged too: ErrNoRunningLoop,
// ErrLoopClosed, ErrInvalidArgument (nil function), or what the loop's TaskFactory
// says.
// A task must not wait, or end, while it has locked its thread with
// runtime.LockOSThread: that ends the process, beyond any recover; debug mode
// refuses the wait with ErrInvalidState. Run such code on an Executor.
// An error of fn that wraps a cancellation is a cancellation, also when it joins a
// failure: log that failure, or return it alone. It does not wait. Any goroutine. asyncio: loop.create_task.
func CreateTask[T any](ctx context.Context, name string, fn func(context.Context) (T, error), opts ...TaskOption) *Task[T] {
	return createTask(ctx, name, fn, nil, opts)
}

// createTask is CreateTask for a function that descriptions do not name: they name
// shown, the user's function inside it; nil: fn itself.
func createTask[T any](ctx context.Context, name string, fn func(context.Context) (T, error), shown any, opts []TaskOption) *Task[T] {
	l := loopOf(ctx)
	var k *Task[T]
	if err := startable(l, fn == nil); err != nil {
		k = refusedTask[T](name, err)
	} else {
		k = newTask(l, ctx, name, fn, shown, nil, opts)
	}
	if k.loop == nil {
		warnRefused(l, "task refused: its function will not run", k.Name(), k.err)
	}
	return k
}

// warnRefused logs what was refused at birth. Why at once: the result carries the
// error too, but many callers drop it, and without this line nothing would tell
// them that their function never runs.
func warnRefused(l *Loop, message, name string, err error) {
	log := defaultLogger()
	if l != nil {
		log = l.log
	}
	log.Warn(message, "name", name, "error", err)
}

// newTask makes the task and hands it to its loop. atEnd, which may be nil, is
// called on the loop when the task has ended or was abandoned pending.
func newTask[T any](l *Loop, ctx context.Context, name string, fn func(context.Context) (T, error), shown any, atEnd func(*Task[T]), opts []TaskOption) *Task[T] {
	k := &Task[T]{fn: fn}
	if shown != nil {
		k.showAs(shown)
	}
	k.loop, k.owner = l, &k.t
	k.t.loop, k.t.fut, k.t.body = l, &k.future, k
	start := StartDefault
	if factory := l.factory.Load(); factory != nil || len(opts) > 0 {
		spec, err := k.plan(ctx, name, factory, opts)
		if err != nil {
			return refusedTask[T](name, err)
		}
		ctx, name, start = spec.Context, spec.Name, spec.Start
	}
	k.t.name = name
	if name == "" {
		k.t.n = taskCount.Add(1)
	}
	if l.tracing.Load() {
		k.source = creationFrames()
	}
	k.t.ctx.task = &k.t
	k.t.inherit(ctx)
	if atEnd != nil {
		k.t.atEnd = func() { atEnd(k) }
	}
	if start == StartEager && l.here() {
		if k.t.beginNow(); k.state != pending {
			k.fn = nil
		}
		return k
	}
	// Why through the inbox, on the loop's own goroutine too: nobody has to know
	// where this code runs, and the inbox keeps the order.
	if !l.inbox.Put(core.Item{Meta: &k.t}) {
		k.t.release()
		return refusedTask[T](name, closedError(l))
	}
	return k
}

// refusedTask is born failed and belongs to no loop.
func refusedTask[T any](name string, err error) *Task[T] {
	k := &Task[T]{}
	k.state, k.err = failed, err
	k.t.fut, k.t.name = &k.future, name
	if name == "" {
		k.t.n = taskCount.Add(1)
	}
	return k
}

func startable(l *Loop, noFunc bool) error {
	switch {
	case l == nil:
		return fmt.Errorf("%w: the ctx belongs to no loop; give a task's ctx or Loop.Context", ErrNoRunningLoop)
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
	t.maker = creator
	ctx = withoutGenerator(ctx)
	if c, ok := ctx.(*taskContext); ok {
		t.ctx.parent = c.parent // a chain of tasks keeps no ancestors alive
		return
	}
	t.ctx.parent = ctx
	if done := ctx.Done(); done == nil || creator != nil && !ownDone(ctx, creator) {
		return
	}
	t.unlink = context.AfterFunc(ctx, func() {
		_ = t.loop.post(func() { t.cancel(contextError(ctx).Error()) })
	})
}
