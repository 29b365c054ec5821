package actors

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// host is one loop with the actors that live on it. It is made with the first
// actor and removed with the last. The package reaches the loop through it only.
//
// A loop can close while actors live on it. From then on dead is set, nothing
// can be scheduled there, and the goroutine that reports the close ends the
// actors itself (loopClosed). Invariant: dead never becomes false again, and no
// actor is added to a dead host (reserve checks it under System.mu).
type host struct {
	loop  Loop
	run   Host               // of loop
	clock Clock              // nil: the system's clock counts
	dead  atomic.Bool        // the loop runs nothing any more; set under System.mu
	cells map[*cell]struct{} // under System.mu

	// Under System.mu; used for a Closer only.
	followed bool   // OnClose was called, or is about to be
	unhook   func() // takes OnClose back
}

func newHost(l Loop) *host {
	h := &host{loop: l, run: l.ActorHost(), cells: make(map[*cell]struct{})}
	h.clock, _ = h.run.(Clock)
	return h
}

// now is the time in ns by which the lives of the host's actors are measured.
func (s *System) now(h *host) int64 {
	if h.clock != nil {
		return int64(h.clock.Elapsed())
	}
	return int64(s.opts.Now().Sub(s.born)) // monotonic, unless Now hides it
}

// after is Host.After. Once the loop is closed, with its timers, it does nothing.
func (h *host) after(d time.Duration, fn func()) (cancel func()) {
	if h.dead.Load() {
		return func() {}
	}
	stop := h.run.After(d, fn)
	return func() {
		if !h.dead.Load() {
			stop()
		}
	}
}

// follow registers loopClosed with a loop that tells when it closes (Closer). Not under
// mu: a loop that is closed calls back at once.
func (s *System) follow(h *host) {
	l, ok := h.loop.(Closer)
	if !ok {
		return
	}
	s.mu.Lock()
	first := !h.followed
	h.followed = true
	s.mu.Unlock()
	if !first {
		return
	}
	remove := l.OnClose(func() { s.loopClosed(h, l.CloseReason()) })
	s.mu.Lock()
	gone := s.hosts[h.loop] != h
	h.unhook = remove
	s.mu.Unlock()
	if gone { // the last actor ended in between, and found no unhook to call
		remove()
	}
}

// LoopClosed ends every actor on a loop that is no Closer, with ErrLoopDied for
// its watchers: Stopping and Stopped run now, on the caller's goroutine, children
// before parents. Call it once, when the loop runs no callbacks any more: at the
// end of its Close, or when its goroutine has failed. It returns when they have
// ended. Messages that waited become dead letters, and open Asks get an error.
func (s *System) LoopClosed(l Loop) {
	s.mu.Lock()
	h := s.hosts[l]
	s.mu.Unlock()
	if h != nil {
		s.loopClosed(h, nil)
	}
}

// loopClosed ends the actors of a loop that runs nothing any more.
//
// Nothing schedules a step on such a loop, so this goroutine takes over: it asks
// the actors at the top to end, then handles the system messages of all actors,
// round after round, until a round finds none. protoactor does its life cycle
// with system messages, so this ends children, then parents, hooks included.
//
// Why guard.Drain: the hooks and the callbacks of watchers are user code, and one
// of them may end this goroutine with Goexit. The rest then runs on the way out;
// otherwise the other actors would never end and their watchers never be told.
func (s *System) loopClosed(h *host, cause error) {
	s.mu.Lock()
	h.dead.Store(true)
	s.mu.Unlock()
	reason := ErrLoopDied
	if cause != nil {
		reason = fmt.Errorf("%w: %w", ErrLoopDied, cause)
	}
	round := closingRound{sys: s, host: h, reason: reason, told: make(map[*cell]bool)}
	defer func() { // also after Goexit
		left := s.cellsOf(h) // in the middle of a spawn, which will see it: they never started
		guard.Drain(func() bool {
			if len(left) == 0 {
				return false
			}
			c := left[0]
			left = left[1:]
			c.terminate(c.endReason())
			return true
		})
	}()
	guard.Drain(round.step)
}

// closingRound is the state of loopClosed between two steps.
type closingRound struct {
	sys    *System
	host   *host
	reason error
	told   map[*cell]bool // actors at the top that were asked to end
	queue  []*cell        // what is left of this round
	worked bool           // this round has handled a message
}

// step handles the system messages of one actor; false: a whole round has found
// nothing to do.
func (r *closingRound) step() bool {
	if len(r.queue) == 0 {
		if r.queue != nil && !r.worked {
			return false
		}
		r.queue, r.worked = r.sys.cellsOf(r.host), false
		if len(r.queue) == 0 {
			return false
		}
	}
	c := r.queue[0]
	r.queue = r.queue[1:]
	if !c.started() {
		return true
	}
	if c.parent == nil && !r.told[c] {
		r.told[c] = true
		c.postSystem(&stopNote{r.reason})
	}
	if c.systemCount.Load() > 0 {
		r.worked = true
		c.runSystem()
	}
	return true
}

// cellsOf lists the actors of a host, youngest first.
func (s *System) cellsOf(h *host) []*cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*cell, 0, len(h.cells))
	for c := range h.cells {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *cell) int { return cmp.Compare(b.seq, a.seq) })
	return list
}
