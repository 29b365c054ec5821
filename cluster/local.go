package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// callContext is what a called function's task starts from: loop, node and the
// caller's deadline. It has no Done of its own: who enforces the deadline
// cancels the task, and a task's ctx ends with it.
type callContext struct {
	context.Context
	deadline time.Time
}

// Deadline is the caller's.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func loopContext(n *Node, loop *loopnode.Loop) context.Context {
	ctx := context.Background()
	if n != nil {
		ctx = n.Context(ctx)
	}
	return loop.Context(ctx)
}

type localReply[Out any] struct {
	out Out
	err error
}

// localCall is a call to a loop of this process.
type localCall[Out any] struct {
	loop   *loopnode.Loop
	task   *loopnode.Task[Out] // loop goroutine of loop only
	left   atomic.Bool         // the caller does not wait any more
	target string
	name   string
}

// callLocal runs f on a loop of this process, the caller's own included.
func callLocal[In, Out any](ctx context.Context, n *Node, loop *loopnode.Loop, f *Function[In, Out], in In) (out Out, err error) {
	c := &localCall[Out]{loop: loop, target: loop.Name(), name: f.name}
	if err := ctx.Err(); err != nil {
		return out, c.waitError(context.Cause(ctx))
	}
	w, err := newWaiter[localReply[Out]](ctx)
	if err != nil {
		return out, err
	}
	callee := &callContext{Context: loopContext(n, loop)}
	callee.deadline, _ = ctx.Deadline()
	begin := func() {
		if c.left.Load() {
			return
		}
		c.task = loopnode.CreateTask(callee, f.name, func(ctx context.Context) (Out, error) { return f.fn(ctx, in) })
		c.task.AddDoneCallback(func(t *loopnode.Future[Out]) {
			out, err := t.Result()
			w.deliver(localReply[Out]{out, c.failure(err)})
		})
	}
	if err := loop.Post(begin); err != nil {
		return out, fmt.Errorf("%s on %s: %w: %w", f.name, loop.Name(), ErrClosed, err)
	}
	stop := c.watchClosed(w)
	defer stop()
	r, err := w.wait(ctx)
	if err != nil {
		c.left.Store(true)
		_ = loop.Post(c.cancel) // a closed loop has no task left
		return out, c.waitError(err)
	}
	return r.out, r.err
}

func (c *localCall[Out]) cancel() {
	if c.task != nil {
		c.task.Cancel("the caller does not wait any more")
	}
}

// watchClosed ends the wait when the loop is closed: what was posted to it is
// dropped then, without a word.
func (c *localCall[Out]) watchClosed(w waiter[localReply[Out]]) (stop func()) {
	return c.loop.OnClose(func() {
		w.deliver(localReply[Out]{err: c.remote(wire.Closed, ErrClosed, "the loop was closed while waiting")})
	})
}

// failure turns what the function's task ended with into what a caller on
// another node would see; the function's own errors stay as they are.
func (c *localCall[Out]) failure(err error) error {
	var p *guard.Panic
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return c.remote(wire.Panicked, p, panicText(p.Value))
	case errors.Is(err, loopnode.ErrCancelled):
		return c.remote(wire.Cancelled, err, err.Error())
	}
	return err
}

func (c *localCall[Out]) remote(code wire.Code, sentinel error, text string) error {
	return &RemoteError{Target: c.target, Function: c.name, Message: text, code: code, sentinel: sentinel}
}

func (c *localCall[Out]) waitError(why error) error {
	if errors.Is(why, context.DeadlineExceeded) {
		return c.remote(wire.Expired, why, "no result in time")
	}
	return fmt.Errorf("call of %s on %s given up: %w", c.name, c.target, why)
}
