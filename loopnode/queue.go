package loopnode

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
)

// The errors of queues.
var (
	// ErrQueueEmpty: there is nothing to get without waiting. asyncio.QueueEmpty.
	ErrQueueEmpty = errors.New("queue is empty")
	// ErrQueueFull: there is no room to put without waiting. asyncio.QueueFull.
	ErrQueueFull = errors.New("queue is full")
	// ErrQueueShutdown: the queue was shut down. asyncio.QueueShutDown.
	ErrQueueShutdown = errors.New("queue is shut down")
)

// Queue hands items from tasks to tasks of one loop. Put, Get and Join wait;
// cancelling the task ends the wait and hands its turn on. All other methods
// are for the loop's goroutine. Each item is done when TaskDone was called for
// it. asyncio.Queue.
type Queue[T any] struct {
	store            store[T]
	max              int // 0 or less: no bound
	getters, putters waiters
	idle             Event // set while nothing is unfinished
	unfinished       int
	shut             bool
	unusable         error // what the queue lacks
}

// store is where items wait.
type store[T any] interface {
	put(T)
	get() T
	len() int
}

// NewQueue makes a first-in-first-out queue; max of 0 or less sets no bound.
func NewQueue[T any](max int) *Queue[T] { return newQueue[T](max, &ring[T]{}) }

// NewLIFO makes a queue that gives the newest item first. asyncio.LifoQueue.
func NewLIFO[T any](max int) *Queue[T] { return newQueue[T](max, &stack[T]{}) }

// NewPriorityQueue makes a queue that gives the least item first; equal items
// in the order they came. Without less every Put and Get is ErrInvalidArgument.
// asyncio.PriorityQueue.
func NewPriorityQueue[T any](max int, less func(a, b T) bool) *Queue[T] {
	q := newQueue[T](max, &ranked[T]{less: less})
	if less == nil {
		q.unusable = invalid("NewPriorityQueue needs the function less, not nil")
		q.shut = true
	}
	return q
}

func newQueue[T any](max int, s store[T]) *Queue[T] {
	return &Queue[T]{store: s, max: max, idle: Event{set: true}}
}

// Len is how many items wait. asyncio: qsize.
func (q *Queue[T]) Len() int { return q.store.len() }

// Max is the bound, 0 or less for none. asyncio: maxsize.
func (q *Queue[T]) Max() int { return q.max }

// Empty reports whether no item waits.
func (q *Queue[T]) Empty() bool { return q.store.len() == 0 }

// Full reports whether there is no room.
func (q *Queue[T]) Full() bool { return q.max > 0 && q.store.len() >= q.max }

// Put waits for room and puts v. Errors: ErrQueueShutdown, those of Lock.Acquire.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	for q.Full() && !q.shut {
		granted, err := q.putters.wait(ctx, t)
		if err != nil {
			if granted && !q.Full() {
				q.putters.take(1)
			}
			return err
		}
	}
	return q.TryPut(v)
}

// TryPut puts v or returns ErrQueueFull or ErrQueueShutdown. asyncio: put_nowait.
func (q *Queue[T]) TryPut(v T) error {
	switch {
	case q.unusable != nil:
		return q.unusable
	case q.shut:
		return ErrQueueShutdown
	case q.Full():
		return fmt.Errorf("%w: it holds %d items", ErrQueueFull, q.max)
	}
	q.store.put(v)
	q.unfinished++
	q.idle.Clear()
	q.getters.take(1)
	return nil
}

// Get waits for an item. Errors: ErrQueueShutdown once the queue is shut down
// and empty, those of Lock.Acquire.
func (q *Queue[T]) Get(ctx context.Context) (v T, err error) {
	t, err := currentTask(ctx)
	if err != nil {
		return v, err
	}
	for q.Empty() && !q.shut {
		granted, err := q.getters.wait(ctx, t)
		if err != nil {
			if granted && !q.Empty() {
				q.getters.take(1)
			}
			return v, err
		}
	}
	return q.TryGet()
}

// TryGet gets an item, or ErrQueueEmpty, or ErrQueueShutdown. asyncio: get_nowait.
func (q *Queue[T]) TryGet() (v T, err error) {
	switch {
	case q.unusable != nil:
		return v, q.unusable
	case q.Empty() && q.shut:
		return v, ErrQueueShutdown
	case q.Empty():
		return v, ErrQueueEmpty
	}
	v = q.store.get()
	q.putters.take(1)
	return v, nil
}

// TaskDone says that the work on one item is done. ErrInvalidState when it is
// called more often than items were put. asyncio: task_done.
func (q *Queue[T]) TaskDone() error {
	if q.unfinished <= 0 {
		return fmt.Errorf("%w: TaskDone was called too many times", ErrInvalidState)
	}
	if q.unfinished--; q.unfinished == 0 {
		q.idle.Set()
	}
	return nil
}

// Join waits until the work on every item is done. Errors as Lock.Acquire.
func (q *Queue[T]) Join(ctx context.Context) error { return q.idle.Wait(ctx) }

// Shutdown makes puts fail, and gets too once the queue is empty, which with
// immediate it is at once: what waits in it is dropped and counts as done. Tasks
// that wait are woken. It may be called again. asyncio: shutdown.
func (q *Queue[T]) Shutdown(immediate bool) {
	q.shut = true
	for immediate && !q.Empty() {
		q.store.get()
		if q.unfinished > 0 {
			q.unfinished--
		}
	}
	if q.unfinished == 0 {
		q.idle.Set()
	}
	q.getters.take(q.getters.list.Len())
	q.putters.take(q.putters.list.Len())
}

// ring is a first-in-first-out store. Invariant: items[head:] wait.
type ring[T any] struct {
	items []T
	head  int
}

func (r *ring[T]) len() int { return len(r.items) - r.head }

func (r *ring[T]) put(v T) {
	if r.head > 32 && r.head*2 > len(r.items) { // half is empty: move instead of growing
		n := copy(r.items, r.items[r.head:])
		clear(r.items[n:])
		r.items, r.head = r.items[:n], 0
	}
	r.items = append(r.items, v)
}

func (r *ring[T]) get() T {
	var zero T
	v := r.items[r.head]
	r.items[r.head] = zero
	if r.head++; r.head == len(r.items) {
		r.items, r.head = r.items[:0], 0
	}
	return v
}

type stack[T any] struct{ items []T }

func (s *stack[T]) len() int { return len(s.items) }

func (s *stack[T]) put(v T) { s.items = append(s.items, v) }

func (s *stack[T]) get() T {
	var zero T
	last := len(s.items) - 1
	v := s.items[last]
	s.items[last] = zero
	s.items = s.items[:last]
	return v
}

// ranked is a heap; seq keeps equal items in order.
type ranked[T any] struct {
	less  func(a, b T) bool
	items []rankedItem[T]
	next  uint64
}

type rankedItem[T any] struct {
	v   T
	seq uint64
}

func (r *ranked[T]) len() int { return len(r.items) }

func (r *ranked[T]) put(v T) {
	r.next++
	heap.Push((*rankedHeap[T])(r), rankedItem[T]{v, r.next})
}

func (r *ranked[T]) get() T { return heap.Pop((*rankedHeap[T])(r)).(rankedItem[T]).v }

// rankedHeap is ranked as container/heap sees it.
type rankedHeap[T any] ranked[T]

func (h *rankedHeap[T]) Len() int { return len(h.items) }

func (h *rankedHeap[T]) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	switch {
	case h.less(a.v, b.v):
		return true
	case h.less(b.v, a.v):
		return false
	}
	return a.seq < b.seq
}

func (h *rankedHeap[T]) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }

func (h *rankedHeap[T]) Push(v any) { h.items = append(h.items, v.(rankedItem[T])) }

func (h *rankedHeap[T]) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = rankedItem[T]{}
	h.items = h.items[:last]
	return it
}
