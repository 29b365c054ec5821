package loopnode

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

type (
	loopKey = loopaccess.LoopKey
	taskKey = loopaccess.TaskKey
)

// Running is the loop that ctx belongs to and that runs now. ErrNoRunningLoop
// otherwise. asyncio.get_running_loop.
func Running(ctx context.Context) (*Loop, error) {
	if l := loopOf(ctx); l != nil && l.running.Load() {
		return l, nil
	}
	if l := loopOf(ctx); l != nil {
		return nil, fmt.Errorf("%w: loop %s does not run now", ErrNoRunningLoop, l.Name())
	}
	return nil, fmt.Errorf("%w: the ctx belongs to no loop; give a task's ctx or Loop.Context", ErrNoRunningLoop)
}

func loopOf(ctx context.Context) *Loop {
	if ctx == nil {
		return nil
	}
	l, _ := ctx.Value(loopKey{}).(*Loop)
	return l
}

// Context is parent with this loop: what CreateTask and everything else that
// looks for its loop in the ctx needs. A nil parent is context.Background.
// Any goroutine.
func (l *Loop) Context(parent context.Context) context.Context {
	switch {
	case parent == nil:
		return l.ctx
	case loopOf(parent) == l:
		return parent
	}
	return context.WithValue(parent, loopKey{}, l)
}

// detach is loopaccess.Loop.Detach.
func (l *Loop) detach(ctx context.Context) context.Context {
	ctx = withoutTask(ctx)
	if d, ok := ctx.(*detached); ok {
		ctx = d.Context
	}
	return &detached{context.WithoutCancel(ctx), l}
}

// withoutTask is what a task's ctx was made from: what outlives the task must not
// keep it alive.
func withoutTask(ctx context.Context) context.Context {
	ctx = withoutGenerator(ctx)
	if c, ok := ctx.(*taskContext); ok {
		return c.parent
	}
	return ctx
}

type detached struct {
	context.Context
	loop *Loop
}

// Value finds the loop and the values, not the task.
func (c *detached) Value(key any) any {
	switch key.(type) {
	case loopKey:
		return c.loop
	case taskKey:
		return nil
	}
	return c.Context.Value(key)
}

// taskOf is the task ctx belongs to, nil when it belongs to none.
func taskOf(ctx context.Context) *task {
	if c, ok := ctx.(*taskContext); ok {
		return c.task
	}
	if ctx == nil {
		return nil
	}
	t, _ := ctx.Value(taskKey{}).(*taskAccess)
	return (*task)(t)
}

// values is the ctx the task was created with, on its loop. It outlives the task
// and does not refer to it.
func (t *task) values() context.Context { return t.loop.Context(t.ctx.parent) }

// taskContext is a task's ctx: it carries loop and task, and it is done when
// the task is asked to cancel or has ended. Methods: any goroutine.
type taskContext struct {
	parent context.Context // values and deadline; its Done is the task's business
	task   *task

	mu   sync.Mutex
	done chan struct{} // made when first asked for
	err  error
}

// Deadline is that of the context the task was created with.
func (c *taskContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value finds the loop, the task, and the values of the creating context.
func (c *taskContext) Value(key any) any {
	switch key.(type) {
	case taskKey:
		return (*taskAccess)(c.task)
	case loopKey:
		return c.task.loop
	}
	return c.parent.Value(key)
}

// Done is closed when the task is asked to cancel, or ends.
func (c *taskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err is context.Canceled once Done is closed.
func (c *taskContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// end closes Done.
func (c *taskContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
}

// reopen gives the task a fresh Done: its cancellation was withdrawn. Contexts
// derived before stay cancelled.
func (c *taskContext) reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.err, c.done = nil, nil
	}
}

// scopeContext adds a deadline to a task's ctx without a Done of its own: who
// enforces the deadline cancels the task.
type scopeContext struct {
	context.Context
	deadline atomic.Pointer[time.Time] // nil: none
	key, val any
}

func (c *scopeContext) Deadline() (time.Time, bool) {
	d, ok := c.Context.Deadline()
	if own := c.deadline.Load(); own != nil && (!ok || own.Before(d)) {
		return *own, true
	}
	return d, ok
}

func (c *scopeContext) Value(key any) any {
	if key == c.key {
		return c.val
	}
	return c.Context.Value(key)
}

// ownDone reports whether ctx ends by itself and not only with its task t.
func ownDone(ctx context.Context, t *task) bool {
	for {
		switch c := ctx.(type) {
		case *taskContext:
			return c.task != t
		case *scopeContext:
			ctx = c.Context
			continue
		case *generatorContext:
			ctx = c.now()
			continue
		}
		done := ctx.Done()
		if done == nil || done == t.ctx.Done() {
			return false
		}
		if ctx = t.contextOf(done); ctx == nil {
			return true
		}
	}
}
