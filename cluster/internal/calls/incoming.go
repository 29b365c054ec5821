package calls

import (
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// callKey names a call of another node.
type callKey struct {
	from   string
	number uint64
	id     uint64
}

// Incoming are the calls of other nodes that have not ended here. Any goroutine.
type Incoming struct {
	link       *link.Link
	loops      *host.Table
	maxPayload int

	mu        sync.Mutex
	calls     map[callKey]*inbound
	answering int // taken out, answer not yet sent
	casts     int // calls without an answer that have not ended
	limit     int
	refused   bool          // the node is leaving
	idle      chan struct{} // closed when refused and nothing is left

	served, refusals, expired atomic.Uint64
}

// IncomingCounters are what Incoming has counted.
type IncomingCounters struct {
	Served, Refused, Expired uint64
	Running                  int
}

// NewIncoming makes an empty table that takes limit unfinished calls.
func NewIncoming(l *link.Link, loops *host.Table, limit, maxPayload int) *Incoming {
	return &Incoming{link: l, loops: loops, maxPayload: maxPayload, calls: map[callKey]*inbound{}, limit: limit, idle: make(chan struct{})}
}

// Counters reads what was counted.
func (t *Incoming) Counters() IncomingCounters {
	t.mu.Lock()
	running := len(t.calls) + t.casts
	t.mu.Unlock()
	return IncomingCounters{Served: t.served.Load(), Refused: t.refusals.Load(), Expired: t.expired.Load(), Running: running}
}

// add admits a call. known: the same call is here already and must not run twice.
func (t *Incoming) add(c *inbound) (known bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.refused:
		return false, fault.Codef(wire.Closed, "%w: the node is leaving", fault.ErrClosed)
	case c.home.Over:
		return false, fault.Codef(wire.Closed, "%w: the loop is being closed", fault.ErrClosed)
	case t.calls[c.key] != nil:
		return true, nil
	case len(t.calls)+t.casts >= t.limit:
		return false, fault.Codef(wire.Busy, "%w: %d calls are unfinished", fault.ErrBusy, t.limit)
	}
	t.calls[c.key] = c
	return false, nil
}

func (t *Incoming) take(key callKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls[key] == nil {
		return false
	}
	delete(t.calls, key)
	t.answering++
	return true
}

// answered notes that the answer to a call taken out has been sent.
func (t *Incoming) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answering--
	t.checkIdleLocked()
}

// Enter counts a call without an answer, false when there are too many.
func (t *Incoming) Enter(h *host.Loop) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused || h.Over || len(t.calls)+t.casts >= t.limit {
		return false
	}
	t.casts++
	h.Casts++
	return true
}

// Leave takes back one Enter.
func (t *Incoming) Leave(h *host.Loop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !h.Over {
		t.casts--
		h.Casts--
	}
}

func (t *Incoming) checkIdleLocked() {
	if t.refused && len(t.calls) == 0 && t.answering == 0 {
		select {
		case <-t.idle:
		default:
			close(t.idle)
		}
	}
}

// Refuse takes no further calls.
func (t *Incoming) Refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = true
	t.checkIdleLocked()
}

// Idle is closed once no call is left after Refuse.
func (t *Incoming) Idle() <-chan struct{} { return t.idle }

func (t *Incoming) where(match func(*inbound) bool) (out []*inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.calls {
		if match(c) {
			out = append(out, c)
		}
	}
	return out
}

// Cancel ends the task of the call that a Cancel frame names.
func (t *Incoming) Cancel(f *wire.Frame) {
	t.mu.Lock()
	c := t.calls[callKey{f.From, f.FromNumber, f.ID}]
	t.mu.Unlock()
	if c != nil {
		c.cancel("the caller does not wait any more")
	}
}

// CancelAll ends the tasks of calls that their caller has given up: those with
// ids up to the frame's.
func (t *Incoming) CancelAll(f *wire.Frame) {
	for _, c := range t.where(func(c *inbound) bool {
		return c.key.from == f.From && c.key.number == f.FromNumber && c.key.id <= f.ID
	}) {
		c.cancel("the caller was cut off and does not wait any more")
	}
}

// NodeDown ends the tasks of the calls of a node that is gone.
func (t *Incoming) NodeDown(node string, number uint64) {
	for _, c := range t.where(func(c *inbound) bool { return c.key.from == node && c.key.number == number }) {
		c.cancel("the caller's node is gone")
	}
}

// LoopEnding cancels and answers the calls of a loop that ends: their tasks may
// never get that far.
func (t *Incoming) LoopEnding(h *host.Loop) {
	t.mu.Lock()
	t.casts -= h.Casts
	h.Casts, h.Over = 0, true
	t.mu.Unlock()
	for _, c := range t.where(func(c *inbound) bool { return c.home == h }) {
		defer c.cancel("the loop is being closed") // after the answer: a cancellation would be one, too
		c.refuse(fault.Codef(wire.Closed, "%w: the loop was closed while the function ran", fault.ErrClosed))
	}
}
