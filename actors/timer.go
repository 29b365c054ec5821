package actors

import "time"

// continuation is a call back into an actor, queued as a message of its own.
// Invariant: it runs only in the life it was made in, because fn closes over that
// life's actor.
type continuation struct {
	life uint64
	fn   func() // nil: cancelled
}

// timer is one Context.After. It belongs to the life that made it: endLife stops
// it, so that what fn captures is released then and not when it is due.
// Loop goroutine only.
type timer struct {
	continuation
	c    *cell
	stop func() // the loop's timer
	at   int    // place in c.timers; 0 when due, cancelled or dropped
}

func (t *timer) place() *int { return &t.at }

// After calls fn in a turn of this actor after d, unless cancelled, and not when
// the actor restarts or ends first. A panic in fn is a failure of the actor. It
// does not wait; cancel belongs to the loop's goroutine too.
func (x *Context) After(d time.Duration, fn func()) (cancel func()) {
	c := x.c
	if c.phase >= stopping || fn == nil {
		return func() {}
	}
	t := &timer{continuation: continuation{c.life, fn}, c: c}
	c.timers.add(t)
	t.stop = c.host.after(d, t.due)
	return t.cancel
}

// due queues the call behind what waits already.
func (t *timer) due() {
	if t.c.timers.remove(t) && t.c.phase < stopping {
		t.c.pushLocal(envelope{msg: &t.continuation})
	}
}

func (t *timer) cancel() {
	if t.c.timers.remove(t) {
		t.stop()
	}
	t.fn = nil // also when it is queued
}
