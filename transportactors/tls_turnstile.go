package transportactors

import (
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// turnstile lets one handshake of a loop compute in a turn. Owned by the loop
// goroutine.
//
// Why: a step of a handshake takes a good part of a millisecond. A hundred
// clients that arrive together would stop everybody else for all of theirs; so
// others wait for one step at most, and the last of the hundred no longer.
type turnstile struct {
	waiting []func()
	turning bool // somebody passed in this turn
}

// pass calls fn now, or in a later turn.
func (s *turnstile) pass(l *loopnode.Loop, fn func()) {
	if s.turning {
		s.waiting = append(s.waiting, fn)
		return
	}
	s.turning = true
	l.CallSoon(func() { s.next(l) })
	fn()
}

func (s *turnstile) next(l *loopnode.Loop) {
	s.turning = false
	if len(s.waiting) == 0 {
		s.waiting = nil
		return
	}
	fn := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	s.pass(l, fn)
}

// turnstileKey is where a loop keeps its turnstile.
type turnstileKey struct{}

// turnstileOf is that of the loop. Loop goroutine.
func turnstileOf(l *loopnode.Loop) *turnstile {
	s, _ := loopaccess.Of(l).Attached(turnstileKey{}).(*turnstile)
	if s == nil {
		s = &turnstile{}
		loopaccess.Of(l).Attach(turnstileKey{}, s)
	}
	return s
}
