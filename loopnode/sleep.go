package loopnode

import (
	"context"
	"fmt"
	"time"
)

// Sleep suspends the task for d; 0 or less gives up exactly one turn and makes
// no timer. Outside of a task it blocks the goroutine. The task's cancellation
// and ctx end it early. asyncio.sleep.
func Sleep(ctx context.Context, d time.Duration) error {
	t := taskOf(ctx)
	if t == nil {
		return sleepOutside(ctx, d)
	}
	if d <= 0 {
		return t.yield()
	}
	if err := t.owned(); err != nil {
		return err
	}
	f := NewFuture[struct{}](t.loop)
	h := t.loop.CallLater(d, func() { f.settleOnce() })
	defer h.Cancel()
	_, err := f.Await(ctx)
	return err
}

// settleOnce sets the result unless the future is done, for instance because the
// waiting task was cancelled.
func (f *future) settleOnce() {
	if f.state == pending {
		f.settle(finished, nil)
	}
}

func sleepOutside(ctx context.Context, d time.Duration) error {
	if onLoop() {
		return fmt.Errorf("%w: sleep in a task, or use CallLater", ErrWouldBlock)
	}
	if ctx == nil {
		return invalid("Sleep needs a ctx, not nil")
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}
