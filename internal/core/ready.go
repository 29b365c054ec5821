package core

// Meta is what a queued callback carries besides its function: nil for most.
// The core never looks inside.
type Meta any

// Item is one callback waiting for its turn.
type Item struct {
	Run  func()
	Meta Meta
}

// minRing is the smallest ring; a power of two.
const minRing = 64

// Ready is the ready queue: a ring in which every item has a position that is
// never used twice, so that a handle can cancel its item without a pointer
// into the queue. Owned by the loop goroutine.
type Ready struct {
	ring []Item
	head uint64 // position of the next item to run
	tail uint64 // position the next Push gets
	// Invariant: tail-head <= len(ring), len(ring) is a power of two.
}

// Len is how many items wait, cancelled ones included.
func (q *Ready) Len() int { return int(q.tail - q.head) }

// Push appends an item and returns its position.
func (q *Ready) Push(it Item) uint64 {
	if q.tail-q.head == uint64(len(q.ring)) {
		q.resize(max(minRing, 2*len(q.ring)))
	}
	pos := q.tail
	q.ring[pos&uint64(len(q.ring)-1)] = it
	q.tail++
	return pos
}

// Pop takes the first item. Run is nil when it was cancelled.
func (q *Ready) Pop() Item {
	slot := &q.ring[q.head&uint64(len(q.ring)-1)]
	it := *slot
	*slot = Item{} // a callback that ran keeps nothing alive
	q.head++
	return it
}

// Cancel drops the function at pos; false when it has already left the queue.
func (q *Ready) Cancel(pos uint64) bool {
	if pos < q.head || pos >= q.tail {
		return false
	}
	slot := &q.ring[pos&uint64(len(q.ring)-1)]
	live := slot.Run != nil
	*slot = Item{}
	return live
}

// Shrink gives memory back after a burst; called between batches.
func (q *Ready) Shrink() {
	if len(q.ring) > 4096 && q.Len() < len(q.ring)/8 {
		q.resize(len(q.ring) / 2)
	}
}

func (q *Ready) resize(n int) {
	ring := make([]Item, n)
	for pos := q.head; pos != q.tail; pos++ {
		ring[pos&uint64(n-1)] = q.ring[pos&uint64(len(q.ring)-1)]
	}
	q.ring = ring
}

// Clear drops everything that waits and returns how many items that were.
func (q *Ready) Clear() int {
	n := q.Len()
	q.ring, q.head = nil, q.tail
	return n
}
