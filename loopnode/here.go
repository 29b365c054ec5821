package loopnode

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/coro"
)

// Go tells nobody on which goroutine code runs; coro.Marked only says "on some
// loop". With one loop running in the process that is the answer. With several,
// the number of the goroutine is read, which costs about a microsecond.

// roll is the loops that run callbacks now, in this process.
type roll struct {
	mu   sync.Mutex
	all  map[*Loop]struct{}
	sole atomic.Pointer[Loop] // Invariant: the only element of all; nil for none and several
}

// running is process-wide because goroutines are.
var running = roll{all: map[*Loop]struct{}{}}

func (r *roll) add(l *Loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[l] = struct{}{}
	r.note()
}

func (r *roll) remove(l *Loop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, l)
	r.note()
}

func (r *roll) note() {
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
