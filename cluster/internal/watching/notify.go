package watching

import (
	"sync"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// notifier calls functions of the user one after another on one goroutine, so
// that a slow one never holds up the receiving goroutine. The goroutine lives
// only while there is something to call.
type notifier struct {
	mu    sync.Mutex
	queue []func()
	busy  bool
	ended bool
	work  *sync.WaitGroup
	fault func(*guard.Panic)
}

func (q *notifier) add(fn func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	q.queue = append(q.queue, fn)
	if q.busy {
		return
	}
	q.busy = true
	// goroutine: owner: node; ends when the queue is empty
	q.work.Go(q.run)
}

func (q *notifier) run() {
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		fn := q.queue[0]
		q.queue = q.queue[1:]
		q.mu.Unlock()
		if p := guard.Call(fn); p != nil {
			q.fault(p)
		}
	}
}

// end takes nothing more; what is queued is still called.
func (q *notifier) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}
