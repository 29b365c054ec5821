package calls

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// A call may be sent again when it is known that nothing ran: NATS found nobody to
// deliver it to, or the other node was fenced. It is sent again while the other node is
// a member: after a restart of NATS, nodes come back one after another, and a node that
// is fenced serves again, or is given up, within seconds. Membership decides which; the
// call waits for that decision, its ctx, or its deadline.
const (
	retryFirst = 5 * time.Millisecond
	retryMost  = 50 * time.Millisecond
)

// Unreachable handles NATS's answer that it could deliver a call to nobody.
func (o *Outgoing) Unreachable(token string) {
	p := o.table.takeToken(token)
	if p == nil {
		return
	}
	o.members.Absent(p.peer)
	if o.members.Apart() { // the other node may live, and nothing decides soon whether it does
		p.done(answer{err: p.failure(fault.ErrDisconnected, "nothing ran: the NATS server that this node uses has lost most of the others")})
		return
	}
	number, _ := o.members.Number(p.peer.Name)
	p.done(answer{err: p.nobody(), again: number == p.peer.Number})
}

// nobody is the error of a call that could be delivered to nobody.
func (p *pending) nobody() error {
	if p.life {
		return p.failure(fault.ErrDeadIncarnation, fmt.Sprintf("nobody listens as incarnation %d of the node", p.peer.Number))
	}
	return p.failure(fault.ErrUnknownNode, "nobody listens under that name")
}

// pause waits before a call is sent again. cause is why it has to be.
func (o *Outgoing) pause(ctx context.Context, p *pending, cause error, d time.Duration) error {
	if left := time.Until(p.deadline); left <= d {
		return fmt.Errorf("%w: %w", p.failure(fault.ErrExpired, "nothing ran"), cause)
	}
	w, err := wait.New[struct{}](ctx)
	if err != nil {
		return err
	}
	alarm := time.AfterFunc(d, func() { w.Deliver(struct{}{}) })
	defer alarm.Stop()
	if _, err := w.Wait(ctx); err != nil {
		return o.waitError(p, err)
	}
	return nil
}
