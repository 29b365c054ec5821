package loopnode

import (
	"math"
	"time"
)

// Instant is a point of a loop's own monotonic clock in nanoseconds. Instants of
// two loops cannot be compared. asyncio: the float that loop.time() returns.
type Instant int64

// Never is the Instant that does not come: a timer for it never fires.
const Never Instant = math.MaxInt64

// Add returns the instant d later. It saturates: nothing overflows into the past.
func (t Instant) Add(d time.Duration) Instant {
	s := t + Instant(d)
	switch {
	case d > 0 && s < t:
		return Never
	case d < 0 && s > t:
		return math.MinInt64
	}
	return s
}

// Sub returns how long after u the instant t is, saturated.
func (t Instant) Sub(u Instant) time.Duration {
	d := t - u
	switch {
	case u < 0 && t > 0 && d < 0:
		return math.MaxInt64
	case u > 0 && t < 0 && d > 0:
		return math.MinInt64
	}
	return time.Duration(d)
}

// Before reports whether t comes before u.
func (t Instant) Before(u Instant) bool { return t < u }
