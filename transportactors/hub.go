package transportactors

import (
	"sync"

	"github.com/loopmesh/loopmesh/loopnode"
)

// ender is what a loop that closes must end: a connection or a server.
type ender interface {
	Loop() *loopnode.Loop
	loopClosed()
}

// hub is what lives on one loop, with one hook in the loop for all of it.
type hub struct {
	members map[ender]struct{} // owned by the loop goroutine
	remove  func()
	closing bool // the loop closes: it walks its hooks, so none is taken back
}

// hubs finds the hub of a loop. It is process-wide because a loop knows nothing
// of transports. Invariant: a hub is in it while it has members.
var hubs = struct {
	sync.Mutex
	of map[*loopnode.Loop]*hub
}{of: map[*loopnode.Loop]*hub{}}

// enter puts m under the care of its loop. Loop goroutine.
func enter(m ender) {
	l := m.Loop()
	hubs.Lock()
	h := hubs.of[l]
	if h == nil {
		h = &hub{members: map[ender]struct{}{}}
		hubs.of[l] = h
	}
	hubs.Unlock()
	if h.remove == nil {
		h.remove = l.OnClose(h.close)
	}
	h.members[m] = struct{}{}
}

// leave takes m out. Loop goroutine.
func leave(m ender) {
	l := m.Loop()
	hubs.Lock()
	h := hubs.of[l]
	hubs.Unlock()
	if h == nil {
		return
	}
	delete(h.members, m)
	if len(h.members) == 0 {
		if !h.closing {
			h.remove()
		}
		hubs.Lock()
		delete(hubs.of, l)
		hubs.Unlock()
	}
}

// close ends everything on a loop that closes.
func (h *hub) close() {
	h.closing = true
	for m := range h.members {
		m.loopClosed()
	}
}
