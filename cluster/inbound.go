package cluster

import (
	"sync"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// inboundTable are the calls of other nodes that have not ended here.
type inboundTable struct {
	mu        sync.Mutex
	calls     map[callKey]*inboundCall
	answering int // taken out, answer not yet sent
	casts     int // calls without an answer that have not ended
	limit     int
	refused   bool          // the node is leaving
	idle      chan struct{} // closed when refused and nothing is left
}

func (t *inboundTable) init(limit int) {
	t.calls, t.limit, t.idle = map[callKey]*inboundCall{}, limit, make(chan struct{})
}

// add admits a call. known: the same call is here already and must not run twice.
func (t *inboundTable) add(c *inboundCall) (known bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.refused:
		return false, codef(wire.Closed, "%w: the node is leaving", ErrClosed)
	case c.home.over:
		return false, codef(wire.Closed, "%w: the loop is being closed", ErrClosed)
	case t.calls[c.key] != nil:
		return true, nil
	case len(t.calls)+t.casts >= t.limit:
		return false, codef(wire.Busy, "%w: %d calls are unfinished", ErrBusy, t.limit)
	}
	t.calls[c.key] = c
	return false, nil
}

func (t *inboundTable) take(key callKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls[key] == nil {
		return false
	}
	delete(t.calls, key)
	t.answering++
	return true
}

// sent notes that a call taken out has been answered.
func (t *inboundTable) sent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answering--
	t.settleLocked()
}

// enter counts a call without an answer, false when there are too many.
func (t *inboundTable) enter(h *hosted) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused || h.over || len(t.calls)+t.casts >= t.limit {
		return false
	}
	t.casts++
	h.casts++
	return true
}

func (t *inboundTable) leave(h *hosted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !h.over {
		t.casts--
		h.casts--
	}
}

func (t *inboundTable) settleLocked() {
	if t.refused && len(t.calls) == 0 && t.answering == 0 {
		select {
		case <-t.idle:
		default:
			close(t.idle)
		}
	}
}

// refuse takes no further calls.
func (t *inboundTable) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = true
	t.settleLocked()
}

// drained is closed once no call is left after refuse.
func (t *inboundTable) drained() <-chan struct{} { return t.idle }

func (t *inboundTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calls) + t.casts
}

func (t *inboundTable) where(match func(*inboundCall) bool) (out []*inboundCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.calls {
		if match(c) {
			out = append(out, c)
		}
	}
	return out
}

// cancel ends the task of a call whose caller does not wait any more.
func (t *inboundTable) cancel(key callKey) {
	t.mu.Lock()
	c := t.calls[key]
	t.mu.Unlock()
	if c != nil {
		c.cancel("the caller does not wait any more")
	}
}

func (t *inboundTable) cancelFrom(node string, number uint64) {
	for _, c := range t.where(func(c *inboundCall) bool { return c.key.from == node && c.key.number == number }) {
		c.cancel("the caller's node is gone")
	}
}

// abandon cancels and answers the calls of a loop that ends: their tasks may
// never get that far.
func (t *inboundTable) abandon(h *hosted) {
	t.mu.Lock()
	t.casts -= h.casts
	h.casts, h.over = 0, true
	t.mu.Unlock()
	for _, c := range t.where(func(c *inboundCall) bool { return c.home == h }) {
		defer c.cancel("the loop is being closed") // after the answer: a cancellation would be one, too
		c.refuse(codef(wire.Closed, "%w: the loop was closed while the function ran", ErrClosed))
	}
}
