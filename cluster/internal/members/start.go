package members

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/membership"
)

// OutrankedError says that a later incarnation of the name is remembered by others:
// this node has to take a higher one.
type OutrankedError struct{ Incarnation uint64 }

// Error says what was remembered.
func (e *OutrankedError) Error() string {
	return fmt.Sprintf("incarnation %d of this node is remembered; is the clock of this machine right?", e.Incarnation)
}

// Unwrap: as long as the incarnation is lower, the name is not free.
func (e *OutrankedError) Unwrap() error { return fault.ErrNameTaken }

// Claim makes the name this node's. Run must run already. It waits until the name
// is claimed, refused, or ctx has ended.
func (m *Members) Claim(ctx context.Context) error {
	m.step((*membership.Machine).Connected)
	select {
	case s := <-m.steps:
		return m.claimed(s)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Members) claimed(s step) error {
	me := m.link.Self()
	switch {
	case s.kind == membership.Claimed:
		return nil
	case s.id.Incarnation > me.Number:
		return &OutrankedError{s.id.Incarnation}
	case s.id.Incarnation == 0:
		return fmt.Errorf("%w: somebody listens as %q in cluster %q but does not answer; choose another Config.Name, or end that process", fault.ErrNameTaken, me.Name, me.Cluster)
	}
	m.log.Debug("the name is taken", "holder", s.id.Incarnation, "why", s.why)
	return fmt.Errorf("%w: a node named %q is in cluster %q already; choose another Config.Name, or stop that one", fault.ErrNameTaken, me.Name, me.Cluster)
}

// Announce makes this node a member for the others.
func (m *Members) Announce() { m.step((*membership.Machine).Announce) }

// Leave tells the members that the node ends on purpose.
func (m *Members) Leave() { m.step((*membership.Machine).Leave) }

// Disconnected notes that the connection is lost. notices: the next server will
// surely tell who goes.
func (m *Members) Disconnected(notices bool) {
	m.Notices(notices)
	m.step((*membership.Machine).Disconnected)
}

// Reconnected notes that the connection is back.
func (m *Members) Reconnected() {
	m.link.SetOffline(false)
	m.step((*membership.Machine).Connected)
}

// Isolated notes whether the own server has lost the majority of the others.
func (m *Members) Isolated(isolated bool) {
	m.apart.Store(isolated)
	m.step(func(machine *membership.Machine, now time.Duration) { machine.Isolated(now, isolated) })
}

// Apart reports what Isolated noted last.
func (m *Members) Apart() bool { return m.apart.Load() }

// Servers says how many servers a node may be moving between. Where there is one
// and it tells nobody who goes, two answers "nobody listens" are all that can be had.
func (m *Members) Servers(count int) {
	patience := membership.Defaults(m.cfg.Heartbeat, m.cfg.DeadAfter).Patience
	if count <= 1 && !m.notices.Load() {
		patience = againAfter
	}
	m.step(func(machine *membership.Machine, _ time.Duration) { machine.Patience(patience) })
}
