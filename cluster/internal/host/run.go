package host

import (
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// What the goroutine of an own loop does: it runs the loop until it is stopped, refuses
// later calls, cancels the tasks and gives them time to end, and closes the loop. The
// time is limited, because a task may ignore its cancellation; such tasks are dropped by
// the close.

const (
	endLimit   = time.Second           // how long cancelled tasks may take to end
	endTurn    = 10 * time.Millisecond // one wait for them
	closeLimit = 5 * time.Second       // how long all own loops together may take to end
)

// Run makes loop addressable and runs it on a goroutine of its own, until
// somebody stops it, at the latest Close.
func (t *Table) Run(loop *loopnode.Loop) (loopnode.Ref, error) {
	h := t.make(loop)
	h.own = true
	if err := t.enter(h); err != nil {
		_ = loop.Close() // it has not run: there is nothing to lose
		return loopnode.Ref{}, err
	}
	// goroutine: owner: node; ends when the loop is stopped, at the latest by Close
	go t.run(h)
	return h.Ref, nil
}

// run is the body of the goroutine of an own loop. gone is closed last: Close waits
// for it.
func (t *Table) run(h *Loop) {
	defer close(h.gone)
	died := h.Loop.RunForever()
	if died != nil {
		t.log.Error("loop died", "loop", h.Loop.Name(), "error", died)
	}
	t.end(h) // before the tasks are cancelled: calls end with ErrClosed, not ErrCancelled
	endTasks(h.Loop)
	if err := h.Loop.CloseWith(died); err != nil {
		t.log.Error("closing a loop failed", "loop", h.Loop.Name(), "error", err)
	}
}

// endTasks cancels the tasks of a stopped loop and lets them end: a task that is
// only dropped cannot clean up.
func endTasks(loop *loopnode.Loop) {
	for _, task := range loopnode.AllTasks(loop) {
		task.Cancel("the loop is being closed")
	}
	for end := time.Now().Add(endLimit); len(loopnode.AllTasks(loop)) > 0 && time.Now().Before(end); {
		if err := loop.RunOnce(endTurn); err != nil {
			return
		}
	}
}

// Close ends the own loops and takes the others out of the table. It waits for the own
// ones, at most closeLimit for all of them.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	all := t.all()
	for _, h := range all {
		t.end(h)
		if h.own {
			_ = h.Ref.Stop() // a closed loop needs no stop
		}
	}
	limit := time.NewTimer(closeLimit)
	defer limit.Stop()
	for _, h := range all {
		if h.own {
			select {
			case <-h.gone:
			case <-limit.C:
				t.log.Error("a loop does not stop: a callback of it does not return", "loop", h.Loop.Name(), "waited", closeLimit)
				return
			}
		}
		t.remove(h)
	}
}
