package members

import (
	"time"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

// Events that another node can cause as often as it likes: what it was refused, what it
// claims, what of it got lost. They travel in the streams of the membership, so they must
// never crowd it out: of each kind and node one a second is told and the others are
// counted, and the nodes that are told apart are bounded, because names can be invented.

const (
	seldomEach = time.Second
	maxSeldom  = 128 // pairs of kind and node in a second; of others nothing is told
)

type cause struct {
	kind events.Kind
	node string
}

// seldom is when an event of a cause was told last, and how many were kept back since.
type seldom struct {
	told time.Time
	kept uint64
}

// seldoms belong to Members and are guarded by its mu. Invariant: an entry older than
// seldomEach with nothing kept back says nothing, and may be dropped at any time.
type seldoms map[cause]*seldom

// count notes that it has happened once more, and returns how many to tell of; 0: none.
func (s seldoms) count(c cause, now time.Time) uint64 {
	have := s[c]
	if have == nil {
		if len(s) >= maxSeldom {
			s.forget(now)
		}
		if len(s) >= maxSeldom {
			return 0
		}
		s[c] = &seldom{told: now}
		return 1
	}
	have.kept++
	if now.Sub(have.told) < seldomEach {
		return 0
	}
	n := have.kept
	have.told, have.kept = now, 0
	return n
}

// forget drops what is over: a cause of which nothing was heard for a second.
func (s seldoms) forget(now time.Time) {
	for c, have := range s {
		if now.Sub(have.told) >= seldomEach {
			delete(s, c)
		}
	}
}

// Report tells those who follow the node that something did not work between it and
// peer, at most once a second for each kind and node. It does not wait. Any goroutine.
func (m *Members) Report(kind events.Kind, peer link.Peer, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.subs) == 0 {
		return
	}
	now := time.Now()
	count := m.seldoms.count(cause{kind, peer.Name}, now)
	if count == 0 {
		return
	}
	e := events.Event{Kind: kind, Why: why, Count: count, Time: now, Member: events.Member{Name: peer.Name, Incarnation: peer.Number, Self: peer.Name == m.link.Self().Name}}
	if have, ok := m.machine.Find(peer.Name); ok && have.Incarnation == peer.Number {
		e.Member = m.member(have)
	}
	for s := range m.subs {
		s.add(e)
	}
}
