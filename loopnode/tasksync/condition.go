package tasksync

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Condition is a lock that its holder can give up until somebody notifies it.
// It is for tasks of one loop. asyncio.Condition.
type Condition struct {
	lock  *Lock
	queue waiters
}

// NewCondition makes a condition of lock; nil gives it a lock of its own.
func NewCondition(lock *Lock) *Condition {
	if lock == nil {
		lock = &Lock{}
	}
	return &Condition{lock: lock}
}

// Acquire acquires the lock; see Lock.Acquire.
func (c *Condition) Acquire(ctx context.Context) error { return c.lock.Acquire(ctx) }

// Release releases the lock; see Lock.Release.
func (c *Condition) Release() error { return c.lock.Release() }

// Locked reports whether somebody holds the lock.
func (c *Condition) Locked() bool { return c.lock.Locked() }

// Wait gives up the lock, waits for a notification and takes the lock again,
// also when it was cancelled; then the notification it may have had goes to
// another. Errors: ErrInvalidState (the lock is open), those of Lock.Acquire.
func (c *Condition) Wait(ctx context.Context) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	if err := c.lock.Release(); err != nil {
		return fmt.Errorf("cannot wait: %w", err)
	}
	_, err = c.queue.wait(ctx, t)
	if last := c.reacquire(t); last != nil {
		err = last // of several cancellations the last one counts
	}
	if err != nil {
		c.queue.take(1)
	}
	return err
}

// reacquire takes the lock, however often the task is cancelled meanwhile; the
// last cancellation comes back.
func (c *Condition) reacquire(t loopaccess.Task) (last error) {
	for {
		err := c.lock.acquire(t.Context(), t)
		switch {
		case err == nil:
			return last
		case !t.EndsCancelled(err):
			return err // the loop is closed
		}
		last = err
	}
}

// WaitUntil waits until predicate holds; it is asked with the lock held, first
// and after each notification. Errors as Wait.
func (c *Condition) WaitUntil(ctx context.Context, predicate func() bool) error {
	if predicate == nil {
		return invalid("WaitUntil needs a predicate, not nil")
	}
	if _, err := currentTask(ctx); err != nil {
		return err
	}
	if !c.lock.locked {
		return fmt.Errorf("%w: cannot wait: the lock is not acquired", loopnode.ErrInvalidState)
	}
	for !predicate() {
		if err := c.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Notify wakes up to n tasks that wait; they go on when they have the lock.
// ErrInvalidState when the lock is open. Loop goroutine.
func (c *Condition) Notify(n int) error {
	if err := c.queue.check("Condition.Notify"); err != nil {
		return err
	}
	if !c.lock.locked {
		return fmt.Errorf("%w: cannot notify: the lock is not acquired", loopnode.ErrInvalidState)
	}
	c.queue.take(n)
	return nil
}

// NotifyAll wakes all that wait; see Notify.
func (c *Condition) NotifyAll() error { return c.Notify(c.queue.list.Len()) }
