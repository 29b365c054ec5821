package loopnode

import "github.com/loopmesh/loopmesh/internal/coro"

// worker is a coroutine that runs one task after the other. A task holds one
// from its first step to its end and gives it back; the loop keeps idle ones, the
// most recently used first. Owned by the loop goroutine.
//
// Why not when the task is created: a coroutine is a goroutine with a stack. A
// burst of n tasks of one step each, such as n queued casts, then needs one
// coroutine instead of n.
type worker struct {
	co   *coro.Worker
	t    *task  // whose body it runs; nil while idle
	main func() // t.main, bound once
	gid  uint64 // the coroutine's goroutine; 0: not asked for yet
}

// identify reads the number of the worker's goroutine when somebody may need it.
// Call it on that goroutine, before user code runs. Why not always: it costs some
// microseconds, half of what a new task costs, and while one loop runs in the
// process nobody asks (see here).
func (w *worker) identify(l *Loop) {
	if w.gid == 0 && running.sole.Load() != l {
		w.gid = goroutineID()
	}
}

const maxIdleWorkers = 4096 // more are ended when they become idle

// takeWorker gives t an idle coroutine, or a new one.
func (l *Loop) takeWorker(t *task) *worker {
	if n := len(l.left.idle); n > 0 {
		w := l.left.idle[n-1]
		l.left.idle = l.left.idle[:n-1]
		w.t = t
		return w
	}
	w := &worker{co: coro.New(), t: t}
	w.main = func() { w.t.main() }
	return w
}

// giveWorker takes back the coroutine of a task that has ended.
func (l *Loop) giveWorker(w *worker) {
	w.t = nil
	if l.closed.Load() || len(l.left.idle) >= maxIdleWorkers {
		w.co.Close()
		return
	}
	l.left.idle = append(l.left.idle, w)
}
