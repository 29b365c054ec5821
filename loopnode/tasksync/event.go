package tasksync

import (
	"context"
)

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
	if e.queue.check("Event.Set") == nil && !e.set {
		e.set = true
		e.queue.wake(e.queue.list.Len())
	}
}

// Clear makes later waits wait.
func (e *Event) Clear() {
	if e.queue.check("Event.Clear") == nil {
		e.set = false
	}
}

// IsSet reports whether the event is set.
func (e *Event) IsSet() bool { return e.set }
