package casts

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// inbound is a call without an answer of another node. Its life:
//
//	soon:   queued → runs → ended
//	later:  queued → timer → queued again → runs → ended
//
// It holds credit while it is queued the first time.
type inbound struct {
	casts   *Casts
	target  *host.Loop
	entry   *registry.Entry
	codec   wire.Codec
	payload []byte
	op      wire.Op
	when    int64
	from    string
	flow    *flows.Inflow

	// Owned by the loop goroutine once it was taken out of the queue.
	taken bool // its credit was given back
	ran   bool // the function has begun
}

// gathered are the calls of one message of the network for one loop that are not in its
// queue yet. A message has hundreds of them when much is sent, so the loop is looked
// up, the counts are taken and the queue is locked once for all. It is empty between two
// messages. Owned by the receiving goroutine.
type gathered struct {
	target *host.Loop
	entry  *registry.Entry // of the newest one
	items  []host.Item
	slab   []inbound // memory for the next ones
}

// slabSize is how many calls share one piece of memory: few enough that one that runs
// for long keeps only a little of it.
const slabSize = 32

// Serve takes a call without an answer. Queue must follow, at the latest behind the last
// frame of the message. Receiving goroutine. From Arrived on, each way out gives the
// credit back: through Refuse here, or through Begin and Drop, which the queue calls.
func (c *Casts) Serve(f *wire.Frame) {
	c.received.Add(1)
	me := c.link.Self()
	if f.Incarnation != 0 && f.Incarnation != me.Number {
		// Its credit is of another life of this node: there is no flow to refuse it in.
		c.fail(f.Function, f.From, fault.Codef(wire.DeadIncarnation, "the address means incarnation %d, the node lives as %d", f.Incarnation, me.Number))
		return
	}
	if f.Flow == 0 {
		c.fail(f.Function, f.From, fault.Codef(wire.NoCredit, "%w: it was sent without any", fault.ErrNoCredit))
		return
	}
	flow := c.inflows.Arrived(f)
	if flow == nil {
		return
	}
	b := c.next()
	*b = inbound{casts: c, codec: f.Codec, payload: f.Payload, op: f.Op, when: f.When, from: f.From, flow: flow}
	err := c.admit(b, f)
	switch {
	case err != nil:
		b.refuse(f.Function, err)
	case b.op != wire.Soon:
		c.Queue() // a timer goes behind what came before it
		b.target.Queue.Put(b)
	default:
		c.gathered.items = append(c.gathered.items, b)
	}
}

// next gives memory for a call.
func (c *Casts) next() *inbound {
	g := &c.gathered
	if len(g.slab) == 0 {
		g.slab = make([]inbound, slabSize)
	}
	b := &g.slab[0]
	g.slab = g.slab[1:]
	return b
}

// Queue gives what was gathered to its loop. Receiving goroutine.
func (c *Casts) Queue() {
	g := &c.gathered
	if len(g.items) > 0 {
		if err := c.held.enter(g.target, len(g.items)); err != nil {
			for _, item := range g.items {
				b := item.(*inbound)
				b.refuse(b.entry.Name, err)
			}
		} else {
			g.target.Queue.Put(g.items...)
		}
		clear(g.items)
		if g.items = g.items[:0]; cap(g.items) > maxGathered {
			g.items = nil
		}
	}
	g.target, g.entry = nil, nil // both may be others in the next message
}

// maxGathered is how long a slice is kept for the next message.
const maxGathered = 1024

// refuse gives the credit back of a call that was not queued.
func (b *inbound) refuse(function string, err error) {
	b.flow.Refuse(b.cost(), err)
	b.casts.fail(function, b.from, err)
}

// Deny refuses a call that its node has no right to.
func (c *Casts) Deny(f *wire.Frame, err error) {
	c.received.Add(1)
	c.failed.Add(1)
	if f.Flow == 0 {
		return
	}
	if flow := c.inflows.Arrived(f); flow != nil {
		flow.Refuse(credit.Cost(len(f.Payload)), err)
	}
}

// admit finds where b runs. A timer is counted here, the others by Queue.
func (c *Casts) admit(b *inbound, f *wire.Frame) (err error) {
	g := &c.gathered
	if h := g.target; h == nil || h.Loop.Name() != f.Path || f.Loop != 0 && f.Loop != h.Number() || g.entry.Name != f.Function || len(f.Payload) > c.limits.MaxPayload {
		h, e, err := c.loops.Admit(f, c.limits.MaxPayload)
		if err != nil {
			return err
		}
		if h != g.target {
			c.Queue()
		}
		g.target, g.entry = h, e
	}
	b.target, b.entry = g.target, g.entry
	if b.op == wire.Soon {
		return nil
	}
	return c.held.enterTimer(b.target, b.cost(), c.limits)
}

func (b *inbound) cost() uint64 { return credit.Cost(len(b.payload)) }

// Begin starts it, or its timer. Loop goroutine.
func (b *inbound) Begin(turn *host.Turn) (running bool) {
	if !b.taken {
		turn.Took(b.flow, b.cost())
		b.taken = true
	}
	if b.op != wire.Soon {
		b.target.Loop.CallLater(delay(b.op, b.when), b.fire)
		return false
	}
	if _, err := loopaccess.Of(b.target.Loop).Start(b.target.Ctx, b.entry.Name, b); err != nil {
		b.notRun(err)
		return false
	}
	return true
}

// fire begins a call for later when its time has come. Loop goroutine. Why through
// the queue: it counts as running like any other.
func (b *inbound) fire() {
	b.casts.held.fired(b.target, b.cost())
	b.op = wire.Soon
	b.target.Queue.Put(b)
}

// Run is the body of the task. It lets go of the argument's bytes, which are part of the
// message they came in: a function that waits for long must not keep that.
func (b *inbound) Run(ctx context.Context) error {
	p := b.payload
	b.payload, b.ran = nil, true
	return b.entry.Run(ctx, b.codec, p)
}

// Func is what descriptions of the task name.
func (b *inbound) Func() any { return b.entry.Func() }

// Ended is called when the task has ended. A function that has begun and failed is
// counted and, within maxReported, reported here; its caller is not told, since it asked for no answer. Loop
// goroutine.
func (b *inbound) Ended(err error) {
	b.target.Queue.Ended()
	if err != nil && !b.ran { // cancelled before its first step: the loop ends
		b.notRun(err)
		return
	}
	b.casts.held.leave(b.target)
	if err == nil {
		return
	}
	b.casts.failed.Add(1)
	if ok, more := b.casts.failures.Allow(maxReported); ok {
		report(b.target.Loop, b.entry.Name, more, err)
	}
}

// maxReported is how many failed functions are reported in a second. Why a bound: whoever
// may call a function can make it fail as often as it likes, and each report is logged.
const maxReported = 10

// notRun takes back a call that was taken out of the queue and did not run after all.
func (b *inbound) notRun(why error) {
	b.casts.held.leave(b.target)
	b.casts.failed.Add(1)
	b.flow.Unran(fault.Codef(wire.Closed, "%w: the loop was closed before the function ran: %w", fault.ErrClosed, why))
}

// Drop refuses it: its loop has ended before it began. If its credit was given back
// already, it is only counted as not run; otherwise the refusal gives the credit back.
func (b *inbound) Drop(why error) {
	err := fault.Codef(wire.Closed, "%w: %w", fault.ErrClosed, why)
	if b.taken {
		b.flow.Unran(err)
	} else {
		b.flow.Refuse(b.cost(), err)
	}
	if b.op == wire.Soon {
		b.casts.held.leave(b.target)
	} else {
		b.casts.held.dropTimer(b.target, b.cost())
	}
	b.casts.fail(b.entry.Name, b.from, err)
}

// fail counts and logs a call that does not run.
func (c *Casts) fail(function, from string, err error) {
	c.failed.Add(1)
	if ok, more := c.quiet.Allow(); ok {
		c.log.Warn("a call without an answer did not run", "function", function, "from", from, "error", err, "kept_back", more)
	}
}

// LoopEnding forgets what runs or waits for its time on a loop that ends: its tasks
// may never get that far.
func (c *Casts) LoopEnding(h *host.Loop) {
	if timers := c.held.loopEnding(h); timers > 0 {
		c.log.Info("calls for later end with their loop", "loop", h.Loop.Name(), "count", timers)
	}
}

// Refuse takes no further calls.
func (c *Casts) Refuse() { c.held.refuse() }

// Idle is closed once no call waits in a queue or runs, after Refuse. Calls for later
// that wait for their time do not count.
func (c *Casts) Idle() <-chan struct{} { return c.held.idle }

// Left says for people what a stop cuts off; "" when nothing.
func (c *Casts) Left() string {
	active, timers := c.held.count()
	switch {
	case active > 0 && timers > 0:
		return fmt.Sprintf("%d calls without an answer and %d for later", active, timers)
	case active > 0:
		return fmt.Sprintf("%d calls without an answer", active)
	case timers > 0:
		return fmt.Sprintf("%d calls for later", timers)
	}
	return ""
}
