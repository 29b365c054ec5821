package actors

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// host is a loop as the home of actors.
type host struct {
	loop  Loop
	dead  atomic.Bool        // the loop runs nothing any more
	cells map[*cell]struct{} // under System.mu

	// Under System.mu; used for a Closer only.
	followed bool   // somebody calls OnClose
	unhook   func() // takes it back
}

// follow makes a loop that can tell it end its actors when it closes. Not under
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
	if gone {
		remove()
	}
}

// after is Loop.After, and nothing at all once the loop is gone with its timers.
func (h *host) after(d time.Duration, fn func()) (cancel func()) {
	if h.dead.Load() {
		return func() {}
	}
	stop := h.loop.After(d, fn)
	return func() {
		if !h.dead.Load() {
			stop()
		}
	}
}

func newHost(l Loop) *host { return &host{loop: l, cells: make(map[*cell]struct{})} }

// LoopClosed ends every actor on a loop that is no Closer, with ErrLoopDied for its watchers:
// Stopping and Stopped run now, on the caller's goroutine, children before
// parents. Call it once, when the loop runs no callbacks any more: at the end of
// its Close, or when its goroutine has failed. It returns when they have ended.
// Messages that waited become dead letters, and those who asked get an error.
func (s *System) LoopClosed(l Loop) {
	s.mu.Lock()
	h := s.hosts[l]
	s.mu.Unlock()
	if h != nil {
		s.loopClosed(h, nil)
	}
}

// loopClosed is LoopClosed with what the loop says of it.
func (s *System) loopClosed(h *host, why error) {
	s.mu.Lock()
	h.dead.Store(true)
	s.mu.Unlock()
	if why == nil {
		why = ErrLoopDied
	} else {
		why = fmt.Errorf("%w: %w", ErrLoopDied, why)
	}
	told := make(map[*cell]bool)
	for s.wind(h, why, told) {
	}
	for _, c := range s.cellsOf(h) {
		c.bury(c.reason()) // in the middle of a spawn, which will see it: it never started
	}
}

// wind tells the tops to end and runs the system messages that wait, once over
// all actors; false means that nothing was left to do.
func (s *System) wind(h *host, why error, told map[*cell]bool) (progress bool) {
	for _, c := range s.cellsOf(h) {
		if !c.started() {
			continue
		}
		if c.parent == nil && !told[c] {
			told[c] = true
			c.postSystem(&stopNote{why})
		}
		if c.sysN.Load() > 0 {
			c.runSystem()
			progress = true
		}
	}
	return progress
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
