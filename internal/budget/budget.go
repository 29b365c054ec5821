// Package budget counts events within a sliding period: restarts, failures.
package budget

import "time"

// Window is the events of the last period. The zero value has none. Whoever
// owns it calls it from one goroutine at a time. Invariant: it holds no more
// times than the largest limit it was asked with.
type Window struct{ times []int64 }

// Admit counts an event at now (in ns, of any clock that does not go back)
// unless limit events lie within period before it already. A negative limit
// admits everything and counts nothing, so that nothing grows.
func (w *Window) Admit(now int64, limit int, period time.Duration) bool {
	w.forget(now - int64(period))
	if limit < 0 {
		return true
	}
	if len(w.times) >= limit {
		return false
	}
	w.times = append(w.times, now)
	return true
}

// Len is how many events the last Admit left.
func (w *Window) Len() int { return len(w.times) }

// Reset forgets everything.
func (w *Window) Reset() { w.times = w.times[:0] }

// forget drops what is not after from.
func (w *Window) forget(from int64) {
	kept := w.times[:0]
	for _, t := range w.times {
		if t > from {
			kept = append(kept, t)
		}
	}
	w.times = kept
}
