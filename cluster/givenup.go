package cluster

import "github.com/loopmesh/loopmesh/internal/wire"

// lost is what is remembered of a node to which a Cancel could not be sent: the
// calls with ids up to newest have failed here, but may still run there. One
// number is enough: whenever it is noted, every call to the node has failed.
type lost struct{ number, newest uint64 }

// gaveUp notes that all calls to an incarnation have failed.
func (t *memberTable) gaveUp(name string, number, newest uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gaveUpLocked(name, number, newest)
}

func (t *memberTable) gaveUpLocked(name string, number, newest uint64) {
	if len(t.lost) >= maxLeft {
		clear(t.lost) // those tasks end by their deadlines
	}
	t.lost[name] = lost{number, newest}
}

// gaveUpAll is gaveUp for every member: this node was cut off.
func (t *memberTable) gaveUpAll(newest uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.byName {
		t.gaveUpLocked(name, m.number, newest)
	}
}

// takeGivenUp are the members with calls given up while this node was cut off.
func (t *memberTable) takeGivenUp() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]uint64{}
	for name, m := range t.byName {
		if l, ok := t.lost[name]; ok && l.number == m.number {
			out[name] = l.newest
			delete(t.lost, name)
		}
	}
	return out
}

// stillThere returns up to which id calls to a node that is back were given up; 0
// when there is nothing to say to it. back: it was no member before.
func (t *memberTable) stillThere(name string, number uint64, back bool) (newest uint64) {
	if !back {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.lost[name]
	if !ok {
		return 0
	}
	delete(t.lost, name)
	if l.number != number {
		return 0 // another life of it: what ran there is gone
	}
	return l.newest
}

// cancelCalls ends the tasks on another node for calls that have failed here.
func (n *Node) cancelCalls(node string, newest uint64) {
	n.answer(n.subjects.of(node), &wire.Frame{Kind: wire.CancelAll, ID: newest, From: n.name, FromNumber: n.number})
}

// cancelUpTo ends the tasks of calls that their caller has given up.
func (t *inboundTable) cancelUpTo(node string, number, newest uint64) {
	for _, c := range t.where(func(c *inboundCall) bool {
		return c.key.from == node && c.key.number == number && c.key.id <= newest
	}) {
		c.cancel("the caller was cut off and does not wait any more")
	}
}
