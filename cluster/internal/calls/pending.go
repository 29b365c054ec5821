package calls

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The calls of this node that wait for an answer. Five things can end one: its answer,
// NATS (nobody listens), the caller's ctx, membership (the node has ended), the loss of
// the connection. Each takes the call out of the table first; the one that gets it
// delivers the end, and the others find nothing.

// answer is how a call ended.
type answer struct {
	Reply
	err   error
	again bool // nothing ran, and it may be sent again
}

// pending is one call of this node that waits for its answer. Whoever takes it
// out of the table, and only that one, completes it.
type pending struct {
	id       uint64
	token    string    // of its reply subject
	kind     wire.Kind // of the request
	peer     link.Peer
	target   string
	function string
	life     bool // the address names one life of the node, not whoever has its name
	begun    time.Time
	deadline time.Time
	waiter   wait.Waiter[answer]

	// Guarded by the table's mutex.
	published bool
	asked     uint64 // the first question after it was published, see mark
}

func (p *pending) done(a answer) { p.waiter.Deliver(a) }

// failure is an error about this call, with its target and function.
func (p *pending) failure(kind error, text string) error {
	return fault.New(p.target, p.function, kind, text)
}

const (
	// slots is how many reply subjects are used in turn. Why not one per call: the
	// server caches subjects, and a new one each time would never be in its cache.
	slots = 512
	// answerSoon: a call that takes longer makes its node one to ask.
	answerSoon = 50 * time.Millisecond
)

// table are the calls that wait. A call has two keys: its id, which the answer
// repeats, and the token of its reply subject, by which NATS says that nobody is
// there. Invariant: a token is of one waiting call at a time.
type table struct {
	link      *link.Link
	mu        sync.Mutex
	byID      map[uint64]*pending
	slot      [slots]*pending // those whose token is a slot number
	tokens    [slots]string
	questions uint64 // asked so far, see mark
	closed    bool
}

func (t *table) init(l *link.Link) {
	t.link, t.byID = l, map[uint64]*pending{}
	for i := range t.tokens {
		t.tokens[i] = strconv.Itoa(i)
	}
}

// add gives the call its id and a token. The token is the number of the slot that the
// id falls into; when a waiting call has that slot, the token is made of the id,
// which the server has never seen and which costs it a look-up.
func (t *table) add(p *pending) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("%w: this node", fault.ErrClosed)
	}
	p.id = t.link.NextID() // under mu: takeWhere's newest covers what was added before
	t.byID[p.id] = p
	if i := p.id % slots; t.slot[i] == nil {
		t.slot[i], p.token = p, t.tokens[i]
	} else {
		p.token = "x" + strconv.FormatUint(p.id, 36)
	}
	return nil
}

// sent notes that the call has been published.
func (t *table) sent(p *pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.published = true
}

// take removes and returns the call; nil when somebody else has it.
func (t *table) take(id uint64) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.takeLocked(id)
}

// takeFrom is take of a request that went to that node: ids are counted up and so can
// be guessed, and a node must not be able to answer for another one.
func (t *table) takeFrom(id uint64, node string) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p == nil || p.peer.Name != node {
		return nil
	}
	return t.takeLocked(id)
}

func (t *table) takeLocked(id uint64) *pending {
	p := t.byID[id]
	if p == nil {
		return nil
	}
	delete(t.byID, id)
	if i := id % slots; t.slot[i] == p {
		t.slot[i] = nil
	}
	return p
}

// takeToken finds the call that NATS's "nobody is there" is about, by the token of
// its reply subject. A slot is used again 512 ids later at the earliest, and this
// answer comes from the node's own server, at once.
func (t *table) takeToken(token string) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest, ok := strings.CutPrefix(token, "x"); ok {
		id, err := strconv.ParseUint(rest, 36, 64)
		if err != nil {
			return nil
		}
		return t.takeLocked(id)
	}
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || i >= slots || t.slot[i] == nil {
		return nil
	}
	return t.takeLocked(t.slot[i].id)
}

func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// nodes are those that calls wait for longer than answerSoon. Membership asks them,
// each once.
func (t *table) nodes(now time.Time) []link.Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []link.Peer
	seen := map[link.Peer]bool{}
	for _, p := range t.byID {
		if !seen[p.peer] && now.Sub(p.begun) > answerSoon {
			seen[p.peer] = true
			out = append(out, p.peer)
		}
	}
	return out
}

// takeWhere takes the calls that match. It also returns the newest id that was given
// out until then, under the same lock: a CancelAll with it covers exactly the calls
// before this moment.
func (t *table) takeWhere(match func(*pending) bool) (out []*pending, newest uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.byID {
		if match(p) {
			out = append(out, t.takeLocked(id))
		}
	}
	return out, t.link.LastID()
}

// close refuses what comes.
func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// mark gives a question to a node a number and writes it on the calls to the
// node that were published before it.
func (t *table) mark(peer link.Peer) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.questions++
	for _, p := range t.byID {
		if p.peer == peer && p.published && p.asked == 0 {
			p.asked = t.questions
		}
	}
	return t.questions
}
