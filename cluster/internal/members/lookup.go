package members

import (
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	lookupToken = "l-" // and the name
	lookupLimit = time.Second
)

// lookup is somebody who wants to know who holds a name.
type lookup struct {
	name  string
	until time.Duration
	done  func()
}

// Lookup asks whether a node of that name lives that this node has not heard of yet:
// one that has just started, whose first heartbeat is still to come. done is called
// once, when the node has become a member, when NATS says that nobody holds the name,
// or after a second. It runs under a lock of Members: it must not wait nor ask
// Members.
func (m *Members) Lookup(name string, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.machine.Find(name); known {
		done()
		return
	}
	m.lookups = append(m.lookups, lookup{name, m.now() + lookupLimit, done})
	me := m.link.Self()
	f := &wire.Frame{Kind: wire.Ask, From: me.Name, FromNumber: me.Number, Standing: wire.Announced}
	if err := m.link.SendToName(name, lookupToken+name, f); err != nil {
		m.endLookups(func(l lookup) bool { return l.name == name })
	}
}

// endLookups calls those for which it is true. mu is held.
func (m *Members) endLookups(which func(lookup) bool) {
	kept := m.lookups[:0]
	for _, l := range m.lookups {
		if which(l) {
			l.done()
			continue
		}
		kept = append(kept, l)
	}
	clear(m.lookups[len(kept):])
	m.lookups = kept
}

// nobodyNamed handles NATS's answer that nobody holds a name; false when the token
// is of something else.
func (m *Members) nobodyNamed(token string) bool {
	name, ok := strings.CutPrefix(token, lookupToken)
	if !ok {
		return false
	}
	m.absences.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLookups(func(l lookup) bool { return l.name == name })
	return true
}
