package tasksync

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Semaphore lets a number of tasks through at a time, in the order they came.
// Acquire is for tasks of one loop, the rest for that loop's goroutine.
// asyncio.Semaphore and BoundedSemaphore.
type Semaphore struct {
	// Invariant: value is what nobody holds and nobody was promised.
	value int
	bound int // negative: none
	queue waiters
}

// ErrTooManyReleases: a bounded semaphore was released more often than acquired. It
// is a loopnode.ErrInvalidState, as releasing a Lock that is open.
var ErrTooManyReleases = fmt.Errorf("%w: the semaphore was released more often than acquired", loopnode.ErrInvalidState)

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
	if err := s.queue.check("Semaphore.Release"); err != nil {
		return err
	}
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
