package members

import (
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

// A life of a node that is no member can be real: it has just started, and its frames
// are ahead of its heartbeat. It can be invented as well, and then nothing would ever
// tell that it is over. So what such a life makes this node keep (flows, watches,
// streams) is kept for as long as a real one needs to become a member, and the number of
// such lives at one time is bounded.

const (
	maxNonmembers = 256              // lives that are no members and keep something here
	maxLives      = 4                // of these, of one name: with keys a node can invent lives of its own name only
	nonmemberFor  = 10 * time.Second // how long, unless they become members
)

// Admit reports whether a life of a node may make this node keep something: it is a
// member, or may become one. It does not wait. Any goroutine.
//
// It is asked where something new is kept, not for each frame: of a flow that exists,
// every further frame is served without a look at this table.
func (m *Members) Admit(peer link.Peer) bool {
	if number, ok := m.Number(peer.Name); ok && number == peer.Number || peer.Name == m.link.Self().Name {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.nonmembers[peer]; known {
		return true
	}
	if len(m.nonmembers) >= maxNonmembers || m.livesLocked(peer.Name) >= maxLives {
		return false
	}
	m.nonmembers[peer] = m.now()
	return true
}

// livesLocked is how many lives of a name are kept that are no members. Few: it is asked
// where a life is seen for the first time, and the table is small.
func (m *Members) livesLocked(name string) (n int) {
	for peer := range m.nonmembers {
		if peer.Name == name {
			n++
		}
	}
	return n
}

// endNonmembers lets go of what lives keep that have not become members in time.
func (m *Members) endNonmembers() {
	var over []link.Peer
	m.mu.Lock()
	for peer, since := range m.nonmembers {
		number, ok := m.Number(peer.Name)
		switch {
		case ok && number == peer.Number:
			delete(m.nonmembers, peer) // from now on it has an end that is told
		case m.now()-since >= nonmemberFor:
			delete(m.nonmembers, peer)
			over = append(over, peer)
		}
	}
	m.mu.Unlock()
	for _, peer := range over {
		m.events.Unknown(peer)
	}
}
