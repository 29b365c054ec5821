package tasksync

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

// The errors of queues.
var (
	// ErrQueueEmpty: there is nothing to get without waiting. asyncio.QueueEmpty.
	ErrQueueEmpty = errors.New("queue is empty")
	// ErrQueueFull: there is no room to put without waiting. asyncio.QueueFull.
	ErrQueueFull = errors.New("queue is full")
	// ErrQueueShutdown: the queue was shut down. asyncio.QueueShutDown.
	ErrQueueShutdown = errors.New("queue is shut down")
	// ErrTooManyDone: TaskDone was called more often than items were put. It is a
	// loopnode.ErrInvalidState.
	ErrTooManyDone = fmt.Errorf("%w: TaskDone was called more often than items were put", loopnode.ErrInvalidState)
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

// check is waiters.check for a queue, which belongs to the loop of whoever waited
// first, for an item, for room or in Join.
func (q *Queue[T]) check(what string) error {
	return cmp.Or(q.getters.check(what), q.putters.check(what), q.idle.queue.check(what))
}

// TryPut puts v or returns ErrQueueFull or ErrQueueShutdown. asyncio: put_nowait.
func (q *Queue[T]) TryPut(v T) error {
	if err := q.check("Queue.TryPut"); err != nil {
		return err
	}
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
	if err := q.check("Queue.TryGet"); err != nil {
		return v, err
	}
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

// TaskDone says that the work on one item is done. ErrTooManyDone when it is
// called more often than items were put. asyncio: task_done.
func (q *Queue[T]) TaskDone() error {
	if err := q.check("Queue.TaskDone"); err != nil {
		return err
	}
	if q.unfinished <= 0 {
		return ErrTooManyDone
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
	if q.check("Queue.Shutdown") != nil {
		return
	}
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
