// Package casts is the life of a call without an answer (CallSoon, CallLater,
// CallAt): out of this node and into it.
package casts

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Members is what casts need to know of the nodes of the cluster.
type Members interface {
	// Number is the incarnation a member lives as; false when it is no member.
	Number(node string) (uint64, bool)
}

// Casts sends and serves calls without an answer. Any goroutine.
type Casts struct {
	link       *link.Link
	members    Members
	loops      *host.Table
	incoming   *calls.Incoming
	maxPayload int
	log        hclog.Logger
	quiet      ratelog.Line

	out, in, failed atomic.Uint64
}

// Counters are what Casts has counted.
type Counters struct{ Out, In, Failed uint64 }

// New makes the room.
func New(l *link.Link, m Members, loops *host.Table, incoming *calls.Incoming, maxPayload int, log hclog.Logger) *Casts {
	return &Casts{link: l, members: m, loops: loops, incoming: incoming, maxPayload: maxPayload, log: log}
}

// Counters reads what was counted.
func (c *Casts) Counters() Counters {
	return Counters{Out: c.out.Load(), In: c.in.Load(), Failed: c.failed.Load()}
}

// Send sends a call without an answer. What is known to be in vain is an error.
func (c *Casts) Send(addr actors.Address, f *wire.Frame) error {
	if err := c.Address(addr, f); err != nil {
		return err
	}
	if err := c.link.Post(addr.Node, f); err != nil {
		return fmt.Errorf("%s/%s: %w", addr.Node, addr.Path, err)
	}
	c.out.Add(1)
	return nil
}

// Address completes a frame that nobody answers, or says why it would be in vain.
func (c *Casts) Address(addr actors.Address, f *wire.Frame) error {
	fail := func(kind error, text string) error { return fault.New(addr.Node+"/"+addr.Path, f.Function, kind, text) }
	number, known := c.members.Number(addr.Node)
	switch {
	case c.link.Closing():
		return fail(fault.ErrClosed, "this node has been closed")
	case c.link.Offline():
		return fail(fault.ErrDisconnected, "nothing was sent")
	case !known:
		return fail(fault.ErrUnknownNode, "it is not a member of the cluster")
	case addr.Incarnation != 0 && addr.Incarnation != number:
		return fail(fault.ErrDeadIncarnation, fmt.Sprintf("the node lives as incarnation %d now", number))
	case len(f.Payload) > c.maxPayload:
		return fail(fault.ErrTooLarge, fmt.Sprintf("%d bytes, the limit is %d (Config.MaxPayload)", len(f.Payload), c.maxPayload))
	}
	me := c.link.Self()
	f.ID, f.From, f.FromNumber, f.Incarnation, f.Path = c.link.NextID(), me.Name, me.Number, addr.Incarnation, addr.Path
	if err := f.Check(c.maxPayload); err != nil {
		return fail(fault.ErrTooLarge, err.Error())
	}
	return nil
}

// Serve starts a call without an answer. Receiving goroutine.
func (c *Casts) Serve(f *wire.Frame) {
	c.in.Add(1)
	h, e, err := c.loops.Admit(f, c.maxPayload)
	if err == nil && !c.incoming.Enter(h) {
		err = fault.Codef(wire.Busy, "%w: too many calls are unfinished", fault.ErrBusy)
	}
	if err != nil {
		c.fail(f.Function, f.From, err)
		return
	}
	codec, payload, op, when := f.Codec, f.Payload, f.Op, f.When
	run := func(ctx context.Context) (struct{}, error) {
		_, err := e.Serve(ctx, codec, payload)
		return struct{}{}, err
	}
	ended := func(err error) { c.ended(h, err) }
	start := func() { Run(&calls.Context{Context: h.Ctx}, h.Loop, e.Name, run, ended) }
	if err := Schedule(h.Loop, op, when, start); err != nil {
		c.incoming.Leave(h)
		c.fail(f.Function, f.From, err)
	}
}

func (c *Casts) ended(h *host.Loop, err error) {
	c.incoming.Leave(h)
	if err != nil {
		c.failed.Add(1)
	}
}

func (c *Casts) fail(function, from string, err error) {
	c.failed.Add(1)
	if ok, more := c.quiet.Allow(); ok {
		c.log.Warn("a call without an answer did not run", "function", function, "from", from, "error", err, "kept_back", more)
	}
}

// Schedule posts start to the loop, now, later or at a wall time.
func Schedule(loop *loopnode.Loop, op wire.Op, when int64, start func()) error {
	post := start
	switch op {
	case wire.Later:
		post = func() { loop.CallLater(time.Duration(when), start) }
	case wire.At:
		post = func() { loop.CallLater(time.Until(time.Unix(0, when)), start) }
	}
	if err := loop.Post(post); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrClosed, err)
	}
	return nil
}

// Run runs the function as a task nobody waits for. Loop goroutine. ended may be
// nil.
func Run(ctx context.Context, loop *loopnode.Loop, name string, run func(context.Context) (struct{}, error), ended func(error)) {
	task := loopnode.CreateTask(ctx, name, run)
	task.AddDoneCallback(func(t *loopnode.Future[struct{}]) {
		_, err := t.Result()
		if err != nil && !errors.Is(err, loopnode.ErrCancelled) {
			loop.CallExceptionHandler(loopnode.ExceptionContext{
				Message: "Exception in function " + name + " called without waiting for it", Exception: err,
			})
		}
		if ended != nil {
			ended(err)
		}
	})
}
