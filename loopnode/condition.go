package loopnode

import (
	"context"
	"errors"
	"fmt"
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
	err = errors.Join(err, c.reacquire(t))
	if err != nil {
		c.queue.take(1)
	}
	return err
}

// reacquire takes the lock, however often the task is cancelled meanwhile; the
// last cancellation comes back.
func (c *Condition) reacquire(t *task) (last error) {
	for {
		err := c.lock.acquire(&t.ctx, t)
		switch {
		case err == nil:
			return last
		case !t.endsCancelled(err):
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
	if !c.lock.locked {
		return fmt.Errorf("%w: cannot notify: the lock is not acquired", ErrInvalidState)
	}
	c.queue.take(n)
	return nil
}

// NotifyAll wakes all that wait; see Notify.
func (c *Condition) NotifyAll() error { return c.Notify(c.queue.list.Len()) }

// ErrBrokenBarrier: the barrier was reset or aborted while a task waited at it.
var ErrBrokenBarrier = errors.New("barrier is broken")

type barrierState uint8

const (
	filling barrierState = iota
	draining
	resetting
	broken
)

// Barrier holds tasks until a number of them has come. It can be used again.
// It is for tasks of one loop. asyncio.Barrier.
type Barrier struct {
	cond    *Condition
	parties int
	count   int // inside Wait
	state   barrierState
}

// NewBarrier waits for n tasks. ErrInvalidArgument when n is below 1.
func NewBarrier(n int) (*Barrier, error) {
	if n < 1 {
		return nil, invalid("a barrier needs 1 party or more, not %d", n)
	}
	return &Barrier{cond: NewCondition(nil), parties: n}, nil
}

// Parties is how many tasks the barrier waits for.
func (b *Barrier) Parties() int { return b.parties }

// Waiting is how many tasks wait at it now.
func (b *Barrier) Waiting() int {
	if b.state == filling {
		return b.count
	}
	return 0
}

// Broken reports whether the barrier was aborted.
func (b *Barrier) Broken() bool { return b.state == broken }

// Wait returns when all parties have come, with a number of its own for each of
// them, from 0. A task that is cancelled leaves the barrier. Errors:
// ErrBrokenBarrier, those of Lock.Acquire.
func (b *Barrier) Wait(ctx context.Context) (index int, err error) {
	err = b.locked(ctx, func() error {
		if err := b.enter(ctx); err != nil {
			return err
		}
		index = b.count
		b.count++
		defer b.leave()
		return b.meet(ctx, index)
	})
	if err != nil {
		index = 0
	}
	return index, err
}

func (b *Barrier) locked(ctx context.Context, fn func() error) error {
	if err := b.cond.Acquire(ctx); err != nil {
		return err
	}
	err := fn()
	return errors.Join(err, b.cond.Release())
}

// enter waits for the round before to be over.
func (b *Barrier) enter(ctx context.Context) error {
	if err := b.cond.WaitUntil(ctx, func() bool { return b.state != draining && b.state != resetting }); err != nil {
		return err
	}
	if b.state == broken {
		return fmt.Errorf("%w: it was aborted", ErrBrokenBarrier)
	}
	return nil
}

// meet waits for the others, or lets them go.
func (b *Barrier) meet(ctx context.Context, index int) error {
	if index+1 == b.parties {
		b.state = draining
		return b.cond.NotifyAll()
	}
	if err := b.cond.WaitUntil(ctx, func() bool { return b.state != filling }); err != nil {
		return err
	}
	if b.state != draining {
		return fmt.Errorf("%w: it was reset or aborted", ErrBrokenBarrier)
	}
	return nil
}

// leave: the last one opens the barrier for the next round.
func (b *Barrier) leave() {
	if b.count--; b.count == 0 {
		if b.state == resetting || b.state == draining {
			b.state = filling
		}
		b.cond.queue.take(b.cond.queue.list.Len())
	}
}

// Reset makes the barrier as new; tasks that wait at it get ErrBrokenBarrier.
func (b *Barrier) Reset(ctx context.Context) error {
	return b.locked(ctx, func() error {
		if b.state = filling; b.count > 0 {
			b.state = resetting
		}
		return b.cond.NotifyAll()
	})
}

// Abort breaks the barrier: all waits, also later ones, get ErrBrokenBarrier
// until Reset.
func (b *Barrier) Abort(ctx context.Context) error {
	return b.locked(ctx, func() error {
		b.state = broken
		return b.cond.NotifyAll()
	})
}
