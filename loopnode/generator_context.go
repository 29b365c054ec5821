package loopnode

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// generatorContext is the ctx of a generator's body. It has the values, the task
// and the deadline of the ctx that the Next in progress was called with, or the
// last one between two. Methods: any goroutine.
//
// Its Done is its own. It is closed when the calling task is asked to cancel, or
// the ctx given to Next ends, while the body runs or waits; not when a caller's ctx
// ends after its Next has returned. So a ctx that the body derives from it outlives
// the time limits, and the tasks, of single calls. As that of a task (see
// taskContext.reopen) it is open again once the cancellation was withdrawn, or at
// the next Next.
type generatorContext struct {
	caller atomic.Pointer[context.Context] // never nil once the body runs

	mu   sync.Mutex
	call uint64 // counts the calls of Next and Close
	own  bool   // a call is under way, and its ctx has an end of its own
	done chan struct{}
	err  error
}

// enter makes ctx, of task t, the caller's. leave ends that.
func (c *generatorContext) enter(ctx context.Context, t *task) (leave func()) {
	if last := c.caller.Load(); last == nil || !sameContext(*last, ctx) {
		c.caller.Store(&ctx)
	}
	c.mu.Lock()
	c.call++
	call := c.call
	c.mu.Unlock()
	if ctx.Err() == nil {
		c.reopen()
	} else {
		c.end()
	}
	if !ownDone(ctx, t) {
		return func() {}
	}
	c.setOwn(true)
	stop := context.AfterFunc(ctx, func() { c.endCall(call) })
	return func() {
		stop()
		c.setOwn(false)
	}
}

func (c *generatorContext) setOwn(own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = own
}

// sameContext compares the kinds that can be compared for certain.
func sameContext(a, b context.Context) bool {
	switch a := a.(type) {
	case *taskContext:
		b, is := b.(*taskContext)
		return is && a == b
	case *generatorContext:
		b, is := b.(*generatorContext)
		return is && a == b
	}
	return false
}

// now is the caller's ctx.
func (c *generatorContext) now() context.Context { return *c.caller.Load() }

// withoutGenerator is the caller's ctx for that of a generator's body: what
// outlives the call must not keep the generator alive, or see the values of later
// calls.
func withoutGenerator(ctx context.Context) context.Context {
	for {
		c, is := ctx.(*generatorContext)
		if !is {
			return ctx
		}
		ctx = c.now()
	}
}

func (c *generatorContext) endCall(call uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call == call && c.own {
		c.endLocked()
	}
}

func (c *generatorContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked()
}

func (c *generatorContext) endLocked() {
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
}

func (c *generatorContext) reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.err, c.done = nil, nil
	}
}

// Deadline is that of the caller's ctx.
func (c *generatorContext) Deadline() (time.Time, bool) { return c.now().Deadline() }

// Value is that of the caller's ctx.
func (c *generatorContext) Value(key any) any { return c.now().Value(key) }

// Done is closed when the caller is asked to cancel.
func (c *generatorContext) Done() <-chan struct{} {
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

// Err is context.Canceled once Done is closed. Why it looks at the caller's ctx:
// that may have ended a moment ago, so that Done is about to be closed.
func (c *generatorContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own && c.now().Err() != nil {
		c.endLocked()
	}
	return c.err
}

// endContexts closes Done of the task's ctx and of those of the generators it is
// in.
func (t *task) endContexts() {
	t.ctx.end()
	for g := t.gen; g != nil; g = g.outer {
		g.ctx.end()
	}
}

// reopenContexts is the opposite, after the cancellation was withdrawn.
func (t *task) reopenContexts() {
	t.ctx.reopen()
	for g := t.gen; g != nil; g = g.outer {
		g.ctx.reopen()
	}
}

// contextOf is the ctx that a generator of t was entered with whose Done this is,
// nil when it is none of them.
func (t *task) contextOf(done <-chan struct{}) context.Context {
	for g := t.gen; g != nil; g = g.outer {
		if g.ctx.Done() == done {
			return g.ctx.now()
		}
	}
	return nil
}
