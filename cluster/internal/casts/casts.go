// Package casts is the life of a call without an answer (CallSoon, CallLater,
// CallAt): out of this node and into it.
//
// Out: the frame waits for credit of its flow (package flows), then travels in the
// outbox of its node. In: it waits in the queue of its loop (host.Queue) and gives
// its credit back when the loop begins it. A timer gives its credit back when the
// loop has set it; from then on it counts against Limits.Timers alone.
//
// A call that does not run here is refused through its flow, so that its sender counts
// it and learns the reason.
package casts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
	kind "github.com/loopmesh/loopmesh/loopnode/report"
)

// Members is what casts need to know of the nodes of the cluster.
type Members interface {
	// Number is the incarnation a member lives as; false when it is no member.
	Number(node string) (uint64, bool)
	// NoMember says for people why a node is no member.
	NoMember(node string) string
}

// Limits of what others can make this node hold.
type Limits struct {
	MaxPayload int    // bytes of arguments
	Timers     int    // calls for later that have not begun
	TimerBytes uint64 // what they cost together
}

// Casts sends and serves calls without an answer. Any goroutine.
type Casts struct {
	link     *link.Link
	members  Members
	loops    *host.Table
	out      *flows.Out
	inflows  *flows.In
	limits   Limits
	log      hclog.Logger
	quiet    ratelog.Line
	held     held
	failures ratelog.Burst // of functions

	gathered gathered

	sent, received, failed atomic.Uint64
}

// Counters are what Casts has counted.
type Counters struct {
	Out, In, Failed uint64
	Active          int // wait in a queue or run
	Timers          int // wait for their time
}

// New makes Casts without any call.
func New(l *link.Link, m Members, loops *host.Table, out *flows.Out, in *flows.In, limits Limits, log hclog.Logger) *Casts {
	c := &Casts{link: l, members: m, loops: loops, out: out, inflows: in, limits: limits, log: log}
	c.held.init()
	return c
}

// Counters reads what was counted.
func (c *Casts) Counters() Counters {
	active, timers := c.held.count()
	return Counters{Out: c.sent.Load(), In: c.received.Load(), Failed: c.failed.Load(), Active: active, Timers: timers}
}

// Send sends a call without an answer when its flow has credit. mayWait: it waits
// for credit until ctx ends. A call that is known not to run is an error, see Address.
func (c *Casts) Send(ctx context.Context, addr actors.Address, f *wire.Frame, mayWait bool) error {
	number, err := c.Address(addr, f)
	if err != nil {
		return err
	}
	if mayWait {
		err = c.out.Send(ctx, number, addr.Node, f)
	} else {
		err = c.out.TrySend(number, addr.Node, f)
	}
	if err == nil {
		c.sent.Add(1)
	}
	return err
}

// Address fills in the addresses of a frame that nobody answers, or says why it could
// not be delivered. number is the incarnation of the node that it goes to.
func (c *Casts) Address(addr actors.Address, f *wire.Frame) (number uint64, err error) {
	fail := func(kind error, text string) error { return fault.New(addr.Node+"/"+addr.Path, f.Function, kind, text) }
	number, known := c.members.Number(addr.Node)
	switch {
	case c.link.Closing():
		return 0, fail(fault.ErrClosed, "this node has been closed")
	case c.link.Offline():
		return 0, fail(fault.ErrDisconnected, "nothing was sent")
	case !known && !answersKnownLife(addr):
		return 0, fail(fault.ErrUnknownNode, c.members.NoMember(addr.Node))
	case addr.Incarnation != 0 && addr.Incarnation < number:
		return 0, fail(fault.ErrDeadIncarnation, fmt.Sprintf("the node lives as incarnation %d now", number))
	case len(f.Payload) > c.limits.MaxPayload:
		return 0, fail(fault.ErrTooLarge, fmt.Sprintf("%d bytes, the limit is %d (Config.MaxPayload)", len(f.Payload), c.limits.MaxPayload))
	}
	me := c.link.Self()
	number = max(number, addr.Incarnation) // whoever gave the address away may have heard of a later life first
	f.From, f.FromNumber, f.Incarnation, f.Loop, f.Path = me.Name, me.Number, number, addr.Loop, addr.Path
	if err := f.Check(c.limits.MaxPayload); err != nil {
		return 0, fail(fault.ErrTooLarge, err.Error())
	}
	return number, nil
}

// answersKnownLife reports whether addr is where one incarnation of a node waits for an
// answer. The question proves that this incarnation is there; it may have come before
// membership knew of the node.
func answersKnownLife(addr actors.Address) bool {
	return addr.Incarnation != 0 && strings.HasPrefix(addr.Path, "$reply/")
}

// Run runs the function as a task nobody waits for. Loop goroutine.
func Run(ctx context.Context, loop *loopnode.Loop, name string, run func(context.Context) (struct{}, error)) {
	task := loopnode.CreateTask(ctx, name, run)
	task.AddDoneCallback(func(t *loopnode.Future[struct{}]) {
		if _, err := t.Result(); err != nil {
			report(loop, name, 0, err)
		}
	})
}

// report tells the loop's exception handler how a function ended that nobody waits for,
// and how many failures were not reported before. That it was cancelled is no news.
func report(loop *loopnode.Loop, name string, kept int64, err error) {
	if errors.Is(err, loopnode.ErrCancelled) {
		return
	}
	text := "Exception in function " + name + " called without waiting for it"
	if kept > 0 {
		text += fmt.Sprintf(" (%d failures before it were not reported)", kept)
	}
	loop.CallExceptionHandler(loopnode.ExceptionContext{Kind: kind.Task, Message: text, Exception: err})
}

// Schedule is Send for a loop of this process: it posts start, now, later or at a
// wall time.
func Schedule(loop *loopnode.Loop, op wire.Op, when int64, start func()) error {
	post := start
	if op != wire.Soon {
		post = func() { loop.CallLater(delay(op, when), start) }
	}
	if err := loop.Ref().CallSoonThreadsafe(post); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrClosed, err)
	}
	return nil
}

// delay is how long a call for later waits from now.
func delay(op wire.Op, when int64) time.Duration {
	if op == wire.At {
		return time.Until(time.Unix(0, when))
	}
	return time.Duration(when)
}
