package casts

import (
	"sync"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// How many calls without an answer are here: they take memory, and Node.Stop waits for
// them. Each is counted once, as active or as a timer; a timer becomes active when its
// time comes (fired). When a loop ends, all of its counts are removed at once, because
// its tasks may never report their ends; a later report of one of them finds no load
// and changes nothing.

// held counts the calls of other nodes that have not ended here, by loop, so that
// those of a loop that ends can be forgotten at once. Invariant: the sums are those
// of byLoop.
type held struct {
	mu      sync.Mutex
	byLoop  map[*host.Loop]*load
	active  int    // in a queue, or running
	timers  int    // waiting for their time
	bytes   uint64 // of timers
	refused bool   // the node is leaving
	idle    chan struct{}
}

// load is what one loop holds.
type load struct {
	active, timers int
	bytes          uint64
}

func (t *held) init() { t.byLoop, t.idle = map[*host.Loop]*load{}, make(chan struct{}) }

// loadLocked gives the load of a loop that has one; nil after loopEnding.
func (t *held) loadLocked(h *host.Loop) *load {
	l := t.byLoop[h]
	if l == nil && !h.Ending() {
		l = &load{}
		t.byLoop[h] = l
	}
	return l
}

// admitLocked gives the load of a loop that may take a call, or says why not.
func (t *held) admitLocked(h *host.Loop) (*load, error) {
	if t.refused {
		return nil, fault.Codef(wire.Leaving, "the node is leaving; nothing ran")
	}
	l := t.loadLocked(h)
	if l == nil {
		return nil, fault.Codef(wire.Leaving, "the loop is being closed; nothing ran")
	}
	return l, nil
}

// enter counts n calls.
func (t *held) enter(h *host.Loop, n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, err := t.admitLocked(h)
	if err == nil {
		l.active += n
		t.active += n
	}
	return err
}

// enterTimer counts a call for later, unless there are too many.
func (t *held) enterTimer(h *host.Loop, cost uint64, limits Limits) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, err := t.admitLocked(h)
	switch {
	case err != nil:
		return err
	case t.timers >= limits.Timers:
		return fault.Codef(wire.Busy, "%w: %d calls for later are waiting (Config.MaxTimers)", fault.ErrBusy, t.timers)
	case t.bytes+cost > limits.TimerBytes:
		return fault.Codef(wire.Busy, "%w: calls for later hold %d bytes", fault.ErrBusy, t.bytes)
	}
	t.addTimerLocked(l, 1, cost)
	return nil
}

// addTimerLocked moves all four sums together. n is 1 or −1.
func (t *held) addTimerLocked(l *load, n int, cost uint64) {
	l.timers += n
	t.timers += n
	l.bytes += uint64(n) * cost // n is 1, or -1: the sum wraps back
	t.bytes += uint64(n) * cost
}

// fired makes a call for later one that is active.
func (t *held) fired(h *host.Loop, cost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.byLoop[h]; l != nil {
		t.addTimerLocked(l, -1, cost)
		l.active++
		t.active++
	}
}

// dropTimer takes a call for later out.
func (t *held) dropTimer(h *host.Loop, cost uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.byLoop[h]; l != nil {
		t.addTimerLocked(l, -1, cost)
	}
}

// leave takes an active call out.
func (t *held) leave(h *host.Loop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.byLoop[h]; l != nil {
		l.active--
		t.active--
		t.checkIdleLocked()
	}
}

// loopEnding forgets all of a loop. It returns how many waited for their time.
func (t *held) loopEnding(h *host.Loop) (timers int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.byLoop[h]
	if l == nil {
		return 0
	}
	delete(t.byLoop, h)
	t.active -= l.active
	t.timers -= l.timers
	t.bytes -= l.bytes
	t.checkIdleLocked()
	return l.timers
}

// refuse takes no more calls; idle is closed when the last active one ends. Timers
// are not waited for: their time may be a year away.
func (t *held) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = true
	t.checkIdleLocked()
}

// checkIdleLocked closes idle once, when nothing is active and nothing more comes.
func (t *held) checkIdleLocked() {
	if !t.refused || t.active > 0 {
		return
	}
	select {
	case <-t.idle:
	default:
		close(t.idle)
	}
}

func (t *held) count() (active, timers int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active, t.timers
}
