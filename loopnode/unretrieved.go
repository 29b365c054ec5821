package loopnode

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// unretrieved is a failure that nobody has looked at. It does not refer to its
// future, so that the collector can tell when nobody can look any more.
type unretrieved struct {
	seen   atomic.Bool
	err    error
	what   string
	source string
	loop   *Loop
	ctx    context.Context // of the task; nil for a plain future
}

func trackUnretrieved(f *future, err error) *unretrieved {
	u := &unretrieved{err: err, loop: f.loop, what: "Future", source: frames(f.source)}
	if f.owner != nil {
		u.ctx = f.owner.values()
		u.what = "Task " + f.owner.label()
	}
	if !f.loop.closed.Load() {
		f.loop.lost[u] = struct{}{}
		runtime.AddCleanup(f, (*unretrieved).collected, u)
	}
	return u
}

// collected runs when the future is gone: nobody can look at it any more.
// Called by the runtime's cleanup goroutine.
func (u *unretrieved) collected() {
	if !u.seen.Load() {
		_ = u.loop.post(u.report) // a closed loop has reported it
	}
}

// report tells once. Loop goroutine.
func (u *unretrieved) report() {
	if u.seen.Swap(true) {
		return
	}
	delete(u.loop.lost, u)
	u.loop.CallExceptionHandler(ExceptionContext{
		Kind: report.Unretrieved, Message: u.what + " exception was never retrieved", Exception: u.err, Future: u.what, Source: u.source, Context: u.ctx,
	})
}

func (l *Loop) reportUnretrieved() {
	for u := range l.lost {
		u.report()
	}
}
