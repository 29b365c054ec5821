package admin

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// What a node notices about itself once a second, from a timer of the loop LoopName:
// loops that come, go and do not move, counters that should not grow, and actors that
// failed. It reads one atomic number of each loop and asks nobody, so a second of it
// costs some microseconds.
//
// How is a blocked loop seen from outside? A loop with a watchdog changes a number with
// each batch of callbacks, and the number is odd while callbacks run. The same odd number
// at three looks in a row means that one callback has run for two seconds at least: the
// loop is noted as blocked, with the function in which its goroutine is. Finding that
// out stops all goroutines for a moment, so it is done once, when the loop is found
// blocked, and not at each look. The first other number afterwards ends it.
//
// Why counters are looked at and do not report: what they count can come by the thousand
// in a second, and is counted anyway. Two readings and a subtraction say the same.

// watchEvery is how often it looks; a loop is blocked when its callback is the same
// one at blockedLooks looks behind the first.
const (
	watchEvery   = time.Second
	blockedLooks = 2
	maxFailures  = 64 // of actors, between two looks; more are counted by their system
)

// blocked is a loop whose callback does not return.
type blocked struct {
	Since time.Time `json:"since"`
	Frame string    `json:"frame"`
}

// watcher is what the last look saw. mu guards stuck, which questions read; the rest is
// of the loop LoopName.
type watcher struct {
	loops    map[string]*beat
	counters cluster.Stats
	failures *actors.Subscription[actors.Failure]

	mu    sync.Mutex
	stuck map[string]blocked // made by Open: a question may come before the first look
}

// beat is a loop and what it showed at the last look.
type beat struct {
	loop  *loopnode.Loop
	n     uint64
	since time.Time
	looks int
}

// blockedLoops are the loops that are blocked now.
func (w *watcher) blockedLoops() map[string]blocked {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]blocked{}
	for name, b := range w.stuck {
		out[name] = b
	}
	return out
}

// startWatch begins to look, on the loop LoopName, until it is closed. The loops that
// there are already are entered without an event: they came with the node.
func (s *Server) startWatch(loop *loopnode.Loop) {
	w := &s.watch
	w.loops, w.counters = map[string]*beat{}, s.node.Stats()
	w.failures = s.node.Actors().Failures(maxFailures)
	loop.OnClose(w.failures.Close)
	for _, name := range s.node.Loops() {
		s.enter(name)
	}
	var look func()
	look = func() {
		s.lookAtLoops(time.Now())
		s.lookAtCounters(s.node.Stats())
		s.lookAtActors()
		loop.CallLater(watchEvery, look)
	}
	loop.CallLater(watchEvery, look)
}

// enter takes a loop into the watch.
func (s *Server) enter(name string) {
	if ref, ok := s.node.Loop(name); ok {
		if l, local := ref.Local(); local {
			s.watch.loops[name] = &beat{loop: l}
		}
	}
}

// lookAtLoops compares the loops of the node with those of the last look. One that was
// closed and made anew between two looks is another loop, whose numbers begin anew.
func (s *Server) lookAtLoops(now time.Time) {
	w, names := &s.watch, s.node.Loops()
	for name := range w.loops {
		if !slices.Contains(names, name) {
			delete(w.loops, name)
			w.settle(name)
			s.note(Event{Code: codeLoopEnded, Subject: s.node.Name() + "/" + name, Text: "loop " + name + " has ended"})
		}
	}
	for _, name := range names {
		b := w.loops[name]
		if b == nil || b.loop.IsClosed() {
			w.settle(name)
			s.enter(name)
			s.note(Event{Code: codeLoopMade, Subject: s.node.Name() + "/" + name, Text: "loop " + name + " was made"})
			continue
		}
		s.lookAtLoop(name, b, now)
	}
}

// lookAtLoop compares the beat of one loop with that of the last look.
func (s *Server) lookAtLoop(name string, b *beat, now time.Time) {
	id := s.node.Name() + "/" + name
	n, busy := loopaccess.Of(b.loop).Beat()
	if n != b.n || !busy {
		b.n, b.since, b.looks = n, now, 0
		if was, ok := s.watch.settle(name); ok {
			took := now.Sub(was.Since).Round(time.Second)
			s.note(Event{Code: codeLoopMoves, Subject: id, Text: fmt.Sprintf("loop %s goes on after about %v", name, took), Why: was.Frame})
		}
		return
	}
	if b.looks++; b.looks != blockedLooks {
		return
	}
	frame, _ := loopaccess.Of(b.loop).StuckAt()
	s.watch.mu.Lock()
	s.watch.stuck[name] = blocked{b.since, frame}
	s.watch.mu.Unlock()
	s.note(Event{Code: codeLoopBlocked, Subject: id, Text: fmt.Sprintf("a callback of loop %s has not returned for %v", name, now.Sub(b.since).Round(time.Second)), Why: frame})
}

// settle takes a loop from those that are blocked.
func (w *watcher) settle(name string) (blocked, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.stuck[name]
	delete(w.stuck, name)
	return b, ok
}

// lookAtCounters notes what grew that should not. One event tells of a whole second,
// so a storm of refusals does not push everything else out of the ring.
func (s *Server) lookAtCounters(now cluster.Stats) {
	was := s.watch.counters
	s.watch.counters = now
	for _, c := range []struct {
		code     string
		was, now uint64
		text     string
	}{
		{codeCallsRefused, was.Refused, now.Refused, "refused calls of other nodes"},
		{codeCallsLost, was.Lost + was.Refusals, now.Lost + now.Refusals, "calls without an answer and messages that did not run"},
		{codeRightMissing, was.NoRight, now.NoRight, "questions of nodes without the right to ask them"},
		{codeNATSDisconnected, was.Disconnects, now.Disconnects, "lost connections to NATS"},
		{codeNATSReconnected, was.Reconnects, now.Reconnects, "connections to NATS that are back"},
		{codeNATSDropped, was.Dropped, now.Dropped, "messages that NATS dropped"},
	} {
		if c.now > c.was {
			s.note(Event{Code: c.code, Subject: s.node.Name(), Text: c.text + ": " + strconv.FormatUint(c.now-c.was, 10), Count: c.now - c.was})
		}
	}
}

// lookAtActors notes the failures of actors since the last look.
func (s *Server) lookAtActors() {
	for {
		select {
		case f, open := <-s.watch.failures.C():
			if !open {
				return
			}
			if !f.Normal {
				s.note(Event{Code: codeActorFailed, Subject: f.Who.String(), Text: fmt.Sprintf("actor failed: %v", f.Directive), Why: fmt.Sprint(f.Reason)})
			}
		default:
			return
		}
	}
}

// itoa writes a number in decimal digits.
func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
