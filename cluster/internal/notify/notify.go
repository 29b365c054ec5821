// Package notify calls functions of users on a goroutine of its own, because the
// goroutines that have something to tell must not wait.
package notify

import (
	"errors"
	"reflect"
	"runtime"
	"sync"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Queue calls functions one after another on one goroutine, so that a slow one
// never holds up whoever adds it. The goroutine lives only while there is something
// to call. Any goroutine.
type Queue struct {
	mu    sync.Mutex
	queue []func()
	busy  bool
	ended bool
	work  *sync.WaitGroup
	fault func(*guard.Panic)
}

// New makes a queue whose goroutine work counts. fault is told of a panic.
func New(work *sync.WaitGroup, fault func(*guard.Panic)) *Queue {
	return &Queue{work: work, fault: fault}
}

// Add queues fn; after End it does nothing.
func (q *Queue) Add(fn func()) {
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

var errExited = errors.New("the function called runtime.Goexit")

// run calls what is queued until there is nothing. A function that panics ends alone;
// the next one is called. One that ends the goroutine (runtime.Goexit) leaves the others
// to another goroutine.
func (q *Queue) run() {
	exited := func() {
		q.fault(guard.Caught(errExited))
		// goroutine: owner: node; ends when the queue is empty
		q.work.Go(q.run)
	}
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
		if p := guard.CallWhole(fn, exited); p != nil {
			q.fault(p)
		}
	}
}

// runName is what the runtime calls the function at the bottom of each such goroutine.
var runName = runtime.FuncForPC(reflect.ValueOf((*Queue).run).Pointer()).Name()

// Inside reports whether a Queue, of any node, called the function that calls Inside: it
// must not wait for the end of the queue's goroutine, which is its own. It looks at the
// calls of the goroutine, and takes some microseconds.
func Inside() bool {
	pcs := make([]uintptr, 64)
	for skip := 1; ; skip += len(pcs) { // the innermost calls come first, run is near the end
		n := runtime.Callers(skip, pcs)
		for _, pc := range pcs[:n] {
			if f := runtime.FuncForPC(pc - 1); f != nil && f.Name() == runName {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// End takes nothing more; what is queued is still called.
func (q *Queue) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}
