package transportactors

import "github.com/loopmesh/loopmesh/loopnode"

// ender is what a loop that closes must end: a connection or a server.
type ender interface {
	Loop() *loopnode.Loop
	loopClosed()
}

// hub is what lives on one loop, with one hook in the loop for all of it. The
// loop keeps it. Owned by the loop goroutine.
type hub struct {
	members map[ender]struct{}
	remove  func()
	shakes  turnstile
	closing bool // the loop closes: it walks its hooks, so none is taken back
}

// hubKey is where a loop keeps its hub. Invariant: it does while the hub has members.
type hubKey struct{}

// hubOf is the hub of l, nil when it has none. Loop goroutine.
func hubOf(l *loopnode.Loop) *hub {
	h, _ := l.Attached(hubKey{}).(*hub)
	return h
}

// enter puts m under the care of its loop. Loop goroutine.
func enter(m ender) {
	l := m.Loop()
	h := hubOf(l)
	if h == nil {
		h = &hub{members: map[ender]struct{}{}}
		l.Attach(hubKey{}, h)
		h.remove = l.OnClose(h.close)
	}
	h.members[m] = struct{}{}
}

// leave takes m out. Loop goroutine.
func leave(m ender) {
	l := m.Loop()
	h := hubOf(l)
	if h == nil {
		return
	}
	delete(h.members, m)
	if len(h.members) == 0 {
		if !h.closing {
			h.remove()
		}
		l.Attach(hubKey{}, nil)
	}
}

// close ends everything on a loop that closes. A protocol that leaves by Goexit
// or a fatal panic does not keep the others from their end.
func (h *hub) close() {
	h.closing = true
	defer func() {
		if len(h.members) > 0 {
			h.close()
		}
	}()
	for m := range h.members {
		delete(h.members, m) // so that none is asked twice
		m.loopClosed()
	}
}
