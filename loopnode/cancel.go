package loopnode

import (
	"context"
	"errors"
)

// endsCancelled: the body let a cancellation through, in this package's words
// or, once asked to cancel, in the context package's.
func (t *task) endsCancelled(err error) bool {
	return errors.Is(err, ErrCancelled) || t.cancelling > 0 && errors.Is(err, context.Canceled)
}

func (t *task) cancelled() error { return &CancelledError{Msg: t.cancelMsg} }

// cancel asks the task to end; see future.Cancel.
func (t *task) cancel(msg ...string) bool {
	if t.fut.state != pending {
		t.fut.see() // who cancels a task that failed has done with it
		return false
	}
	if t.asking { // what it waits for waits for it: only this wakes either
		if t.waiting != nil {
			t.interrupt(cancelError(msg))
		}
		return true
	}
	t.cancelling++
	if len(msg) > 0 {
		t.cancelMsg = msg[0]
	} else {
		t.cancelMsg = ""
	}
	t.endContexts()
	if t.waiting != nil {
		t.asking = true
		asked := t.waiting.Cancel(msg...)
		t.asking = false
		if asked {
			return true // its end wakes the task
		}
	}
	t.mustCancel = true
	return true
}

// Cancelling is how many cancel requests are open. asyncio: cancelling.
func (k *Task[T]) Cancelling() int { return k.t.cancelling }

// Uncancel withdraws one request and returns how many are left; at 0 a
// cancellation not yet delivered is withdrawn and the ctx is usable again.
// asyncio: uncancel.
func (k *Task[T]) Uncancel() int {
	if k.checkGoroutine("Task.Uncancel") != nil {
		return 0
	}
	return k.t.uncancel()
}

func (t *task) uncancel() int {
	if t.cancelling > 0 && t.fut.state == pending {
		if t.cancelling--; t.cancelling == 0 {
			t.mustCancel = false
			t.reopenContexts()
		}
	}
	return t.cancelling
}
