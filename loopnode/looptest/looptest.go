// Package looptest has a loop whose clock is virtual and whose poller is a
// script: tests of code with timers take no time and cannot flake.
//
// New makes such a loop. Time stands still while callbacks run and jumps to the
// next deadline when the loop would sleep.
package looptest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// ErrDeadlock: the loop would sleep for ever and nothing is scheduled: every other
// goroutine of the process waits for another one, or nobody called from elsewhere
// within 5 s of real time (executors are not virtual). Time limits of package context
// run on the real clock and are not waited for: use loopnode.Timeout. RunForever
// returns it, wrapped.
var ErrDeadlock = errors.New("looptest: nothing is scheduled and nothing can happen: the loop would sleep for ever")

// patience is how long a loop with nothing to do waits for other goroutines,
// in real time, while one of them may still do something.
const patience = 5 * time.Second

// New makes a loop on a World: cfg.Backend when that is a *World, otherwise one of
// its own; another Backend is loopnode.ErrInvalidArgument. The virtual clock of a
// new World starts at 0. The watchdog is off unless cfg says otherwise.
func New(cfg loopnode.Config) (*loopnode.Loop, *World, error) {
	w, is := cfg.Backend.(*World)
	switch {
	case cfg.Backend == nil:
		w = &World{}
	case !is || w == nil:
		return nil, nil, fmt.Errorf("%w: looptest.New needs a *World as Backend, not a %T", loopnode.ErrInvalidArgument, cfg.Backend)
	}
	cfg.Backend = w
	if cfg.Stuck == 0 {
		cfg.Stuck = -1
	}
	l, err := loopnode.New(cfg)
	return l, w, err
}

// World is the virtual clock and the fake poller under one loop. The zero value
// works. Its methods belong to the loop goroutine, except Wake, Now and Advance.
type World struct {
	mu    sync.Mutex
	now   loopnode.Instant
	woken chan struct{} // made when first asked for
	fds   map[int]*registration
	ready []event
	waits []time.Duration
}

type registration struct {
	owner any
	want  loopnode.Events
}

type event struct {
	fd    int
	ready loopnode.Events
}

// Now is the virtual clock. Any goroutine.
func (w *World) Now() loopnode.Instant {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance moves the clock on by d, as a callback that takes d would. Any goroutine.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(max(d, 0))
}

// Ready makes fd ready in the loop's next turn, once. The descriptor is a
// number and nothing more.
func (w *World) Ready(fd int, events loopnode.Events) {
	w.ready = append(w.ready, event{fd, events})
}

// Waits are the time-outs of all polls so far, in order: 0 did not wait,
// negative had no limit.
func (w *World) Waits() []time.Duration { return w.waits }

// Wait hands out what Ready queued, or jumps.
func (w *World) Wait(timeout time.Duration, each func(owner any, ready loopnode.Events)) (int, error) {
	w.waits = append(w.waits, timeout)
	if n := w.deliver(each); n > 0 {
		return n, nil
	}
	select {
	case <-w.bell():
		return 0, nil
	default:
	}
	if timeout >= 0 {
		w.Advance(timeout)
		return 0, nil
	}
	return 0, w.sleep()
}

// sleep waits for Wake, as long as another goroutine may still call it.
func (w *World) sleep() error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	start, still := time.Now(), 0
	for {
		select {
		case <-w.bell():
			return nil
		case <-tick.C:
		}
		if still++; !allWait() {
			still = 0
		}
		if still >= looks || time.Since(start) >= patience {
			return ErrDeadlock
		}
	}
}

// bell is what Wake rings. Any goroutine.
func (w *World) bell() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.woken == nil {
		w.woken = make(chan struct{}, 1)
	}
	return w.woken
}

func (w *World) deliver(each func(any, loopnode.Events)) (n int) {
	events := w.ready
	w.ready = nil
	for _, e := range events {
		if r := w.fds[e.fd]; r != nil && r.want&e.ready != 0 {
			each(r.owner, r.want&e.ready)
			n++
		}
	}
	return n
}

// Wake ends a Wait. Any goroutine.
func (w *World) Wake() error {
	select {
	case w.bell() <- struct{}{}:
	default:
	}
	return nil
}

// Add registers a descriptor.
func (w *World) Add(fd int, want loopnode.Events, owner any) (loopnode.Token, error) {
	if w.fds[fd] != nil {
		return loopnode.Token{}, fmt.Errorf("looptest: descriptor %d is registered already", fd)
	}
	if w.fds == nil {
		w.fds = map[int]*registration{}
	}
	w.fds[fd] = &registration{owner, want}
	return Token(fd), nil
}

// Modify changes what a descriptor is watched for.
func (w *World) Modify(t loopnode.Token, want loopnode.Events) error {
	r := w.fds[t.Slot()]
	if r == nil {
		return fmt.Errorf("looptest: descriptor %d is not registered", t.Slot())
	}
	r.want = want
	return nil
}

// Remove forgets a descriptor.
func (w *World) Remove(t loopnode.Token) error {
	delete(w.fds, t.Slot())
	return nil
}

// Close does nothing: there is nothing to give back.
func (w *World) Close() error { return nil }
