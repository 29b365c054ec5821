// Package core decides order and nothing else: which callback runs next, how
// long the loop may wait, which timers are due. It has no goroutine, lock,
// clock or descriptor; it is fed time and events and says what runs.
//
// One turn of a loop is prepare, wait, digest, then the batch:
//
//	wait := c.Timeout(now)        // prepare: how long may the poller sleep
//	...                           // wait: the only place that sleeps
//	c.Ready.Push(...)             // I/O events, in poller order
//	n := c.Digest(now)            // digest: due timers behind them; the batch is fixed
//	for range n { c.Ready.Pop() } // what is pushed meanwhile belongs to the next turn
package core

import (
	"math"
	"time"
)

// MaxWait bounds one sleep, so that a far deadline cannot overflow a kernel's
// timeout. The loop simply sleeps again.
const MaxWait = 24 * time.Hour

// Forever is a deadline that never comes.
const Forever = math.MaxInt64

// Core is the state of one loop's order. Owned by the loop goroutine.
type Core struct {
	Ready  Ready
	Timers Timers
	// Resolution is how much too early a timer may be taken as due, so that
	// waits below the clock's resolution do not spin.
	Resolution int64
	stopping   bool
}

// Stop makes the current turn the last one. It drops nothing.
func (c *Core) Stop() { c.stopping = true }

// Stopping reports and TakeStop consumes the request.
func (c *Core) Stopping() bool { return c.stopping }

// TakeStop reports whether a stop was asked for and forgets it.
func (c *Core) TakeStop() bool {
	stop := c.stopping
	c.stopping = false
	return stop
}

// At arms t for loop time when; Forever is legal and never fires.
func (c *Core) At(t *Timer, when int64) {
	t.When = when
	c.Timers.Add(t)
}

// CancelTimer takes t back, also when it is already in the batch. It reports
// whether that prevented the callback. It changes nothing about a timer that is
// not armed, was cancelled before, or whose callback has started: Cancelled stays
// what it was.
func (c *Core) CancelTimer(t *Timer) bool {
	switch t.state {
	case timerArmed:
		c.Timers.cancel(t)
		return true
	case timerDue:
		if !c.Ready.Cancel(t.pos) {
			return false
		}
		t.state = timerCancelled
		return true
	}
	return false
}

// Timeout is how long the poller may sleep: 0 when something is ready or a
// stop was asked for, the time to the earliest deadline clipped to MaxWait,
// negative when there is nothing to wait for but events.
func (c *Core) Timeout(now int64) time.Duration {
	when, ok := c.Timers.Next()
	switch {
	case c.stopping || c.Ready.Len() > 0:
		return 0
	case !ok || when == Forever:
		return -1
	case when <= now:
		return 0
	}
	if d := uint64(when) - uint64(now); d < uint64(MaxWait) { // unsigned: when-now may overflow
		return time.Duration(d)
	}
	return MaxWait
}

// Digest moves the timers that are due behind what is ready and returns the
// size of the batch.
func (c *Core) Digest(now int64) int {
	c.Timers.tidy() // here too: a loop that is never idle does not ask for Timeout
	limit := now + c.Resolution
	if limit < now {
		limit = now
	}
	for t := c.Timers.popDue(min(limit, Forever-1)); t != nil; t = c.Timers.popDue(min(limit, Forever-1)) {
		t.state = timerDue
		t.pos = c.Ready.Push(t.Item)
		t.Item = Item{}
	}
	return c.Ready.Len()
}
