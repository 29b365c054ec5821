package loopnode

import "github.com/loopmesh/loopmesh/internal/coro"

// worker is a pooled coroutine with its functions bound once.
type worker struct {
	co   *coro.Worker
	t    *task
	main func()
	step func()
	gid  uint64 // the coroutine's goroutine; 0 before its first body
}

const maxIdleWorkers = 4096

func (l *Loop) takeWorker(t *task) *worker {
	if n := len(l.left.idle); n > 0 {
		w := l.left.idle[n-1]
		l.left.idle = l.left.idle[:n-1]
		w.t = t
		return w
	}
	w := &worker{co: coro.New(), t: t}
	w.main = func() { w.t.main() }
	w.step = func() { w.t.step() }
	return w
}

func (l *Loop) giveWorker(w *worker) {
	w.t = nil
	if l.closed.Load() || len(l.left.idle) >= maxIdleWorkers {
		w.co.Close()
		return
	}
	l.left.idle = append(l.left.idle, w)
}
