package loopnode

import (
	"container/list"
	"context"
	"errors"
	"fmt"
)

// waiters are tasks that wait for the same thing, first come first. It belongs
// to the loop whose task waited first.
type waiters struct {
	loop *Loop
	list list.List // of *future
}

// wait suspends t until it is granted what it waits for. Granted and an error
// together: the task was cancelled after its turn had come.
func (w *waiters) wait(ctx context.Context, t *task) (granted bool, err error) {
	if w.loop == nil {
		w.loop = t.loop
	}
	if w.loop != t.loop {
		return false, fmt.Errorf("%w: it is used by %s, not by %s", ErrWrongLoop, w.loop.name, t.loop.name)
	}
	f := NewFuture[struct{}](t.loop)
	e := w.list.PushBack(&f.future)
	_, err = f.Await(ctx)
	w.list.Remove(e)
	return f.state == finished, err
}

// wakeHead grants the first in the queue, which may have been granted already.
func (w *waiters) wakeHead() {
	if e := w.list.Front(); e != nil {
		e.Value.(*future).settleOnce()
	}
}

// wake grants up to n that wait and returns how many that were.
func (w *waiters) wake(n int) (woken int) {
	for e := w.list.Front(); e != nil && woken < n; e = e.Next() {
		if f := e.Value.(*future); f.state == pending {
			f.settleOnce()
			woken++
		}
	}
	return woken
}

// take is wake for who counts nobody twice: it drops them from the queue, so
// that many calls in one turn cost no search.
func (w *waiters) take(n int) (woken int) {
	for w.list.Len() > 0 && woken < n {
		if f := w.list.Remove(w.list.Front()).(*future); f.state == pending {
			f.settleOnce()
			woken++
		}
	}
	return woken
}

// busy reports whether somebody is in the queue who was not cancelled.
func (w *waiters) busy() bool {
	for e := w.list.Front(); e != nil; e = e.Next() {
		if e.Value.(*future).state != cancelled {
			return true
		}
	}
	return false
}

// Lock lets one task at a time through, in the order they came. The zero value
// is an open lock. It is for tasks of one loop; Release and Locked are for that
// loop's goroutine. asyncio.Lock.
type Lock struct {
	locked bool
	queue  waiters
}

// Acquire waits for the lock; cancelling the task ends the wait and hands the
// turn on. Errors: ErrInvalidState (not in a task), ErrWrongLoop, those of Await.
func (l *Lock) Acquire(ctx context.Context) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	return l.acquire(ctx, t)
}

func (l *Lock) acquire(ctx context.Context, t *task) error {
	if !l.locked && !l.queue.busy() {
		l.locked = true
		return nil
	}
	if _, err := l.queue.wait(ctx, t); err != nil {
		if !l.locked {
			l.queue.wakeHead()
		}
		return err
	}
	l.locked = true
	return nil
}

// Release opens the lock for the task that waits longest. ErrInvalidState when
// it is open.
func (l *Lock) Release() error {
	if !l.locked {
		return fmt.Errorf("%w: the lock is not acquired", ErrInvalidState)
	}
	l.locked = false
	l.queue.wakeHead()
	return nil
}

// Locked reports whether somebody holds the lock.
func (l *Lock) Locked() bool { return l.locked }

// Event is a flag that tasks wait for. The zero value is not set. It is for
// tasks of one loop; all methods but Wait are for that loop's goroutine.
// asyncio.Event.
type Event struct {
	set   bool
	queue waiters
}

// Wait returns when the event is set, at once when it is. Errors as Lock.Acquire.
func (e *Event) Wait(ctx context.Context) error {
	t, err := currentTask(ctx)
	if err != nil || e.set {
		return err
	}
	_, err = e.queue.wait(ctx, t)
	return err
}

// Set wakes all that wait.
func (e *Event) Set() {
	if !e.set {
		e.set = true
		e.queue.wake(e.queue.list.Len())
	}
}

// Clear makes later waits wait.
func (e *Event) Clear() { e.set = false }

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool { return e.set }

// Semaphore lets a number of tasks through at a time, in the order they came.
// Acquire is for tasks of one loop, the rest for that loop's goroutine.
// asyncio.Semaphore and BoundedSemaphore.
type Semaphore struct {
	// Invariant: value is what nobody holds and nobody was promised.
	value int
	bound int // negative: none
	queue waiters
}

// ErrTooManyReleases: a bounded semaphore was released more often than acquired.
var ErrTooManyReleases = errors.New("semaphore released too many times")

// NewSemaphore lets n tasks through. ErrInvalidArgument when n is negative.
func NewSemaphore(n int) (*Semaphore, error) {
	if n < 0 {
		return nil, invalid("a semaphore starts with 0 or more, not %d", n)
	}
	return &Semaphore{value: n, bound: -1}, nil
}

// NewBoundedSemaphore is NewSemaphore whose value never gets above n.
func NewBoundedSemaphore(n int) (*Semaphore, error) {
	s, err := NewSemaphore(n)
	if err == nil {
		s.bound = n
	}
	return s, err
}

// Acquire takes one, or waits its turn. A task that is cancelled when its turn
// has come hands it on. Errors as Lock.Acquire.
func (s *Semaphore) Acquire(ctx context.Context) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	if !s.Locked() {
		s.value--
		return nil
	}
	granted, err := s.queue.wait(ctx, t)
	if granted && err != nil {
		s.value++
	}
	for s.value > 0 && s.queue.wake(1) == 1 {
		s.value--
	}
	return err
}

// Release gives one back; the task that waits longest gets it.
// ErrTooManyReleases when the semaphore is bounded and full.
func (s *Semaphore) Release() error {
	if s.bound >= 0 && s.value >= s.bound {
		return fmt.Errorf("%w: its bound is %d", ErrTooManyReleases, s.bound)
	}
	if s.value++; s.queue.wake(1) == 1 {
		s.value--
	}
	return nil
}

// Locked reports whether Acquire would wait.
func (s *Semaphore) Locked() bool { return s.value == 0 || s.queue.busy() }
