package members

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	claimWait  = time.Second           // how long a holder of the name may take to answer
	claimQuiet = 20 * time.Millisecond // in which a node that starts at the same moment objects
)

// claim is how a starting node makes sure that its name is free. It asks for a
// holder of the name first, then subscribes, then waits for a node that did the
// same at the same moment: of two nodes that start, the one with the lower
// incarnation stays. Invariant: once established, it is never lost.
type claim struct {
	established atomic.Bool
	lost        chan uint64 // incarnation of the node that has the name
}

// Claim takes the node's name.
func (m *Members) Claim(ctx context.Context) error {
	if err := m.probeName(ctx); err != nil {
		return err
	}
	if err := m.link.Subscribe(); err != nil {
		return err
	}
	m.link.Broadcast(&wire.Frame{Kind: wire.Hello})
	bounded, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if err := m.link.Flush(bounded); err != nil {
		return fmt.Errorf("NATS did not answer: %w", err)
	}
	quiet := time.NewTimer(claimQuiet)
	defer quiet.Stop()
	select {
	case holder := <-m.claim.lost:
		return m.taken(holder)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-quiet.C:
	}
	m.claim.established.Store(true)
	return nil
}

func (m *Members) probeName(ctx context.Context) error {
	me := m.link.Self()
	bounded, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	answer, absent, err := m.link.Ask(bounded, me.Name, &wire.Frame{Kind: wire.Ping, From: me.Name, FromNumber: me.Number})
	switch {
	case absent:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: somebody listens as %q in cluster %q but does not answer; choose another Config.Name, or end that process", fault.ErrNameTaken, me.Name, me.Cluster)
	case err != nil:
		return fmt.Errorf("asking whether the name is free: %w", err)
	}
	var pong wire.Frame
	if err := wire.Decode(answer, &pong, nil); err != nil {
		return fmt.Errorf("%w: somebody who does not speak this protocol listens as %q: %w", fault.ErrNameTaken, me.Name, err)
	}
	return m.taken(pong.FromNumber)
}

func (m *Members) taken(holder uint64) error {
	me := m.link.Self()
	m.log.Debug("the name is taken", "holder", holder)
	return fmt.Errorf("%w: a node named %q is in cluster %q already; choose another Config.Name, or stop that one", fault.ErrNameTaken, me.Name, me.Cluster)
}

// rival handles a Hello or Ping of another node with this node's name.
func (m *Members) rival(f *wire.Frame) {
	me := m.link.Self()
	if !m.claim.established.Load() && me.Number > f.FromNumber {
		m.lose(f.FromNumber)
		return
	}
	m.conflicts.Add(1)
	if ok, more := m.quiet.Allow(); ok {
		m.log.Error("another node has this node's name", "its_incarnation", f.FromNumber, "kept_back", more)
	}
	if f.Kind == wire.Hello {
		// Both hear this subject; ID says who has to go.
		m.link.Answer(me.Name, &wire.Frame{Kind: wire.NameHeld, ID: f.FromNumber, From: me.Name, FromNumber: me.Number})
	}
}

// NameHeld handles the objection of a node that has the name. One that was not sent
// in that name does not count.
func (m *Members) NameHeld(f *wire.Frame) {
	if f.From == m.link.Self().Name && f.ID == m.link.Self().Number {
		m.lose(f.FromNumber)
	}
}

// lose ends a start. Why not more: two established nodes that meet after a
// partition must not both end.
func (m *Members) lose(holder uint64) {
	if m.claim.established.Load() {
		return
	}
	select {
	case m.claim.lost <- holder:
	default:
	}
}
