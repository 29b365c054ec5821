package loopnode

import (
	"runtime"

	"github.com/hashicorp/go-hclog"
)

// remains is what a loop that was dropped without Close leaves behind. It does
// not refer to the loop, so that the collector can tell when nobody does.
type remains struct {
	name string
	log  hclog.Logger
	idle []*worker // coroutines without a task; owned by the loop goroutine
}

// watchDropped has the collector report l when nobody refers to it any more.
// Why this late: Go runs nothing when a value is dropped. A loop that runs, or
// that somebody waits on, is referred to; its poller closes its own descriptors.
func (l *Loop) watchDropped() {
	l.left = &remains{name: l.name, log: l.log}
	l.dropped = runtime.AddCleanup(l, (*remains).unclosed, l.left)
}

// unclosed runs on the runtime's cleanup goroutine.
func (r *remains) unclosed() {
	r.log.Warn("unclosed event loop: it was dropped without Close", "loop", r.name)
	r.release()
}

// release ends the idle coroutines.
func (r *remains) release() {
	for _, w := range r.idle {
		w.co.Close()
	}
	r.idle = nil
}
