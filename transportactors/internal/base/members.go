package base

import (
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Member is what lives on a loop and must end when the loop closes: a
// transport, a server, the start of a child.
type Member interface {
	Loop() *loopnode.Loop
	// LoopClosed ends the member at once: no turn of the loop follows. The member
	// is out of the set already.
	LoopClosed()
}

// members is the set of members of one loop, with one close hook in the loop
// for all of them. Owned by the loop goroutine.
type members struct {
	set     map[Member]struct{}
	remove  func() // takes the close hook back
	closing bool   // the loop runs its close hooks now, so the hook is not taken back
}

// membersKey is the key of a loop's set in Loop.Attach. Invariant: the loop has
// a set exactly while the set has members.
type membersKey struct{}

// membersOf is the set of l, nil when l has no member. Loop goroutine.
func membersOf(l *loopnode.Loop) *members {
	s, _ := loopaccess.Of(l).Attached(membersKey{}).(*members)
	return s
}

// Enter puts m into the set of its loop. Loop goroutine.
func Enter(m Member) {
	l := m.Loop()
	s := membersOf(l)
	if s == nil {
		s = &members{set: map[Member]struct{}{}}
		loopaccess.Of(l).Attach(membersKey{}, s)
		s.remove = l.OnClose(s.close)
	}
	s.set[m] = struct{}{}
}

// Leave takes m out of the set of its loop. Loop goroutine.
func Leave(m Member) {
	l := m.Loop()
	s := membersOf(l)
	if s == nil {
		return
	}
	delete(s.set, m)
	if len(s.set) == 0 {
		if !s.closing {
			s.remove()
		}
		loopaccess.Of(l).Attach(membersKey{}, nil)
	}
}

// Members are the members of l that have type T, in no order. Loop goroutine.
func Members[T any](l *loopnode.Loop) []T {
	s := membersOf(l)
	if s == nil {
		return nil
	}
	var out []T
	for m := range s.set {
		if t, ok := m.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// close ends every member of a loop that closes. When the protocol of one
// leaves by runtime.Goexit or a fatal panic, the deferred call ends the rest.
func (s *members) close() {
	s.closing = true
	defer func() {
		if len(s.set) > 0 {
			s.close()
		}
	}()
	for m := range s.set {
		delete(s.set, m) // so that no member is ended twice
		m.LoopClosed()
	}
}
