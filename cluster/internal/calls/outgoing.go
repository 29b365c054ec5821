// Package calls is the life of a call that is answered: out of this node
// (Outgoing), into it (Incoming), and within the process (Local).
package calls

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Members is what calls need to know of the nodes of the cluster.
type Members interface {
	// Number is the incarnation a member lives as; false when it is no member.
	Number(node string) (uint64, bool)
	// LastHeard says for people when a node was last heard of.
	LastHeard(node string) string
	// Absent is told that NATS found nobody under a node's name.
	Absent(node string)
}

// Limits of this node's calls.
type Limits struct {
	MaxPayload int           // bytes of arguments and results
	Timeout    time.Duration // of calls whose ctx has no deadline
}

// Outgoing are the calls of this node that wait for their answers. Any goroutine.
type Outgoing struct {
	link    *link.Link
	members Members
	limits  Limits
	table   table
	given   givenUp

	calls, failed, late atomic.Uint64
}

// OutgoingCounters are what Outgoing has counted.
type OutgoingCounters struct {
	Calls, Failed, Late uint64
	Waiting             int
}

// NewOutgoing makes an empty table.
func NewOutgoing(l *link.Link, m Members, limits Limits) *Outgoing {
	o := &Outgoing{link: l, members: m, limits: limits}
	o.table.init(l)
	o.given.init()
	return o
}

// Counters reads what was counted.
func (o *Outgoing) Counters() OutgoingCounters {
	return OutgoingCounters{Calls: o.calls.Load(), Failed: o.failed.Load(), Late: o.late.Load(), Waiting: o.table.count()}
}

// Reply is a good answer.
type Reply struct {
	Codec   wire.Codec
	Payload []byte
}

// Request sends f to addr and waits for the answer, in a task or a goroutine.
// It ends by ctx's deadline, or after Limits.Timeout when there is none.
func (o *Outgoing) Request(ctx context.Context, addr actors.Address, f *wire.Frame) (Reply, error) {
	o.calls.Add(1)
	r, err := o.request(ctx, addr, f)
	if err != nil {
		o.failed.Add(1)
	}
	return r, err
}

func (o *Outgoing) request(ctx context.Context, addr actors.Address, f *wire.Frame) (Reply, error) {
	p := &pending{node: addr.Node, number: addr.Incarnation, target: addr.Node + "/" + addr.Path, function: f.Function}
	if err := o.prepare(ctx, p, f); err != nil {
		return Reply{}, err
	}
	var err error
	if p.waiter, err = wait.New[answer](ctx); err != nil {
		return Reply{}, err
	}
	if err := o.table.add(p); err != nil {
		return Reply{}, err
	}
	me := o.link.Self()
	f.ID, f.From, f.FromNumber, f.Incarnation, f.Path = p.id, me.Name, me.Number, addr.Incarnation, addr.Path
	if err := o.link.SendFor(addr.Node, p.token, f); err != nil {
		o.table.take(p.id)
		return Reply{}, fmt.Errorf("%s: %w", p.target, err)
	}
	o.table.sent(p)
	a, err := p.waiter.Wait(ctx)
	if err != nil {
		return Reply{}, o.giveUp(p, err)
	}
	return a.Reply, a.err
}

// prepare checks what can be known before anything is sent, and turns the
// deadline into the time that remains: clocks of two machines differ.
func (o *Outgoing) prepare(ctx context.Context, p *pending, f *wire.Frame) error {
	if err := ctx.Err(); err != nil {
		return o.waitError(p, context.Cause(ctx))
	}
	if !wire.ValidName(p.node) {
		return p.failure(fault.ErrUnknownNode, fmt.Sprintf("%q cannot be the name of a node", p.node))
	}
	if len(f.Payload) > o.limits.MaxPayload {
		return p.failure(fault.ErrTooLarge, fmt.Sprintf("%d bytes, the limit is %d (Config.MaxPayload)", len(f.Payload), o.limits.MaxPayload))
	}
	if err := f.Check(o.limits.MaxPayload); err != nil {
		return p.failure(fault.ErrTooLarge, err.Error())
	}
	if o.link.Offline() {
		return p.failure(fault.ErrDisconnected, "nothing was sent")
	}
	if p.number == 0 {
		p.number, _ = o.members.Number(p.node)
	}
	now := time.Now()
	at, ok := ctx.Deadline()
	if !ok {
		at = now.Add(o.limits.Timeout)
	}
	p.begun, p.deadline, f.Remaining = now, at, at.Sub(now)
	if f.Remaining <= 0 {
		return o.waitError(p, context.DeadlineExceeded)
	}
	return nil
}

// giveUp ends a request whose caller does not wait any more, and tells the
// other side so that it stops working.
func (o *Outgoing) giveUp(p *pending, why error) error {
	if o.table.take(p.id) != nil {
		me := o.link.Self()
		o.link.Answer(p.node, &wire.Frame{Kind: wire.Cancel, ID: p.id, From: me.Name, FromNumber: me.Number})
	}
	return o.waitError(p, why)
}

// waitError says why the caller stopped waiting. A cancellation passes through
// as it is, because tasks and callers look for it.
func (o *Outgoing) waitError(p *pending, why error) error {
	if !errors.Is(why, context.DeadlineExceeded) {
		return fmt.Errorf("call of %s given up: %w", p.target, why)
	}
	text := fmt.Sprintf("no answer in time; %s", o.members.LastHeard(p.node))
	if errors.Is(why, loopnode.ErrTimeout) {
		return fmt.Errorf("%w: %w", p.failure(fault.ErrExpired, text), why)
	}
	return p.failure(fault.ErrExpired, text)
}

// Answered completes the call that a Result or Error frame answers, if it comes from
// the node that was asked.
func (o *Outgoing) Answered(f *wire.Frame, from string) {
	p := o.table.takeFrom(f.ID, from)
	switch {
	case p == nil:
		o.late.Add(1)
	case f.Kind == wire.Error:
		p.done(answer{err: fault.FromFrame(p.target, p.function, f)})
	default:
		p.done(answer{Reply: Reply{f.Codec, f.Payload}})
	}
}

// Unreachable ends a call that NATS could deliver to nobody: nothing ran.
func (o *Outgoing) Unreachable(token string) {
	p := o.table.takeToken(token)
	if p == nil {
		return
	}
	p.done(answer{err: p.failure(fault.ErrUnknownNode, "nobody listens under that name")})
	o.members.Absent(p.node)
}

// Denied ends the calls to a node to which the NATS server lets this node send
// nothing. NATS says so behind a publish that went well.
func (o *Outgoing) Denied(node string) {
	denied, _ := o.table.takeWhere(func(p *pending) bool { return p.node == node })
	for _, p := range denied {
		p.done(answer{err: p.failure(fault.ErrRefused, "the NATS server does not let this node send to that one; check its keys")})
	}
}

// NodeDown ends what waits for an incarnation of a node. mayReturn: it was not
// told to end, so it may be back, and its tasks for these calls still run then.
func (o *Outgoing) NodeDown(node string, number uint64, why string, mayReturn bool) {
	newest := o.failWhere(why, func(p *pending) bool { return p.node == node && (p.number == 0 || p.number == number) })
	if mayReturn {
		o.given.note(node, number, newest)
	}
}

// Mark notes which calls were published before a question to the node that
// follows now, and gives the question a number.
func (o *Outgoing) Mark(node string) uint64 { return o.table.mark(node) }

// Stranger ends what was published before a question that found nobody, to a
// node that is no member. Why: NATS answers in order. Had it known at that time
// that nobody is there, it would have said so about the call first; so it
// delivered to a connection that was closed already.
func (o *Outgoing) Stranger(node string, question uint64) {
	o.failWhere("nobody listens under its name", func(p *pending) bool {
		return p.node == node && p.asked != 0 && p.asked <= question
	})
}

func (o *Outgoing) failWhere(why string, match func(*pending) bool) (newest uint64) {
	failed, newest := o.table.takeWhere(match)
	for _, p := range failed {
		p.done(answer{err: p.failure(fault.ErrNodeDown, why+"; the function may have run")})
	}
	return newest
}

// Expire ends calls past their deadline whose caller has no clock of its own, or
// has not looked at it yet.
func (o *Outgoing) Expire(now time.Time) {
	overdue, _ := o.table.takeWhere(func(p *pending) bool { return now.After(p.deadline) })
	for _, p := range overdue {
		p.done(answer{err: p.failure(fault.ErrExpired, "no answer in time; "+o.members.LastHeard(p.node))})
	}
}

// Nodes are those that somebody here waits for, longer than NATS needs to say
// that nobody is there.
func (o *Outgoing) Nodes(now time.Time) []string { return o.table.nodes(now) }

// Disconnected ends every call at once: nats.go would let them run into their
// time-outs. members are those whose tasks have to be cancelled later.
func (o *Outgoing) Disconnected(members map[string]uint64) {
	newest := o.failAll(fault.ErrDisconnected, "the connection was lost while waiting; it may have run")
	for node, number := range members {
		o.given.note(node, number, newest)
	}
}

// Close ends every call and refuses those that come.
func (o *Outgoing) Close() {
	o.table.close()
	o.failAll(fault.ErrClosed, "this node was closed while waiting")
}

func (o *Outgoing) failAll(kind error, text string) (newest uint64) {
	all, newest := o.table.takeWhere(func(*pending) bool { return true })
	for _, p := range all {
		p.done(answer{err: p.failure(kind, text)})
	}
	return newest
}
