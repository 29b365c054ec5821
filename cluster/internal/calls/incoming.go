package calls

import (
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Calls of others. Each call passes these steps: arrival (did it come before?),
// admission (is it within the limits?), the queue of its loop, a task, an answer. Calls
// of functions named loopmesh.… are admitted like all others, but do not wait in the
// queue: they are posted to the loop at once (Serve). The table holds every call from
// its admission to its answer. Whoever takes a call out of the table answers it, and
// nobody else, so a call is answered exactly once, although five things can end it: the
// function, its deadline, the caller, the end of the caller's node, the end of the loop.
//
// A node that takes no more calls still takes those of the admin API: who drains it wants to
// see what it waits for.
//
// Invariant: calls, byLoop, admin and answering agree. idle is closed when the node takes no
// more calls, none is in the table, and no answer is being sent: then closing the
// connection loses nothing.

// sender is one incarnation of a node.
type sender struct {
	from   string
	number uint64
}

// maxSenders is how many nodes' ids are remembered at most: a peer can invent names.
const maxSenders = 4096

// callKey names a call of another node.
type callKey struct {
	from   string
	number uint64
	id     uint64
}

// Incoming are the calls of other nodes that have not ended here. Any goroutine.
type Incoming struct {
	link   *link.Link
	loops  *host.Table
	limits InLimits
	traces *traces.Tracer

	mu        sync.Mutex
	calls     map[callKey]*inbound
	byLoop    map[*host.Loop]*load // of calls; a loop without calls is not in it
	bySender  map[sender]*seen
	forgotten bool          // of bySender: some were dropped
	admin     int           // of calls: of the admin API; nobody waits for them
	answering int           // taken out, answer not yet sent
	refused   bool          // the node is leaving
	idle      chan struct{} // closed when refused and nothing is left

	served, refusals, expired atomic.Uint64
}

// InLimits are what others can make this node hold.
type InLimits struct {
	MaxPayload int    // bytes of arguments and results
	Calls      int    // unfinished ones of each loop
	Bytes      uint64 // of their arguments, for each loop
}

// load is what the unfinished calls of one loop hold. Why by loop: a stuck loop must
// not close the whole node.
type load struct {
	calls int
	bytes uint64
}

// IncomingCounters are what Incoming has counted.
type IncomingCounters struct {
	Served, Refused, Expired uint64
	Running                  int
}

// NewIncoming makes an empty table.
func NewIncoming(l *link.Link, loops *host.Table, limits InLimits, t *traces.Tracer) *Incoming {
	return &Incoming{
		link: l, loops: loops, limits: limits, traces: t,
		calls: map[callKey]*inbound{}, bySender: map[sender]*seen{}, byLoop: map[*host.Loop]*load{}, idle: make(chan struct{}),
	}
}

// Counters reads what was counted.
func (t *Incoming) Counters() IncomingCounters {
	t.mu.Lock()
	running := len(t.calls) - t.admin
	t.mu.Unlock()
	return IncomingCounters{Served: t.served.Load(), Refused: t.refusals.Load(), Expired: t.expired.Load(), Running: running}
}

// add admits a call. known: the same call has arrived before and must not run twice.
// That is checked first, because a repetition must not be answered "busy" while its
// first copy runs. A loop without unfinished calls admits one of any size: otherwise a
// large argument could never be sent to an idle loop.
func (t *Incoming) add(c *inbound) (known bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	have, size := t.byLoop[c.target], uint64(len(c.payload))
	if have == nil {
		have = &load{}
	}
	switch t.arrivalLocked(c.key) {
	case again:
		return true, nil
	case tooOld:
		return false, fault.Codef(wire.Refused, "%w: the call arrived so late that nobody knows whether it ran before", fault.ErrRefused)
	}
	switch {
	case t.refused && !c.admin:
		return false, fault.Codef(wire.Leaving, "the node is leaving; nothing ran")
	case c.target.Ending():
		return false, fault.Codef(wire.Leaving, "the loop is being closed; nothing ran")
	case have.calls >= t.limits.Calls, c.target.Queue.Full(), have.calls > 0 && have.bytes+size > t.limits.Bytes:
		return false, fault.Codef(wire.Busy, "%w: loop %s has %d unfinished calls with %d bytes (Config.MaxInbound)", fault.ErrBusy, c.target.Loop.Name(), have.calls, have.bytes)
	}
	have.calls++
	have.bytes += size
	t.byLoop[c.target] = have
	t.calls[c.key] = c
	if c.admin {
		t.admin++
	}
	return false, nil
}

// arrivalLocked notes the id of a call and says whether it came before. When too many
// nodes are remembered, all are forgotten, so that memory stays bounded: a frame that
// came before that moment and is repeated after it can run twice.
func (t *Incoming) arrivalLocked(key callKey) arrival {
	from := sender{key.from, key.number}
	s := t.bySender[from]
	if s == nil {
		if len(t.bySender) >= maxSenders {
			clear(t.bySender)
			t.forgotten = true
		}
		s = &seen{}
		t.bySender[from] = s
	}
	return s.note(key.id)
}

// take removes a call from the table; false when somebody else has. Its answer counts
// as being sent until answered is called.
func (t *Incoming) take(key callKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[key]
	if c == nil {
		return false
	}
	delete(t.calls, key)
	if c.admin {
		t.admin--
	}
	l := t.byLoop[c.target]
	l.calls--
	l.bytes -= uint64(len(c.payload))
	if l.calls == 0 {
		delete(t.byLoop, c.target)
	}
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

// checkIdleLocked closes idle once.
func (t *Incoming) checkIdleLocked() {
	if t.refused && len(t.calls) == t.admin && t.answering == 0 {
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

// where returns the calls that match. It collects them first, because what is done to
// them takes the lock.
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

// CancelAll ends the tasks of calls that their caller has given up: those with ids up
// to the frame's, which is the newest that the caller had drawn. Calls that it makes
// afterwards have higher ids and go on.
func (t *Incoming) CancelAll(f *wire.Frame) {
	for _, c := range t.where(func(c *inbound) bool {
		return c.key.from == f.From && c.key.number == f.FromNumber && c.key.id <= f.ID
	}) {
		c.cancel("the caller was cut off and does not wait any more")
	}
}

// NodeDown ends the tasks of the calls of a node that is gone.
func (t *Incoming) NodeDown(peer link.Peer) {
	t.mu.Lock()
	if from := (sender{peer.Name, peer.Number}); t.bySender[from] != nil {
		delete(t.bySender, from)
		t.forgotten = true // it may come back, and calls of before may have run
	}
	t.mu.Unlock()
	for _, c := range t.where(func(c *inbound) bool { return c.key.from == peer.Name && c.key.number == peer.Number }) {
		c.cancel("the caller's node is gone")
	}
}

// CancelEvery ends the tasks of all calls.
func (t *Incoming) CancelEvery(why string) {
	for _, c := range t.where(func(*inbound) bool { return true }) {
		c.cancel(why)
	}
}

// LoopEnding answers the calls of a loop that ends, and then cancels their tasks: a task
// of a closed loop may never run again, so it could not answer. Those whose function has not
// begun are told so: their callers may ask another loop.
func (t *Incoming) LoopEnding(h *host.Loop) {
	for _, c := range t.where(func(c *inbound) bool { return c.target == h }) {
		defer c.cancel("the loop is being closed") // after the answer: a cancelled task answers ErrCancelled
		if c.state.CompareAndSwap(waiting, never) {
			c.refuse(fault.Codef(wire.Leaving, "the loop was closed before it began the call"))
			continue
		}
		c.refuse(fault.Codef(wire.Closed, "%w: the loop was closed while the function ran", fault.ErrClosed))
	}
}
