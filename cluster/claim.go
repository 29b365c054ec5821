package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	claimWait   = time.Second           // how long a holder of the name may take to answer
	claimSettle = 20 * time.Millisecond // in which a node that starts at the same moment objects
)

// claim is how a starting node makes sure that its name is free.
type claim struct {
	established atomic.Bool
	lost        chan uint64 // incarnation of the node that has the name
}

// claimName asks for a holder of the name first, then subscribes, then looks
// for somebody who did the same at the same moment: of two nodes that start, the
// one with the lower incarnation stays.
func (n *Node) claimName(ctx context.Context) error {
	n.claim.lost = make(chan uint64, 1)
	if err := n.probeName(ctx); err != nil {
		return err
	}
	if err := n.subscribe(); err != nil {
		return err
	}
	n.broadcast(&wire.Frame{Kind: wire.Hello})
	bounded, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if err := n.nc.FlushWithContext(bounded); err != nil {
		return fmt.Errorf("NATS did not answer: %w", err)
	}
	settle := time.NewTimer(claimSettle)
	defer settle.Stop()
	select {
	case holder := <-n.claim.lost:
		return n.taken(holder)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-settle.C:
	}
	n.claim.established.Store(true)
	return nil
}

func (n *Node) probeName(ctx context.Context) error {
	ping := wire.Frame{Kind: wire.Ping, From: n.name, FromNumber: n.number}
	bounded, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	msg, err := n.nc.RequestWithContext(bounded, n.subjects.in, ping.Append(nil))
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: somebody listens as %q in cluster %q but does not answer; choose another Config.Name, or end that process", ErrNameTaken, n.name, n.cfg.Cluster)
	case err != nil:
		return fmt.Errorf("asking whether the name is free: %w", err)
	}
	var pong wire.Frame
	if err := wire.Decode(msg.Data, &pong, nil); err != nil {
		return fmt.Errorf("%w: somebody who does not speak this protocol listens as %q: %w", ErrNameTaken, n.name, err)
	}
	return n.taken(pong.FromNumber)
}

func (n *Node) taken(holder uint64) error {
	n.log.Debug("the name is taken", "holder", holder)
	return fmt.Errorf("%w: a node named %q is in cluster %q already; choose another Config.Name, or stop that one", ErrNameTaken, n.name, n.cfg.Cluster)
}

// subscribe opens the subscriptions of the node.
func (n *Node) subscribe() error {
	for _, s := range []struct {
		subject string
		handle  nats.MsgHandler
	}{
		{n.subjects.all, n.receiver()},
		{n.subjects.members, n.memberReceiver()},
		{noticesOfAll, n.noticed},
	} {
		sub, err := n.nc.Subscribe(s.subject, s.handle)
		if err != nil {
			return fmt.Errorf("subscribing to %s: %w", s.subject, err)
		}
		if err := sub.SetPendingLimits(pendingFrames, pendingBytes); err != nil {
			return fmt.Errorf("subscribing to %s: %w", s.subject, err)
		}
		n.subs = append(n.subs, sub)
	}
	return nil
}

// rival handles a Hello or Ping of another node with this node's name.
func (n *Node) rival(f *wire.Frame) {
	if n.claim.established.Load() || n.number < f.FromNumber {
		n.stats.conflicts.Add(1)
		if ok, more := n.quiet.conflict.allow(time.Now().UnixNano()); ok {
			n.log.Error("another node has this node's name", "its_incarnation", f.FromNumber, "kept_back", more)
		}
		if f.Kind == wire.Hello {
			// Both hear this subject; ID says who has to go.
			n.answer(n.subjects.in, &wire.Frame{Kind: wire.Error, ID: f.FromNumber, Code: wire.NameTaken, Message: fmt.Sprint(n.number)})
		}
		return
	}
	n.lose(f.FromNumber)
}

// lose ends a start. Why not more: two established nodes that meet after a
// partition must not both end.
func (n *Node) lose(holder uint64) {
	if n.claim.established.Load() {
		return
	}
	select {
	case n.claim.lost <- holder:
	default:
	}
}
