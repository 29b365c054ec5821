package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// callKey names a call of another node.
type callKey struct {
	from   string
	number uint64
	id     uint64
}

// inboundCall is a call of another node that runs here, or waits to. Whoever
// takes it out of the table, and only that one, answers it.
type inboundCall struct {
	node     *Node
	key      callKey
	home     *hosted
	entry    *entry
	codec    wire.Codec
	payload  []byte
	deadline time.Time // zero: none

	// Owned by the loop goroutine.
	task      *loopnode.Task[outcome]
	alarm     func() // cancels the deadline's timer
	overdue   bool
	withdrawn bool // cancelled before it began
}

// admit finds loop and function of a frame, or says in a coded error why not.
func (n *Node) admit(f *wire.Frame) (*hosted, *entry, error) {
	if f.Incarnation != 0 && f.Incarnation != n.number {
		return nil, nil, codef(wire.DeadIncarnation, "the address means incarnation %d, the node lives as %d", f.Incarnation, n.number)
	}
	h := n.loops.find(f.Path)
	if h == nil {
		return nil, nil, codef(wire.UnknownLoop, "node %s has no loop %q", n.name, f.Path)
	}
	e := registry.find(f.Function)
	if e == nil {
		return nil, nil, codef(wire.UnknownFunction, "the program of node %s registers no function %q", n.name, f.Function)
	}
	if len(f.Payload) > n.cfg.MaxPayload {
		return nil, nil, codef(wire.TooLarge, "%d bytes of arguments, the limit is %d", len(f.Payload), n.cfg.MaxPayload)
	}
	return h, e, nil
}

// serveCall starts a call of another node. Receiving goroutine.
func (n *Node) serveCall(f *wire.Frame) {
	c := &inboundCall{node: n, key: callKey{f.From, f.FromNumber, f.ID}, codec: f.Codec, payload: f.Payload}
	if f.Remaining > 0 {
		c.deadline = time.Now().Add(f.Remaining)
	}
	var err error
	if c.home, c.entry, err = n.admit(f); err != nil {
		c.answerError(err)
		return
	}
	known, err := n.inbound.add(c)
	switch {
	case known:
		return
	case err != nil:
		c.answerError(err)
		return
	}
	if err := c.home.loop.Post(c.begin); err != nil {
		c.refuse(codef(wire.Closed, "%w: %w", ErrClosed, err))
	}
}

// begin starts the task. Loop goroutine.
func (c *inboundCall) begin() {
	if c.withdrawn {
		c.refuse(codef(wire.Cancelled, "%w before it began", ErrCancelled))
		return
	}
	left := time.Duration(0)
	if !c.deadline.IsZero() {
		if left = time.Until(c.deadline); left <= 0 {
			c.node.stats.expired.Add(1)
			c.refuse(codef(wire.Expired, "%w before the loop had time for it", ErrExpired))
			return
		}
	}
	c.task = loopnode.CreateTask(&callContext{c.home.ctx, c.deadline}, c.entry.name, c.run)
	c.task.AddDoneCallback(c.finish)
	if left > 0 {
		c.alarm = c.home.loop.After(left, func() {
			c.overdue = true
			c.task.Cancel("the caller's deadline passed")
		})
	}
}

// run is the body of the task.
func (c *inboundCall) run(ctx context.Context) (outcome, error) {
	return c.entry.serve(ctx, c.codec, c.payload)
}

// cancel asks the task to end, or not to begin. Any goroutine.
func (c *inboundCall) cancel(why string) {
	_ = c.home.loop.Post(func() { // a closed loop has no task left
		if c.task == nil {
			c.withdrawn = true
			return
		}
		c.task.Cancel(why)
	})
}

// finish answers with what the task ended in. Loop goroutine.
func (c *inboundCall) finish(t *loopnode.Future[outcome]) {
	if c.alarm != nil {
		c.alarm()
	}
	out, err := t.Result()
	switch {
	case err != nil && c.overdue:
		c.node.stats.expired.Add(1)
		err = codef(wire.Expired, "%w while the function ran", ErrExpired)
	case err == nil && len(out.payload) > c.node.cfg.MaxPayload:
		err = codef(wire.TooLarge, "the result has %d bytes, the limit is %d", len(out.payload), c.node.cfg.MaxPayload)
	}
	if !c.node.inbound.take(c.key) {
		return
	}
	defer c.node.inbound.sent()
	c.node.stats.served.Add(1)
	if err != nil {
		c.reply(errorFrame(err))
		return
	}
	c.reply(&wire.Frame{Kind: wire.Result, Codec: out.codec, Payload: out.payload})
}

// refuse ends a call that does not run to its end.
func (c *inboundCall) refuse(err error) {
	if c.node.inbound.take(c.key) {
		defer c.node.inbound.sent()
		c.answerError(err)
	}
}

func (c *inboundCall) answerError(err error) {
	c.node.stats.refused.Add(1)
	c.reply(errorFrame(err))
}

func (c *inboundCall) reply(f *wire.Frame) {
	f.ID = c.key.id
	c.node.answer(c.node.subjects.of(c.key.from), f)
}

func errorFrame(err error) *wire.Frame {
	f := &wire.Frame{Kind: wire.Error}
	describe(f, err)
	return f
}

// here finds the loop of an address on this node.
func (n *Node) here(addr actors.Address) (*hosted, error) {
	if addr.Incarnation != 0 && addr.Incarnation != n.number {
		return nil, fmt.Errorf("%s: %w: the node lives as incarnation %d now", addr, ErrDeadIncarnation, n.number)
	}
	h := n.loops.find(addr.Path)
	if h == nil {
		return nil, fmt.Errorf("%s: %w", addr, ErrUnknownLoop)
	}
	return h, nil
}
