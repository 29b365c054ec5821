package host

import (
	"errors"
	"slices"
	"sync"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Item is something for a loop that came from another node: a call, a call without
// an answer. Exactly one of Begin and Drop is called.
type Item interface {
	// Begin starts it, on the loop's goroutine. running: it goes on after Begin has
	// returned, and Ended follows.
	Begin() (running bool)
	// Drop says that it never runs. Any goroutine.
	Drop(why error)
}

// perTurn is how many items are begun in one callback: a turn goes on to what else is
// there.
const perTurn = 512

// Queue are the items of one loop that have not begun. The receiving goroutine puts
// them in, one callback of the loop at a time takes them out, in order. Invariant:
// posted is true exactly while a callback is posted or runs, so that items are begun
// by one callback only.
//
// When as many items run as may, the queue stands still until one has ended: what is
// in it keeps its credit, and so its senders wait.
type Queue struct {
	loop *loopnode.Loop

	mu      sync.Mutex
	items   []Item
	next    int // the first of items that has not begun
	posted  bool
	running int
	limit   int
	closed  error // why nothing begins any more; nil while it does
}

func newQueue(loop *loopnode.Loop, limit int) *Queue {
	return &Queue{loop: loop, limit: max(limit, 1)}
}

// Put adds an item. When the loop is closed, the item is dropped. Any goroutine.
func (q *Queue) Put(item Item) {
	q.mu.Lock()
	if q.closed != nil {
		why := q.closed
		q.mu.Unlock()
		item.Drop(why)
		return
	}
	if q.next > perTurn && q.next > len(q.items)/2 { // else a queue that is never empty grows for ever
		q.items, q.next = slices.Delete(q.items, 0, q.next), 0
	}
	q.items = append(q.items, item)
	err := q.postLocked()
	q.mu.Unlock()
	if err != nil {
		q.Close(err)
	}
}

// postLocked posts the callback that takes items out, where that is of use.
func (q *Queue) postLocked() error {
	if q.posted || q.next == len(q.items) || q.running >= q.limit {
		return nil
	}
	if err := q.loop.Ref().CallSoonThreadsafe(q.drain); err != nil {
		return err
	}
	q.posted = true
	return nil
}

// Full reports whether as many items run as may.
func (q *Queue) Full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running >= q.limit
}

// Len is how many items have not begun, and how many run.
func (q *Queue) Len() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.next, q.running
}

// drain begins items. Loop goroutine.
func (q *Queue) drain() {
	for range perTurn {
		item := q.take()
		if item == nil {
			break
		}
		if item.Begin() {
			q.mu.Lock()
			q.running++
			q.mu.Unlock()
		}
	}
	q.mu.Lock()
	q.posted = false
	err := q.postLocked()
	q.mu.Unlock()
	if err != nil {
		q.Close(err)
	}
}

// take gives the next item that may begin; nil when there is none.
func (q *Queue) take() Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next == len(q.items) || q.running >= q.limit {
		return nil
	}
	item := q.items[q.next]
	q.items[q.next] = nil
	if q.next++; q.next == len(q.items) {
		q.items, q.next = q.items[:0], 0
		if cap(q.items) > perTurn {
			q.items = nil // a burst must not hold memory for ever
		}
	}
	return item
}

// Ended notes that an item that ran has ended. Any goroutine.
func (q *Queue) Ended() {
	q.mu.Lock()
	q.running--
	err := q.postLocked()
	q.mu.Unlock()
	if err != nil {
		q.Close(err)
	}
}

// errClosed: the loop's queue was closed for no other reason.
var errClosed = errors.New("the loop is being closed")

// Close drops what has not begun and what comes.
func (q *Queue) Close(why error) {
	q.mu.Lock()
	if q.closed != nil {
		q.mu.Unlock()
		return
	}
	q.closed = why
	items := q.items[q.next:]
	q.items, q.next = nil, 0
	q.mu.Unlock()
	for _, item := range items {
		item.Drop(why)
	}
}
