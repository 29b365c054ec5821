package tasksync

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

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

func (l *Lock) acquire(ctx context.Context, t loopaccess.Task) error {
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
	if err := l.queue.check("Lock.Release"); err != nil {
		return err
	}
	if !l.locked {
		return fmt.Errorf("%w: the lock is not acquired", loopnode.ErrInvalidState)
	}
	l.locked = false
	l.queue.wakeHead()
	return nil
}

// Locked reports whether somebody holds the lock.
func (l *Lock) Locked() bool { return l.locked }
