// Package ratelog limits how often a line is logged, so that a peer that floods
// a node does not flood its log as well.
package ratelog

import (
	"sync"
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

// Burst allows a number of messages per second and counts the others. The zero value
// works. Any goroutine.
type Burst struct {
	mu     sync.Mutex
	begun  time.Time // of the second
	told   int       // in it
	silent int64
}

// Allow reports whether to log now, at most most times a second, and how many were kept
// back since.
func (b *Burst) Allow(most int) (bool, int64) { return b.allow(time.Now(), most) }

func (b *Burst) allow(now time.Time, most int) (bool, int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.begun) >= time.Second {
		b.begun, b.told = now, 0
	}
	if b.told >= most {
		b.silent++
		return false, 0
	}
	b.told++
	silent := b.silent
	b.silent = 0
	return true, silent
}
