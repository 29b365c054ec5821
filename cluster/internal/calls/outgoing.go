// Package calls is the life of a call that is answered: out of this node
// (Outgoing), into it (Incoming), and within the process (Local).
package calls

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
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
	// NoMember says for people why a node is no member.
	NoMember(node string) string
	// Lookup asks for a node that is no member yet, and calls done when it has become
	// one or is known not to be there.
	Lookup(node string, done func())
	// Apart reports whether this node's server has lost most of the others.
	Apart() bool
	// Depends is told that a call waits for a node.
	Depends()
	// Absent is told that NATS found nobody as that life of a node.
	Absent(link.Peer)
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
	traces  *traces.Tracer
	table   table
	given   givenUp
	traffic traffic

	calls, failed, late atomic.Uint64
}

// OutgoingCounters are what Outgoing has counted.
type OutgoingCounters struct {
	Calls, Failed, Late uint64
	Waiting             int
}

// NewOutgoing makes an empty table.
func NewOutgoing(l *link.Link, m Members, limits Limits, t *traces.Tracer) *Outgoing {
	o := &Outgoing{link: l, members: m, limits: limits, traces: t}
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
	begun, target := time.Now(), addr.Node+"/"+addr.Path
	end := o.span(ctx, target, f)
	r, err := o.request(ctx, target, addr, f)
	if err != nil {
		o.failed.Add(1)
	}
	if f.Kind == wire.Call && !strings.HasPrefix(f.Function, adminPrefix) {
		o.traffic.note(ctx, target, time.Since(begun), err)
	}
	end(err)
	return r, err
}

// span begins the span of a call and puts its context into the frame. Other requests, and
// the questions of package admin, have none.
func (o *Outgoing) span(ctx context.Context, target string, f *wire.Frame) (end func(error)) {
	if !o.traces.On() || f.Kind != wire.Call || strings.HasPrefix(f.Function, adminPrefix) {
		return func(error) {}
	}
	f.Trace, end = o.traces.Call(ctx, f.Function, target)
	return end
}

func (o *Outgoing) request(ctx context.Context, target string, addr actors.Address, f *wire.Frame) (Reply, error) {
	p := &pending{kind: f.Kind, target: target, function: f.Function, life: addr.Incarnation != 0}
	if err := o.prepare(ctx, p, addr, f); err != nil {
		return Reply{}, err
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		a, err := o.attempt(ctx, p, addr, f)
		if err != nil || !a.again {
			return a.Reply, cmp.Or(err, a.err)
		}
		if err := o.pause(ctx, p, a.err, wait); err != nil {
			return Reply{}, err
		}
		p = &pending{kind: p.kind, target: p.target, function: p.function, life: p.life, begun: p.begun, deadline: p.deadline}
	}
}

// attempt sends the call once and waits for its answer.
func (o *Outgoing) attempt(ctx context.Context, p *pending, addr actors.Address, f *wire.Frame) (a answer, err error) {
	if err := o.find(ctx, p, addr); err != nil {
		return a, err
	}
	if p.waiter, err = wait.New[answer](ctx); err != nil {
		return a, err
	}
	if err := o.table.add(p); err != nil {
		return a, err
	}
	me := o.link.Self()
	f.ID, f.From, f.FromNumber, f.Incarnation, f.Loop, f.Path = p.id, me.Name, me.Number, p.peer.Number, addr.Loop, addr.Path
	f.Remaining = time.Until(p.deadline)
	if err := o.link.SendFor(p.peer, p.token, f); err != nil {
		o.table.take(p.id)
		return a, fmt.Errorf("%s: %w", p.target, err)
	}
	o.table.sent(p)
	o.members.Depends()
	if a, err = p.waiter.Wait(ctx); err != nil {
		return a, o.giveUp(p, err)
	}
	return a, nil
}

// prepare checks what can be known before anything is sent, and turns the
// deadline into the time that remains: clocks of two machines differ.
func (o *Outgoing) prepare(ctx context.Context, p *pending, addr actors.Address, f *wire.Frame) error {
	if err := ctx.Err(); err != nil {
		return o.waitError(p, context.Cause(ctx))
	}
	if !wire.ValidName(addr.Node) {
		return p.failure(fault.ErrUnknownNode, fmt.Sprintf("%q cannot be the name of a node", addr.Node))
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
	now := time.Now()
	at, ok := ctx.Deadline()
	if !ok {
		at = now.Add(o.limits.Timeout)
	}
	p.begun, p.deadline = now, at
	if !at.After(now) {
		return o.waitError(p, context.DeadlineExceeded)
	}
	return nil
}

// find is resolve that asks for a node nobody here has heard of: it may have just
// started.
func (o *Outgoing) find(ctx context.Context, p *pending, addr actors.Address) error {
	if o.link.Closing() {
		return p.failure(fault.ErrClosed, "this node has been closed")
	}
	err := o.resolve(p, addr)
	if err == nil || !errors.Is(err, fault.ErrUnknownNode) {
		return err
	}
	w, err := wait.New[struct{}](ctx)
	if err != nil {
		return err
	}
	o.members.Lookup(addr.Node, func() { w.Deliver(struct{}{}) })
	if _, err := w.Wait(ctx); err != nil {
		return o.waitError(p, err)
	}
	return o.resolve(p, addr)
}

// resolve finds the life of the node to send to. An address without an incarnation
// means the one that lives. One with a later incarnation than the known one may be
// right: whoever gave the address away has heard of it first.
func (o *Outgoing) resolve(p *pending, addr actors.Address) error {
	number, known := o.members.Number(addr.Node)
	p.peer = link.Peer{Name: addr.Node, Number: max(addr.Incarnation, number)}
	switch {
	case addr.Incarnation == 0 && !known:
		return p.failure(fault.ErrUnknownNode, o.members.NoMember(addr.Node))
	case addr.Incarnation != 0 && addr.Incarnation < number:
		return p.failure(fault.ErrDeadIncarnation, fmt.Sprintf("the node lives as incarnation %d now", number))
	}
	return nil
}

// giveUp ends a request whose caller does not wait any more, and tells the
// other side so that it stops working.
func (o *Outgoing) giveUp(p *pending, why error) error {
	if o.table.take(p.id) != nil {
		me := o.link.Self()
		o.link.Answer(p.peer, &wire.Frame{Kind: wire.Cancel, ID: p.id, From: me.Name, FromNumber: me.Number})
	}
	return o.waitError(p, why)
}

// waitError says why the caller stopped waiting. A cancellation passes through
// as it is, because tasks and callers look for it.
func (o *Outgoing) waitError(p *pending, why error) error {
	if !errors.Is(why, context.DeadlineExceeded) {
		return fmt.Errorf("call of %s given up: %w", p.target, why)
	}
	text := fmt.Sprintf("no answer in time; %s", o.members.LastHeard(p.peer.Name))
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
		err := fault.FromFrame(p.target, p.function, f)
		p.done(answer{err: err, again: errors.Is(err, fault.ErrFenced) && !o.members.Apart()})
	default:
		p.done(answer{Reply: Reply{f.Codec, f.Payload}})
	}
}

// Denied ends the calls to a node to which the NATS server lets this node send
// nothing. NATS says so behind a publish that went well.
func (o *Outgoing) Denied(node string) {
	denied, _ := o.table.takeWhere(func(p *pending) bool { return p.peer.Name == node })
	for _, p := range denied {
		p.done(answer{err: p.failure(fault.ErrRefused, "the NATS server does not let this node send to that one; check its keys")})
	}
}

// NodeDown ends the calls that wait for an incarnation of a node. mayReturn: it has not
// said goodbye, so it may be cut off and come back, and its tasks for these calls still
// run then.
func (o *Outgoing) NodeDown(peer link.Peer, why string, mayReturn bool) {
	newest := o.failWhere(why, func(p *pending) bool { return p.peer == peer })
	if mayReturn {
		o.given.note(peer, newest)
	}
}

// Mark gives a number to the question that its caller sends to the node next, and notes
// which calls were published before it.
func (o *Outgoing) Mark(peer link.Peer) uint64 { return o.table.mark(peer) }

// NoResponders ends the calls that were published, before a question that found nobody, to
// a node that is no member. Why: NATS handles what it gets in order. If nobody had
// listened when the call came, NATS would have said so about the call first; so it has
// delivered the call to a connection that was closing.
func (o *Outgoing) NoResponders(peer link.Peer, question uint64) {
	o.failWhere("nobody listens under its name", func(p *pending) bool {
		return p.peer == peer && p.asked != 0 && p.asked <= question
	})
}

func (o *Outgoing) failWhere(why string, match func(*pending) bool) (newest uint64) {
	failed, newest := o.table.takeWhere(match)
	for _, p := range failed {
		p.done(answer{err: p.failure(fault.ErrNodeDown, why+"; the function may have run")})
	}
	return newest
}

// Expire ends calls whose deadline has passed and whose caller has not been woken by
// its own ctx.
func (o *Outgoing) Expire(now time.Time) {
	overdue, _ := o.table.takeWhere(func(p *pending) bool { return now.After(p.deadline) })
	for _, p := range overdue {
		p.done(answer{err: p.failure(fault.ErrExpired, "no answer in time; "+o.members.LastHeard(p.peer.Name))})
	}
}

// Nodes are those that somebody here waits for, longer than NATS needs to say
// that nobody is there.
func (o *Outgoing) Nodes(now time.Time) []link.Peer { return o.table.nodes(now) }

// Disconnected ends every call at once; otherwise each would wait for its deadline.
// members are the nodes whose tasks have to be cancelled when they are heard of again.
func (o *Outgoing) Disconnected(members []link.Peer) {
	newest := o.failAll(fault.ErrDisconnected, "the connection was lost while waiting; it may have run")
	for _, peer := range members {
		o.given.note(peer, newest)
	}
}

// Close ends every call and refuses those that come.
func (o *Outgoing) Close() {
	o.table.close()
	o.failAll(fault.ErrClosed, "this node was closed while waiting")
}

// Fence ends every call and refuses those that come: this node has lost its name.
func (o *Outgoing) Fence(why string) {
	o.table.close()
	o.failAll(fault.ErrFenced, why)
}

func (o *Outgoing) failAll(kind error, text string) (newest uint64) {
	all, newest := o.table.takeWhere(func(*pending) bool { return true })
	for _, p := range all {
		p.done(answer{err: p.failure(kind, text)})
	}
	return newest
}
