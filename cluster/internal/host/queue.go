package host

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Item is something for a loop that came from another node: a call, a call without
// an answer. Exactly one of Begin and Drop is called.
type Item interface {
	// Begin starts it, on the loop's goroutine. running: it goes on after Begin has
	// returned, and Ended follows.
	Begin(turn *Turn) (running bool)
	// Drop says that it never runs. Any goroutine.
	Drop(why error)
}

// Turn gathers what the items give back that one callback begins, so that a flow is
// told once and not for each of them. Loop goroutine.
type Turn struct {
	of   Flow
	done credit.Amount
}

// Flow is who grants credit again, see flows.Inflow.
type Flow interface{ Took(done credit.Amount) }

// Took notes that the loop has taken a message of a flow. The flow hears of it when the
// callback ends, or takes an item of another flow.
func (t *Turn) Took(of Flow, cost uint64) {
	if t.of != of {
		t.tell()
		t.of = of
	}
	t.done.Messages++
	t.done.Bytes += cost
}

func (t *Turn) tell() {
	if t.done.Messages > 0 {
		t.of.Took(t.done)
	}
	*t = Turn{}
}

// perTurn is how many items are begun in one callback: a turn goes on to what else is
// there.
const perTurn = 512

// Queue are the items of one loop that have not begun. The receiving goroutine puts
// them in, as many as came in one message; one callback of the loop at a time takes up
// to perTurn of them out and begins them, in order. Invariant: posted is true exactly
// while a callback is posted or runs, so that items are begun by one callback only.
//
// When as many items run as may, none begins until one has ended: those in the queue
// keep their credit, and so their senders wait.
type Queue struct {
	loop *loopnode.Loop

	mu      sync.Mutex
	items   []Item
	next    int // the first of items that has not been taken out
	posted  bool
	running int // taken out, and not known to have ended or not to run
	begins  int // of running: taken out by the drain that is at work; most of them only begin
	limit   int
	closed  atomic.Pointer[error] // why nothing begins any more; nil while it does

	taken []Item // what drain begins. Loop goroutine
}

func newQueue(loop *loopnode.Loop, limit int) *Queue {
	return &Queue{loop: loop, limit: max(limit, 1)}
}

// Put adds items. When the loop is closed, they are dropped. It does not keep the
// slice. Any goroutine.
func (q *Queue) Put(items ...Item) {
	q.mu.Lock()
	if why := q.closed.Load(); why != nil {
		q.mu.Unlock()
		drop(items, *why)
		return
	}
	if q.next > perTurn && q.next > len(q.items)/2 { // else a queue that is never empty grows for ever
		q.items, q.next = slices.Delete(q.items, 0, q.next), 0
	}
	q.items = append(q.items, items...)
	err := q.postLocked()
	q.mu.Unlock()
	if err != nil {
		q.Close(err)
	}
}

func drop(items []Item, why error) {
	for _, item := range items {
		item.Drop(why)
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

// Full reports whether as many items run as may. Those that are begun in this moment do
// not count: a burst of short ones must not make an idle loop look full.
func (q *Queue) Full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running-q.begins >= q.limit
}

// Len is how many items have not begun, and how many run.
func (q *Queue) Len() (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.next, q.running
}

// drain begins items. What it has taken out when the queue is closed is dropped here.
// Loop goroutine.
func (q *Queue) drain() {
	turn, ended := Turn{}, 0
	for _, item := range q.take() {
		if why := q.closed.Load(); why != nil {
			item.Drop(*why)
			ended++
		} else if !item.Begin(&turn) {
			ended++
		}
	}
	turn.tell()
	clear(q.taken) // what has begun is not kept alive here
	q.mu.Lock()
	q.running -= ended
	q.posted, q.begins = false, 0
	err := q.postLocked()
	q.mu.Unlock()
	if err != nil {
		q.Close(err)
	}
}

// take takes out the next items that may begin. They count as running.
func (q *Queue) take() []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := max(0, min(len(q.items)-q.next, q.limit-q.running, perTurn))
	out := q.items[q.next : q.next+n]
	q.taken = append(q.taken[:0], out...)
	clear(out)
	q.running, q.begins = q.running+n, n
	if q.next += n; q.next == len(q.items) {
		q.items, q.next = q.items[:0], 0
		if cap(q.items) > perTurn {
			q.items = nil // a burst must not hold memory for ever
		}
	}
	return q.taken
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
	if q.closed.Load() != nil {
		q.mu.Unlock()
		return
	}
	q.closed.Store(&why)
	items := q.items[q.next:]
	q.items, q.next = nil, 0
	q.mu.Unlock()
	drop(items, why)
}
