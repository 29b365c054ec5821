// Package inbox is the queue from other goroutines to a loop: many producers, one
// consumer, first in first out.
//
// A producer appends under a lock. It wakes the consumer only when the consumer sleeps,
// because a wake-up is a system call: the consumer announces a sleep (Sleep), looks
// into the queue once more, and only then waits. The first producer that sees the
// announcement changes it (polling to notified) and wakes; later producers see
// notified and do not wake. So one sleep costs one wake-up, however many producers
// there are, and a consumer that does not sleep costs none.
//
// Why a mutex and two slices: an uncontended lock costs about as much as the
// two atomic exchanges of a linked queue, the consumer takes a whole batch for
// one lock, nothing is allocated per item, and the garbage collector sees two
// slices instead of a chain.
package inbox

import (
	"sync"
	"sync/atomic"
)

// The consumer's state. Only the consumer sets running and polling; a producer sets
// notified in place of polling, and the producer that did so wakes.
const (
	running  uint32 = iota // the consumer will look before it sleeps
	polling                // the consumer sleeps or is about to
	notified               // the consumer sleeps and has been woken once
)

// Inbox is a queue of T. Put may be called from any goroutine; every other
// method belongs to the consumer, the loop goroutine. Make one with New.
type Inbox[T any] struct {
	wake func()

	mu     sync.Mutex
	in     []T  // what was put since the last Drain
	closed bool // Invariant: once true, in stays empty.

	// pending mirrors len(in) > 0. It is written under mu and read without it.
	pending atomic.Bool
	state   atomic.Uint32

	out   []T // empty, to take the place of in at the next Drain; consumer only
	quiet int // Drains in a row that used an eighth of a large slice or less
}

// New makes an open inbox. wake is called by a producer, at most once for each
// sleep of the consumer; it must be safe from any goroutine and must not block.
func New[T any](wake func()) *Inbox[T] {
	return &Inbox[T]{wake: wake}
}

// Put appends v and reports true; after Close it reports false and keeps
// nothing. Any goroutine may call it. It does not wait, and it wakes the consumer only
// when the consumer sleeps.
func (b *Inbox[T]) Put(v T) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.in = append(b.in, v)
	if len(b.in) == 1 {
		b.pending.Store(true)
	}
	b.mu.Unlock()
	// Why no wake-up is lost: Go's atomics are sequentially consistent. Here
	// pending is stored before state is loaded, in Sleep state is stored before
	// pending is loaded; one of the two sees the other.
	if b.state.Load() == polling && b.state.CompareAndSwap(polling, notified) {
		b.wake()
	}
	return true
}

// Pending reports whether Drain would find something. One atomic load.
func (b *Inbox[T]) Pending() bool { return b.pending.Load() }

// Drain hands out everything put before the call, in order, and returns how
// many that were. What is put meanwhile, also by each itself, waits for the
// next Drain. It must not be called from inside each.
func (b *Inbox[T]) Drain(each func(T)) int {
	if !b.pending.Load() {
		return 0
	}
	b.mu.Lock()
	batch := b.in
	b.in, b.out = b.out[:0], nil
	b.pending.Store(false)
	b.mu.Unlock()
	for i := range batch {
		each(batch[i])
	}
	clear(batch) // what was handed out is not kept alive here
	b.keep(batch)
	return len(batch)
}

const (
	smallCap   = 1024 // slices up to this capacity are kept for ever
	quietLimit = 64   // after more than this many small Drains in a row a large slice is dropped
)

// keep stores the emptied slice for the next Drain. It drops a slice that has been much
// larger than needed for a while: a burst must not hold memory for ever.
func (b *Inbox[T]) keep(batch []T) {
	if cap(batch) <= smallCap || len(batch) > cap(batch)/8 {
		b.quiet = 0
	} else if b.quiet++; b.quiet > quietLimit {
		b.out = nil // quiet stays: the next Drain may drop the other slice, too
		return
	}
	b.out = batch[:0]
}

// Sleep announces that the consumer is about to wait and reports true: from
// now on the next Put wakes. It reports false when something is pending; then
// the consumer must not wait and the announcement is withdrawn.
//
// Why the announcement comes before the look, and there is no look before it: only
// this order sees a Put that comes between the two; see Put.
func (b *Inbox[T]) Sleep() bool {
	b.state.Store(polling)
	if b.pending.Load() {
		b.state.Store(running)
		return false
	}
	return true
}

// Awake ends what Sleep began. Puts wake nobody until the next Sleep.
func (b *Inbox[T]) Awake() { b.state.Store(running) }

// Close refuses every later Put and hands out what was left, in order.
// A second Close does nothing.
func (b *Inbox[T]) Close(each func(T)) {
	b.mu.Lock()
	left := b.in
	b.in, b.out, b.closed = nil, nil, true
	b.pending.Store(false)
	b.mu.Unlock()
	b.state.Store(running)
	for _, v := range left {
		each(v)
	}
}
