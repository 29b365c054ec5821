package core

// Timer is one entry of the timer heap. The zero value is not armed.
// Owned by the loop goroutine.
type Timer struct {
	Item
	When  int64 // loop time in nanoseconds
	state timerState
	// pos is the number of the timer's heap slot while it is armed and its
	// position in the ready queue once it is due.
	pos uint64
}

type timerState uint8

const (
	timerIdle timerState = iota
	timerArmed
	timerDue // moved to the ready queue
	timerCancelled
)

// Cancelled reports whether CancelTimer prevented the callback.
func (t *Timer) Cancelled() bool { return t.state == timerCancelled }

// entry is a heap slot by value: comparing two needs no pointer chase.
type entry struct {
	when int64
	seq  uint64 // breaks ties: equal deadlines are first in, first out
	t    *Timer
}

// dead reports whether the slot no longer stands for its timer: that one was
// cancelled, and perhaps armed again in another slot.
func (a entry) dead() bool { return a.t.state != timerArmed || a.t.pos != a.seq }

func (a entry) before(b entry) bool {
	return a.when < b.when || a.when == b.when && a.seq < b.seq
}

// sweepAbove is asyncio's rule: with more than this many timers, of which more
// than half are cancelled, the heap is rebuilt without them.
const sweepAbove = 100

// Timers is a 4-ary heap of deadlines: half the levels of a binary heap, and the
// four children of a slot lie side by side in memory.
//
// Cancelling a timer does not search the heap. Its slot stays and is dead: it no
// longer stands for its timer, which may even be armed again in another slot. Dead
// slots are dropped when they reach the head. Most timers are time limits that are
// cancelled long before they are due, so the heap would fill with them; when more
// than half of more than sweepAbove slots are dead, a sweep rebuilds the heap
// without them. Each sweep is paid for by the cancellations before it, so
// cancelling takes constant time on average. Owned by the loop goroutine.
type Timers struct {
	heap      []entry
	seq       uint64
	cancelled int // Invariant: the number of dead slots in heap.
}

// Len is the number of heap slots in use, cancelled ones included.
func (h *Timers) Len() int { return len(h.heap) }

// Add arms t for t.When. A timer that is armed already moves there; one that
// was cancelled or has fired may be armed again with a new Item.
func (h *Timers) Add(t *Timer) {
	if t.state == timerArmed {
		h.cancelled++ // its slot is dead from now on
	}
	t.state, t.pos = timerArmed, h.seq
	h.heap = append(h.heap, entry{t.When, h.seq, t})
	h.seq++
	h.up(len(h.heap) - 1)
}

// cancel marks an armed timer; the slot goes later.
func (h *Timers) cancel(t *Timer) {
	t.state = timerCancelled
	t.Item = Item{} // a cancelled timer keeps nothing alive
	h.cancelled++
}

// Next is the earliest live deadline.
func (h *Timers) Next() (when int64, ok bool) {
	h.tidy()
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].when, true
}

// popDue takes the first timer whose deadline is not after limit.
func (h *Timers) popDue(limit int64) *Timer {
	for len(h.heap) > 0 && h.heap[0].when <= limit {
		if e := h.pop(); !e.dead() {
			return e.t
		}
		h.cancelled--
	}
	return nil
}

// tidy sweeps when more than half is dead, and clears the head of the heap.
func (h *Timers) tidy() {
	if n := len(h.heap); n > sweepAbove && h.cancelled*2 > n {
		h.sweep()
		return
	}
	for len(h.heap) > 0 && h.heap[0].dead() {
		h.pop()
		h.cancelled--
	}
}

func (h *Timers) sweep() {
	live := h.heap[:0]
	for _, e := range h.heap {
		if !e.dead() {
			live = append(live, e)
		}
	}
	clear(h.heap[len(live):])
	h.heap, h.cancelled = live, 0
	if cap(h.heap) > 4*len(h.heap)+minRing {
		h.heap = append(make([]entry, 0, 2*len(h.heap)+minRing), h.heap...)
	}
	for i := (len(h.heap) - 2) / arity; i >= 0 && len(h.heap) > 1; i-- {
		h.down(i)
	}
}

// Clear drops every timer.
func (h *Timers) Clear() {
	for _, e := range h.heap {
		if !e.dead() {
			e.t.state, e.t.Item = timerCancelled, Item{}
		}
	}
	h.heap, h.cancelled = nil, 0
}

const arity = 4

func (h *Timers) pop() entry {
	top := h.heap[0]
	last := len(h.heap) - 1
	h.heap[0] = h.heap[last]
	h.heap[last] = entry{}
	h.heap = h.heap[:last]
	if last > 1 {
		h.down(0)
	}
	return top
}

func (h *Timers) up(i int) {
	e := h.heap[i]
	for i > 0 {
		parent := (i - 1) / arity
		if !e.before(h.heap[parent]) {
			break
		}
		h.heap[i] = h.heap[parent]
		i = parent
	}
	h.heap[i] = e
}

func (h *Timers) down(i int) {
	heap := h.heap
	e := heap[i]
	for {
		first := i*arity + 1
		if first >= len(heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(heap)); c++ {
			if heap[c].before(heap[least]) {
				least = c
			}
		}
		if !heap[least].before(e) {
			break
		}
		heap[i] = heap[least]
		i = least
	}
	heap[i] = e
}
