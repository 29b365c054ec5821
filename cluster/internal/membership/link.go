package membership

import (
	"fmt"
	"time"
)

// link is what this node knows about its own way to the others.
type link struct {
	up       bool
	isolated bool          // the own server has lost the others
	grace    time.Duration // before this time absence says nothing: others reconnect
	next     uint64        // number of the last heartbeat
	beaten   time.Duration // when it was sent
	out      []beat        // sent and not come back, oldest first; at most maxBeats
	proof    time.Duration // when the newest heartbeat that came back had been sent
	fresh    bool          // one came back since the last stall
}

type beat struct {
	seq  uint64
	sent time.Duration
}

// maxBeats bounds what is remembered of heartbeats on their way.
const maxBeats = 64

// Connected says that the node has a connection to its server, also a new one
// after a loss. Whatever was received by an earlier connection has been given to
// Step before.
func (m *Machine) Connected(now time.Duration) {
	m.advance(now)
	if m.over() || m.link.up {
		return
	}
	first := m.phase == idle
	m.link.up, m.link.out, m.link.fresh = true, nil, false
	m.ticked = now
	if first {
		m.begin(now)
		return
	}
	m.forgive(now)
	m.link.grace = now + m.cfg.DeadAfter
	switch {
	case m.phase == probing || m.phase == claiming: // what was sent may be lost
		m.begin(now)
	case m.established():
		m.beat(now)
		m.reclaim(now)
	}
}

// Disconnected says that the connection is gone. It is no evidence against others.
func (m *Machine) Disconnected(now time.Duration) {
	m.advance(now)
	m.link.up, m.link.fresh, m.link.out = false, false, nil
}

// Isolated says whether the own server has lost the majority of the other servers:
// then this node does not hear the others although its own heartbeats come back.
func (m *Machine) Isolated(now time.Duration, isolated bool) {
	m.advance(now)
	if m.link.isolated == isolated {
		return
	}
	m.link.isolated = isolated
	if !isolated {
		m.forgive(now)
		m.link.grace = now + m.cfg.DeadAfter
	}
}

// beat sends a heartbeat.
func (m *Machine) beat(now time.Duration) {
	l := &m.link
	l.next++
	l.beaten = now
	if len(l.out) == maxBeats {
		l.out = l.out[1:]
	}
	l.out = append(l.out, beat{l.next, now})
	m.send(Message{Kind: Beat, Seq: l.next})
}

// echo takes a heartbeat of this node that came back.
func (m *Machine) echo(now time.Duration, seq uint64) {
	l := &m.link
	for i, b := range l.out {
		if b.seq != seq {
			continue
		}
		stall := now - l.out[0].sent // an older one is lost, or late
		l.out = append([]beat(nil), l.out[i+1:]...)
		if stall > m.cfg.LateEcho {
			m.stalled(now, stall)
		}
		returned := !l.fresh
		l.fresh, l.proof = true, max(l.proof, b.sent)
		switch {
		case m.claim.expired && !m.claim.pending && !l.isolated:
			m.reclaim(now)
		case m.claim.pending && returned: // those who object have been reached only now
			m.claim.until = now + m.cfg.Settle
			m.wake(m.claim.until)
		}
		return
	}
}

// stalled notes that this process or its server stood still. What was not heard
// meanwhile says nothing; after a long stall others may have lost their
// connections and need time to come back.
func (m *Machine) stalled(now, length time.Duration) {
	m.link.fresh = false
	m.forgive(now)
	if length >= m.cfg.LinkTimeout/2 {
		m.link.grace = now + m.cfg.DeadAfter
	}
}

// hears reports that the link works as far as is known: what is asked now will be
// answered.
func (m *Machine) hears(now time.Duration) bool {
	l := &m.link
	return l.up && !l.isolated && l.fresh && (len(l.out) == 0 || now-l.out[0].sent <= m.cfg.LateEcho)
}

// proven reports that evidence against others counts.
func (m *Machine) proven(now time.Duration) bool { return m.hears(now) && now >= m.link.grace }

// reached reports that a heartbeat sent at or after that time has come back. When
// none was sent, it sends one.
func (m *Machine) reached(now, since time.Duration) bool {
	if m.link.proof >= since && m.link.fresh {
		return true
	}
	if n := len(m.link.out); m.established() && (n == 0 || m.link.out[n-1].sent < since) {
		m.beat(now)
	}
	return false
}

// forgive starts all silences anew. It is called whenever this node may have missed
// what others sent.
func (m *Machine) forgive(now time.Duration) {
	for _, have := range m.members {
		have.forgive(now)
	}
}

// ServeUntil is the time until which this node may serve calls of others. It
// changes with every input. 0: it may not.
func (m *Machine) ServeUntil() time.Duration {
	if !m.established() || m.claim.expired || m.link.isolated {
		return 0
	}
	return m.link.proof + m.cfg.FenceAfter
}

// expire fences the node when the last proof is too old. It only reports what is so
// already: Serving compares the time itself, so a node that was stopped refuses what
// was queued for it before its machine has had an input.
func (m *Machine) expire(now time.Duration) {
	if !m.established() || m.claim.expired {
		return
	}
	switch silent := now - m.link.proof; {
	case m.link.isolated:
		m.fence(now, "the own server has lost the other servers")
	case silent >= m.cfg.FenceAfter:
		m.fence(now, fmt.Sprintf("no heartbeat came back that was sent within %v", m.cfg.FenceAfter))
	}
}

// fence stops this node from serving until it has claimed its name again: others may
// have given it up meanwhile and started another one.
func (m *Machine) fence(now time.Duration, why string) {
	m.claim.expired, m.claim.pending = true, false
	m.formers.void(now - m.cfg.DeadAfter - m.cfg.LinkTimeout) // no longer does a link stall before that is noticed
	m.report(Fenced, m.self, why)
}
