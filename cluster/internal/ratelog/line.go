// Package ratelog limits how often a line is logged, so that a peer that floods
// a node does not flood its log as well.
package ratelog

import (
	"sync/atomic"
	"time"
)

// Line allows one message per second and counts the others. The zero value works. Any
// goroutine.
type Line struct {
	last   atomic.Int64 // Unix nanoseconds
	silent atomic.Int64
}

// Allow reports whether to log now, and how many were kept back since.
func (r *Line) Allow() (bool, int64) { return r.allow(time.Now().UnixNano()) }

func (r *Line) allow(now int64) (bool, int64) {
	last := r.last.Load()
	if now-last < 1e9 || !r.last.CompareAndSwap(last, now) {
		r.silent.Add(1)
		return false, 0
	}
	return true, r.silent.Swap(0)
}
