// Package lease decides how long a node may act as the owner of its names. It is pure:
// the time, a monotonic one, and the answers of the store go in; when to renew, and
// whether the node may act, come out.
//
// A node writes a record that the store removes after TTL. While it is there, nobody
// takes the node's names. The node counts from the moment before it sent the last
// renewal that was stored, so its own end, Until, always comes before the store's:
//
//	    send      stored                         Until                 the store removes it
//	-----|----------|------------------------------|-----------------------|---------> time
//	     |<------------- TTL - Margin ------------>|
//	                |<-------------------- TTL --------------------------->|
//
// Invariant: at no time does Until lie behind send + TTL - Margin of a stored renewal.
//
// A node that has passed Until has lost everything it owned, whatever happens later:
// its next lease has another Term, and records of ownership name the Term under which
// they were written. Without it a node that came back would extend the records it has
// already given up in its own mind.
//
// States: idle --Want--> asking --Stored--> held --now >= Until--> asking (next term).
package lease

import "time"

// Config are the times of a lease.
type Config struct {
	TTL    time.Duration // whole seconds: the store knows nothing finer
	Renew  time.Duration // between two renewals
	Retry  time.Duration // after one that failed
	Margin time.Duration // how much earlier than the store the node ends by itself
}

// Default are the times of a cluster. Why 20 s: without a leader nothing is renewed for
// 4 to 9 s, and shorter leases of nodes that live then expired. Margin covers the
// difference of two clocks' rates.
func Default() Config {
	return Config{TTL: 20 * time.Second, Renew: 4 * time.Second, Retry: time.Second, Margin: 2 * time.Second}
}

// Machine is the state of one node's lease. Not for several goroutines at once.
type Machine struct {
	cfg    Config
	wanted bool
	term   uint64
	held   bool
	until  time.Duration
	next   time.Duration // when to send the next renewal
	asked  bool          // one is under way
	asking uint64        // its term
}

// New makes a machine of a node that wants no lease yet. term is the first one: above
// those of earlier lives of the node.
func New(cfg Config, term uint64) *Machine { return &Machine{cfg: cfg, term: term} }

// Want asks for a lease from now on.
func (m *Machine) Want(now time.Duration) {
	if !m.wanted {
		m.wanted, m.next = true, now
	}
}

// Leave gives the lease up on purpose.
func (m *Machine) Leave() { m.wanted, m.held = false, false }

// Tick lets time pass. lost: the lease, and with it every ownership, is over. renew: a
// renewal for Term has to be sent now; Stored or Failed has to follow.
func (m *Machine) Tick(now time.Duration) (lost, renew bool) {
	if m.held && now >= m.until {
		m.held, lost = false, true
		m.term++
	}
	if m.wanted && !m.asked && now >= m.next {
		m.asked, m.asking, renew = true, m.term, true
	}
	return lost, renew
}

// Stored says that the renewal that was begun at sent is stored.
func (m *Machine) Stored(sent, now time.Duration) (lost bool) {
	lost, _ = m.tickOnly(now)
	m.asked = false
	if m.asking != m.term || !m.wanted { // it was sent for a term that is over
		m.next = now
		return lost
	}
	until := sent + m.cfg.TTL - m.cfg.Margin
	if until <= now { // the answer came too late to be worth anything
		m.next = now
		return lost
	}
	m.held, m.until = true, max(m.until, until)
	m.next = sent + m.cfg.Renew
	return lost
}

// tickOnly ends what is over and sends nothing.
func (m *Machine) tickOnly(now time.Duration) (lost, _ bool) {
	asked := m.asked
	m.asked = true
	lost, _ = m.Tick(now)
	m.asked = asked
	return lost, false
}

// Failed says that a renewal was not stored, or nobody knows.
func (m *Machine) Failed(now time.Duration) {
	m.asked, m.next = false, now+m.cfg.Retry
}

// Taken says that somebody else wrote the node's lease: a later life of the node. It
// is over at once.
func (m *Machine) Taken(now time.Duration) (lost bool) {
	lost = m.held
	m.held, m.asked = false, false
	m.term++
	m.next = now + m.cfg.Retry
	return lost
}

// Held reports whether there is a lease now.
func (m *Machine) Held(now time.Duration) bool { return m.held && now < m.until }

// Until is when the node has to stop by itself; 0 without a lease.
func (m *Machine) Until() time.Duration {
	if !m.held {
		return 0
	}
	return m.until
}

// Term is the number of the lease. It grows when one is lost.
func (m *Machine) Term() uint64 { return m.term }

// Wake is when Tick has to be called next; ok is false when nothing is to come.
func (m *Machine) Wake() (at time.Duration, ok bool) {
	switch {
	case m.held && (m.asked || !m.wanted):
		return m.until, true
	case m.held:
		return min(m.until, m.next), true
	case m.wanted && !m.asked:
		return m.next, true
	}
	return 0, false
}
