package cluster

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// reply is how a request ended.
type reply struct {
	codec   wire.Codec
	payload []byte
	err     error
}

// pending is one request of this node that waits for its answer. Whoever takes
// it out of the table, and only that one, completes it.
type pending struct {
	id       uint64
	token    string // of its reply subject
	node     string
	number   uint64 // incarnation asked, 0 when it was not known
	target   string
	function string
	begun    time.Time
	deadline time.Time
	waiter   waiter[reply]

	// Guarded by the table's mutex.
	published bool
	asked     uint64 // the first question after it was published, see mark
}

func (p *pending) done(r reply) { p.waiter.deliver(r) }

func (p *pending) failure(kind error, text string) error {
	e := &RemoteError{Target: p.target, Function: p.function, Message: text, code: codeOf(kind)}
	if e.code == wire.User { // only this node can say it, so it has no code
		e.sentinel, e.Message = kind, kind.Error()+": "+text
	}
	return e
}

// slots is how many reply subjects are used in turn. Why not one per call: the
// server caches subjects, and a new one each time would never be in its cache.
const slots = 512

type pendingTable struct {
	mu        sync.Mutex
	byID      map[uint64]*pending
	slot      [slots]*pending // those whose token is a slot number
	tokens    [slots]string
	next      uint64
	questions uint64 // asked by the patrol so far
	closed    bool
}

func (t *pendingTable) init() {
	t.byID = map[uint64]*pending{}
	// Why random: an answer to an earlier incarnation must not fit a call of this one.
	t.next = randomNumber() >> 8
	for i := range t.tokens {
		t.tokens[i] = strconv.Itoa(i)
	}
}

// draw gives an id that nothing else of this node has.
func (t *pendingTable) draw() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	return t.next
}

func (t *pendingTable) add(p *pending) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("%w: this node", ErrClosed)
	}
	t.next++
	p.id = t.next
	t.byID[p.id] = p
	if i := p.id % slots; t.slot[i] == nil {
		t.slot[i], p.token = p, t.tokens[i]
	} else {
		p.token = "x" + strconv.FormatUint(p.id, 36)
	}
	return nil
}

// sent notes that the request has been published.
func (t *pendingTable) sent(p *pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.published = true
}

// take removes and returns the request; nil when somebody else has it.
func (t *pendingTable) take(id uint64) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.takeLocked(id)
}

func (t *pendingTable) takeLocked(id uint64) *pending {
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

func (t *pendingTable) takeToken(token string) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest, ok := cutPrefix(token, 'x'); ok {
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

func cutPrefix(s string, c byte) (string, bool) {
	if s == "" || s[0] != c {
		return s, false
	}
	return s[1:], true
}

func (t *pendingTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// nodes are those that somebody here waits for, longer than NATS needs to say
// that nobody is there.
func (t *pendingTable) nodes(now time.Time) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	seen := map[string]bool{}
	for _, p := range t.byID {
		if !seen[p.node] && now.Sub(p.begun) > answerSoon {
			seen[p.node] = true
			out = append(out, p.node)
		}
	}
	return out
}

// takeWhere also returns the newest id that was given out until then.
func (t *pendingTable) takeWhere(match func(*pending) bool) (out []*pending, newest uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.byID {
		if match(p) {
			out = append(out, t.takeLocked(id))
		}
	}
	return out, t.next
}

// failAll ends every call. No call with an id up to newest waits any more.
func (t *pendingTable) failAll(why func(*pending) error) (newest uint64) {
	all, newest := t.takeWhere(func(*pending) bool { return true })
	for _, p := range all {
		p.done(reply{err: why(p)})
	}
	return newest
}

// close fails what waits and refuses what comes.
func (t *pendingTable) close(why func(*pending) error) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.failAll(why)
}

// failNode ends what waits for an incarnation of a node. No call to it with an id
// up to newest waits any more.
func (t *pendingTable) failNode(node string, number uint64, why string) (newest uint64) {
	return t.failWhere(why, func(p *pending) bool { return p.node == node && (p.number == 0 || p.number == number) })
}

// mark notes which requests were published before a question to the node that
// follows now, and gives the question a number.
func (t *pendingTable) mark(node string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.questions++
	for _, p := range t.byID {
		if p.node == node && p.published && p.asked == 0 {
			p.asked = t.questions
		}
	}
	return t.questions
}

// failStranger ends what was published before a question that found nobody, to a
// node that is no member. Why: NATS answers in order. Had it known at that time
// that nobody is there, it would have said so about the request first; so it
// delivered to a connection that was closed already.
func (t *pendingTable) failStranger(node string, question uint64) {
	t.failWhere("nobody listens under its name", func(p *pending) bool {
		return p.node == node && p.asked != 0 && p.asked <= question
	})
}

func (t *pendingTable) failWhere(why string, match func(*pending) bool) (newest uint64) {
	failed, newest := t.takeWhere(match)
	for _, p := range failed {
		p.done(reply{err: p.failure(ErrNodeDown, why+"; the function may have run")})
	}
	return newest
}

// expire ends requests past their deadline whose waiter has no clock of its own,
// or has not looked at it yet. heard tells whether the node lives.
func (t *pendingTable) expire(now time.Time, heard func(node string) string) {
	overdue, _ := t.takeWhere(func(p *pending) bool { return now.After(p.deadline) })
	for _, p := range overdue {
		p.done(reply{err: p.failure(ErrExpired, "no answer in time; "+heard(p.node))})
	}
}

// unreachableCall ends a request that NATS could deliver to nobody: nothing ran.
func (n *Node) unreachableCall(token string) {
	p := n.pending.takeToken(token)
	if p == nil {
		return
	}
	p.done(reply{err: p.failure(ErrUnknownNode, "nobody listens under that name")})
	n.nobodyThere(p.node, 0)
}
