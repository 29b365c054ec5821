package calls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A call whose loop is in this process. It sends nothing and encodes nothing, but
// ends like any other: by its result, its deadline, its ctx, or the end of the loop,
// and with the errors that a caller elsewhere would see. Whoever moves a loop to
// another node need not change who calls it.

// Context is what a called function's task starts from: loop, node and the
// caller's deadline. It has no Done of its own: who enforces the deadline
// cancels the task, and a task's ctx ends with it.
type Context struct {
	context.Context
	At   time.Time // the caller's deadline; zero: none
	From link.Peer // the caller's node; zero: nobody waits for the answer
}

// Deadline is the caller's.
func (c *Context) Deadline() (time.Time, bool) { return c.At, !c.At.IsZero() }

// callerKey is under which a Context gives itself.
type callerKey struct{}

// Value gives the Context itself to Caller, and everything else as it was.
func (c *Context) Value(key any) any {
	if key == (callerKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Caller is the node that waits for what the function with this ctx returns: this very one
// for a call by its own program. false: nobody waits, as with CallSoon.
func Caller(ctx context.Context) (link.Peer, bool) {
	c, ok := ctx.Value(callerKey{}).(*Context)
	if !ok {
		return link.Peer{}, false
	}
	return c.From, c.From != link.Peer{}
}

type result[Out any] struct {
	out     Out
	err     error
	expired bool // nobody has ended it: the task may still run
}

// local is a call to a loop of this process.
type local[Out any] struct {
	loop  *loopnode.Loop
	task  *loopnode.Task[Out] // loop goroutine of loop only
	left  atomic.Bool         // the caller does not wait any more
	begun atomic.Bool         // the function has
	node  string              // of the loop; "" where its address names none
	name  string
}

// Callee is what runs and where.
type Callee struct {
	Base  context.Context // what the function's ctx starts from
	Loop  *loopnode.Loop  // of this process, the caller's own included
	Node  string          // of the loop, for errors; "" where its address names none
	From  link.Peer       // this node; zero where there is none
	Name  string          // of the function
	Limit time.Duration   // of a call whose ctx has no deadline

	Traces *traces.Tracer
}

// Local runs fn on a loop of this process and waits for its result. It keeps the
// promises of a call to another node: it ends by ctx's deadline or after Limit, and
// what does not wait any more cancels the task.
func Local[Out any](ctx context.Context, to Callee, fn func(context.Context) (Out, error)) (out Out, err error) {
	if to.Traces.On() && !strings.HasPrefix(to.Name, adminPrefix) {
		text, end := to.Traces.Call(ctx, to.Name, to.Loop.Name())
		defer func() { end(err) }()
		fn = traced(to, text, fn)
	}
	c := &local[Out]{loop: to.Loop, node: to.Node, name: to.Name}
	if err := ctx.Err(); err != nil {
		return out, c.waitError(context.Cause(ctx))
	}
	w, err := wait.New[result[Out]](ctx)
	if err != nil {
		return out, err
	}
	callee := &Context{Context: to.Base, From: to.From}
	var limited bool
	if callee.At, limited = ctx.Deadline(); !limited {
		callee.At = time.Now().Add(to.Limit)
		alarm := time.AfterFunc(to.Limit, func() { w.Deliver(result[Out]{err: c.waitError(context.DeadlineExceeded), expired: true}) })
		defer alarm.Stop()
	}
	if err := to.Loop.Ref().CallSoonThreadsafe(func() { c.begin(callee, fn, w) }); err != nil {
		return out, fault.Wrap(c.target(), to.Name, fault.ErrLeaving, err, err.Error())
	}
	stop := c.watchClosed(w)
	defer stop()
	r, err := w.Wait(ctx)
	if err != nil || r.expired {
		c.left.Store(true)
		_ = to.Loop.Ref().CallSoonThreadsafe(c.cancel) // a closed loop has no task left
	}
	if err != nil {
		return out, c.waitError(err)
	}
	return r.out, r.err
}

// A call within the process makes the two spans of a call to another node: whoever moves
// a loop elsewhere sees the same trace, with the network in it.

// traced is fn with a span of its own, below the caller's.
func traced[Out any](to Callee, text string, fn func(context.Context) (Out, error)) func(context.Context) (Out, error) {
	came := time.Now()
	return func(ctx context.Context) (out Out, err error) {
		ctx, end := to.Traces.Run(ctx, text, to.Name, to.Loop.Name(), trace.SpanKindServer, came)
		defer func() { end(err) }()
		err = traces.ErrUnfinished
		out, err = fn(ctx)
		return out, err
	}
}

// begin starts the task. Loop goroutine.
func (c *local[Out]) begin(callee context.Context, fn func(context.Context) (Out, error), w wait.Waiter[result[Out]]) {
	if c.left.Load() {
		return
	}
	c.task = loopnode.CreateTask(callee, c.name, func(ctx context.Context) (Out, error) {
		c.begun.Store(true)
		return fn(ctx)
	})
	c.task.AddDoneCallback(func(t *loopnode.Future[Out]) {
		out, err := t.Result()
		w.Deliver(result[Out]{out: out, err: c.failure(err)})
	})
}

// cancel ends the task, if it has begun. Loop goroutine.
func (c *local[Out]) cancel() {
	if c.task != nil {
		c.task.Cancel("the caller does not wait any more")
	}
}

// watchClosed ends the wait when the loop is closed: what was posted to it is dropped
// then, and nothing else would end the call of a ctx without a deadline before its
// limit.
func (c *local[Out]) watchClosed(w wait.Waiter[result[Out]]) (stop func()) {
	return c.loop.OnClose(func() {
		kind, text := fault.ErrClosed, "the loop was closed while the function ran"
		if !c.begun.Load() { // nor does it any more
			kind, text = fault.ErrLeaving, "the loop was closed before it began the call"
		}
		w.Deliver(result[Out]{err: c.remote(kind, kind, text)})
	})
}

// failure turns what the function's task ended with into what a caller on
// another node would see; the function's own errors stay as they are.
func (c *local[Out]) failure(err error) error {
	var p *guard.Panic
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return c.remote(fault.ErrPanic, p, fault.PanicText(p.Value))
	case errors.Is(err, loopnode.ErrCancelled):
		return c.remote(fault.ErrCancelled, err, err.Error())
	}
	return err
}

// target is node/loop, as a caller on another node reads it.
func (c *local[Out]) target() string {
	if c.node == "" {
		return c.loop.Name()
	}
	return c.node + "/" + c.loop.Name()
}

func (c *local[Out]) remote(kind, cause error, text string) error {
	return fault.Wrap(c.target(), c.name, kind, cause, text)
}

// waitError is why the caller stopped waiting.
func (c *local[Out]) waitError(why error) error {
	if errors.Is(why, context.DeadlineExceeded) {
		return c.remote(fault.ErrExpired, why, "no result in time")
	}
	return fmt.Errorf("call of %s on %s given up: %w", c.name, c.target(), why)
}
