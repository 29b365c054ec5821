package transportactors

import (
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// handshakeTurns lets one handshake of a loop do one step in each turn. Owned by the
// loop goroutine.
//
// Why: a step of a handshake takes a good part of a millisecond. If a hundred
// clients arrive together, all other connections would wait for a hundred steps. With
// one step a turn they wait for one, and the last handshake finishes no later than
// before.
type handshakeTurns struct {
	waiting []func()
	turning bool // a step was done in this turn
}

// pass calls fn, one step of a handshake, now or in a later turn.
func (s *handshakeTurns) pass(l *loopnode.Loop, fn func()) {
	if s.turning {
		s.waiting = append(s.waiting, fn)
		return
	}
	s.turning = true
	l.CallSoon(func() { s.next(l) })
	fn()
}

func (s *handshakeTurns) next(l *loopnode.Loop) {
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

// handshakeTurnsKey is where a loop keeps its handshakeTurns.
type handshakeTurnsKey struct{}

// handshakeTurnsOf is the one of l. Loop goroutine.
func handshakeTurnsOf(l *loopnode.Loop) *handshakeTurns {
	s, _ := loopaccess.Of(l).Attached(handshakeTurnsKey{}).(*handshakeTurns)
	if s == nil {
		s = &handshakeTurns{}
		loopaccess.Of(l).Attach(handshakeTurnsKey{}, s)
	}
	return s
}
