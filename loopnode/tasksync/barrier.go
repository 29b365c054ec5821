package tasksync

import (
	"context"
	"errors"
	"fmt"
)

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
