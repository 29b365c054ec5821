package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// request sends f to addr and waits for the answer, in a task or a goroutine.
// It ends by ctx's deadline, or after Config.CallTimeout when there is none.
func (n *Node) request(ctx context.Context, addr actors.Address, f *wire.Frame) (reply, error) {
	n.stats.calls.Add(1)
	r, err := n.requestOnce(ctx, addr, f)
	if err == nil {
		err = r.err
	}
	if err != nil {
		n.stats.callsFailed.Add(1)
	}
	return r, err
}

func (n *Node) requestOnce(ctx context.Context, addr actors.Address, f *wire.Frame) (reply, error) {
	p := &pending{node: addr.Node, number: addr.Incarnation, target: addr.Node + "/" + addr.Path, function: f.Function}
	if err := n.prepare(ctx, p, f); err != nil {
		return reply{}, err
	}
	var err error
	if p.waiter, err = newWaiter[reply](ctx); err != nil {
		return reply{}, err
	}
	if err := n.pending.add(p); err != nil {
		return reply{}, err
	}
	f.ID, f.From, f.FromNumber, f.Incarnation, f.Path = p.id, n.name, n.number, addr.Incarnation, addr.Path
	if err := n.send(n.subjects.of(addr.Node), n.subjects.reply+p.token, f); err != nil {
		n.pending.take(p.id)
		return reply{}, fmt.Errorf("%s: %w", p.target, err)
	}
	n.pending.sent(p)
	r, err := p.waiter.wait(ctx)
	if err != nil {
		return reply{}, n.giveUp(p, err)
	}
	return r, nil
}

// prepare checks what can be known before anything is sent, and turns the
// deadline into the time that remains: clocks of two machines differ.
func (n *Node) prepare(ctx context.Context, p *pending, f *wire.Frame) error {
	if err := ctx.Err(); err != nil {
		return n.waitError(p, context.Cause(ctx))
	}
	if !validName(p.node) {
		return p.failure(ErrUnknownNode, fmt.Sprintf("%q cannot be the name of a node", p.node))
	}
	if len(f.Payload) > n.cfg.MaxPayload {
		return p.failure(ErrTooLarge, fmt.Sprintf("%d bytes, the limit is %d (Config.MaxPayload)", len(f.Payload), n.cfg.MaxPayload))
	}
	if err := f.Check(n.cfg.MaxPayload); err != nil {
		return p.failure(ErrTooLarge, err.Error())
	}
	if n.offline.Load() {
		return p.failure(ErrDisconnected, "nothing was sent")
	}
	if p.number == 0 {
		if m, ok := n.members.find(p.node); ok {
			p.number = m.number
		}
	}
	now := time.Now()
	at, ok := ctx.Deadline()
	if !ok {
		at = now.Add(n.cfg.CallTimeout)
	}
	p.begun, p.deadline, f.Remaining = now, at, at.Sub(now)
	if f.Remaining <= 0 {
		return n.waitError(p, context.DeadlineExceeded)
	}
	return nil
}

// giveUp ends a request whose caller does not wait any more, and tells the
// other side so that it stops working.
func (n *Node) giveUp(p *pending, why error) error {
	if n.pending.take(p.id) != nil {
		cancel := &wire.Frame{Kind: wire.Cancel, ID: p.id, From: n.name, FromNumber: n.number}
		n.answer(n.subjects.of(p.node), cancel)
	}
	return n.waitError(p, why)
}

// waitError says why the caller stopped waiting. A cancellation passes through
// as it is, because tasks and callers look for it.
func (n *Node) waitError(p *pending, why error) error {
	if !errors.Is(why, context.DeadlineExceeded) {
		return fmt.Errorf("call of %s given up: %w", p.target, why)
	}
	text := fmt.Sprintf("no answer in time; %s", n.lastHeard(p.node))
	if errors.Is(why, loopnode.ErrTimeout) {
		return fmt.Errorf("%w: %w", p.failure(ErrExpired, text), why)
	}
	return p.failure(ErrExpired, text)
}

func (n *Node) lastHeard(node string) string {
	m, ok := n.members.find(node)
	if !ok {
		return "node " + node + " is not a known member"
	}
	return fmt.Sprintf("node %s was heard of %v ago", node, time.Since(m.seen).Round(time.Millisecond))
}

// codeOf is the wire code of a sentinel of this package.
func codeOf(kind error) wire.Code {
	if kind == ErrExpired {
		return wire.Expired
	}
	for code, err := range kinds {
		if err == kind {
			return wire.Code(code)
		}
	}
	return wire.User
}
