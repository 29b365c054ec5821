package loopaccess

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// What the admin API asks a loop. Nothing here is kept or counted while nobody asks,
// but for one number in a task that waits (the turn in which it began to wait).

// Load is what a loop has to do.
type Load struct {
	Ready   int // callbacks that are queued for the next turn
	Timers  int // armed
	Watched int // descriptors
	Tasks   int
}

// TaskInfo is a task that has not ended.
type TaskInfo struct {
	ID        uint64 // unique on its loop, never used again
	Name      string
	State     string        // running, ready (its step is queued), waiting, cancelling
	Waits     string        // the function of this module that it waits in; "" when it does not wait
	For       time.Duration // how long it has waited, at least
	Known     bool          // For is known: the loop's watchdog has looked meanwhile
	Parent    uint64        // the task that made it; 0: none of this loop
	AwaitedBy []uint64      // tasks of this loop that wait for it, directly or through a gather; at most WaitersShown
	Circle    bool          // it waits for itself, through others, and will wait for ever
	Stack     []string      // where it is, the newest call first: function (file:line)
}

// WaitersShown bounds TaskInfo.AwaitedBy: a million tasks may wait for one.
const WaitersShown = 100

// Meter measures turns while it is set. The loop writes it, anybody may read it.
type Meter struct {
	// Until is when the loop takes it off by itself, by the loop's clock.
	Until time.Duration

	Turns     atomic.Uint64
	Callbacks atomic.Uint64
	Busy      atomic.Int64 // nanoseconds in callbacks
	Longest   atomic.Int64 // the longest batch
	Batches   Histogram    // how long batches took
}

// Histogram counts durations by powers of two of a microsecond: bucket i holds those
// below 2^i µs that fit no smaller one. Any goroutine.
type Histogram [Buckets]atomic.Uint64

// Buckets is how many there are; the last one holds everything longer, from about 16 s on.
const Buckets = 25

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h[min(bits.Len64(uint64(max(d.Microseconds(), 0))), Buckets-1)].Add(1)
}

// Counts are the numbers of now.
func (h *Histogram) Counts() (out [Buckets]uint64) {
	for i := range h {
		out[i] = h[i].Load()
	}
	return out
}
