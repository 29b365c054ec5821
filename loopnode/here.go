package loopnode

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/coro"
)

// Go has no function that tells on which goroutine code runs; coro.Marked only says
// "on some loop". With one loop running in the process that is the answer. With
// several, the number of the goroutine is read, which costs some microseconds, and
// compared with that of the task that runs (task.gid). A task's number is read when
// several loops run (worker.identify). While it is not known, the stack of the
// goroutine tells, because a printed stack shows the task's pointer (task.on).

// loopSet is the loops that run callbacks now, in this process.
type loopSet struct {
	mu   sync.Mutex
	all  map[*Loop]struct{}
	sole atomic.Pointer[Loop] // Invariant: the only element of all; nil for none and several
}

// running is process-wide because goroutines are.
var running = loopSet{all: map[*Loop]struct{}{}}

func (r *loopSet) add(l *Loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[l] = struct{}{}
	r.note()
}

func (r *loopSet) remove(l *Loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, l)
	r.note()
}

func (r *loopSet) note() {
	var sole *Loop
	if len(r.all) == 1 {
		for sole = range r.all {
		}
	}
	r.sole.Store(sole)
}

// here reports whether the calling goroutine runs l now. Any goroutine. It may
// say no on a goroutine of l when several loops run: in a coroutine that is no
// task.
func (l *Loop) here() bool {
	if !coro.Marked() {
		return false
	}
	if running.sole.Load() == l {
		return true
	}
	if !l.running.Load() {
		return false
	}
	me := goroutineID()
	if l.run.gid.Load() == me {
		return true
	}
	t := l.current.Load()
	switch {
	case t == nil:
		return false
	case t.gid.Load() != 0:
		return t.gid.Load() == me
	}
	return t.on(ownStack()) // another loop began to run during this very step
}

// on reports whether stack, as runtime.Stack prints it, is that of the goroutine
// that runs the function of t: the call of main shows the pointer.
func (t *task) on(stack []byte) bool {
	return bytes.Contains(stack, fmt.Appendf(nil, "loopnode.(*task).main(%p", t))
}

// ownStack is the calling goroutine's stack. Of a deep one the runtime leaves out
// the middle, never the outermost calls.
func ownStack() []byte {
	buf := make([]byte, ownStackRoom)
	return buf[:runtime.Stack(buf, false)]
}

const ownStackRoom = 64 << 10
