// Package watching drives the watches between this node and the others: it gives
// package watch the time and the frames that arrive, sends the messages that package
// makes, finds what is watched here, and calls the functions of those who watch.
package watching

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
	"github.com/loopmesh/loopmesh/cluster/internal/watch"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Between the two tables of package watch, which are pure, and the other parts: as in
// package members, step gives the tables one input and carries out their output.
// In addition this package finds what a path names on this node (hooks.go), and calls
// the functions of users through notify, so that a slow one holds up nobody.

// Members is what watches need to know of the nodes of the cluster.
type Members interface {
	// Number is the incarnation a member lives as; false when it is no member.
	Number(node string) (uint64, bool)
	// NoMember says for people why a node is no member.
	NoMember(node string) string
	// Depends is told that a watch waits for a node.
	Depends()
}

// Watches are the watches of this node on others and of others on this one: of
// loops, connections, child processes and actors alike. Any goroutine.
type Watches struct {
	link    *link.Link
	members Members
	loops   *host.Table
	actors  *actors.System
	log     hclog.Logger
	begun   time.Time     // time 0 of the tables
	notify  *notify.Queue // calls functions of users

	mu      sync.Mutex
	out     *watch.Outgoing
	in      *watch.Incoming
	owners  map[uint64]func(error) // who is told of the end of a watch elsewhere
	hooks   map[string]*hook       // what is watched here
	waiting []func()               // ends to tell and hooks to set, in order
	busy    bool                   // somebody does what is in waiting
	local   atomic.Int64           // watches of loops of this process
}

// New makes empty tables. Functions of users are called through q.
func New(l *link.Link, m Members, sys *actors.System, heartbeat time.Duration, q *notify.Queue, log hclog.Logger) *Watches {
	cfg := watch.Defaults(heartbeat)
	return &Watches{
		notify: q, link: l, members: m, actors: sys, log: log, begun: time.Now(),
		out: watch.NewOutgoing(cfg), in: watch.NewIncoming(cfg), owners: map[uint64]func(error){}, hooks: map[string]*hook{},
	}
}

// Loops says which loops can be watched; before anything is served.
func (t *Watches) Loops(loops *host.Table) { t.loops = loops }

func (t *Watches) now() time.Duration { return time.Since(t.begun) }

// step gives the tables one input, sends what they want to say, tells ends and sets
// hooks. Any goroutine.
//
// Invariant: messages leave under mu, in the order in which they were made. The rest
// happens outside of it, in order, by whoever finds nobody doing it: those who are
// told, and a hook in something that has ended already, call back.
func (t *Watches) step(input func(now time.Duration)) {
	t.mu.Lock()
	input(t.now())
	t.settle()
	if t.busy {
		t.mu.Unlock()
		return
	}
	t.busy = true
	for len(t.waiting) > 0 {
		todo := t.waiting
		t.waiting = nil
		t.mu.Unlock()
		for _, do := range todo {
			do()
		}
		t.mu.Lock()
	}
	t.busy = false
	t.mu.Unlock()
}

// settle sends what the tables want to say and notes what is to be done outside of
// the lock: ends to tell, hooks to set. A watch that was taken back has no owner any
// more, so its end is told to nobody. mu is held.
func (t *Watches) settle() {
	out, ended := t.out.Take()
	for _, e := range ended {
		if owner := t.owners[e.ID]; owner != nil {
			delete(t.owners, e.ID)
			t.waiting = append(t.waiting, func() { owner(e.Reason) })
		}
	}
	held, orders := t.in.Take()
	for _, o := range orders {
		t.waiting = append(t.waiting, func() { t.obey(o) })
	}
	for _, m := range out {
		t.send(m)
	}
	for _, m := range held {
		t.send(m)
	}
}

var kinds = map[watch.Kind]wire.Kind{
	watch.Watch: wire.Watch, watch.Watching: wire.Watching, watch.Terminated: wire.Terminated, watch.Unwatch: wire.Unwatch,
}

// watchToken begins the token of a Watch; the peer follows.
const watchToken = "w-"

// send puts a message into a frame. A Watch goes out with a token, so that NATS tells
// when nobody listens as that life: such a watch ends at once and not after its
// repetitions. What could not be sent is repeated by the tables.
func (t *Watches) send(m watch.Message) {
	me, to := t.link.Self(), link.Peer{Name: m.To.Name, Number: m.To.Incarnation}
	f := &wire.Frame{Kind: kinds[m.Kind], ID: m.ID, From: me.Name, FromNumber: me.Number, Path: m.Path}
	var err error
	switch m.Kind {
	case watch.Watch:
		f.Incarnation = m.To.Incarnation
		err = t.link.SendFor(to, watchToken+to.String(), f)
	case watch.Terminated:
		reason := m.Reason
		if errors.Is(reason, watch.ErrLimit) {
			reason = fault.Codef(wire.Busy, "%w", reason)
		}
		fault.DescribeEnd(f, reason)
		err = t.link.Send(to, f)
	default:
		err = t.link.Send(to, f)
	}
	if err != nil {
		t.log.Debug("a message about a watch could not be sent; it will be sent again", "kind", m.Kind, "to", to, "error", err)
	}
}

// Heard takes a frame about a watch.
func (t *Watches) Heard(f *wire.Frame) {
	from := watch.Node{Name: f.From, Incarnation: f.FromNumber}
	id, path := f.ID, f.Path
	t.step(func(now time.Duration) {
		switch f.Kind {
		case wire.Watch:
			t.in.Watch(now, from, id, path)
		case wire.Unwatch:
			t.in.Unwatch(from, id)
		case wire.Watching:
			t.out.Watching(from, id)
		case wire.Terminated:
			t.out.Terminated(from, id, fault.End(from.Name, f))
		}
	})
}

// NodeDown ends the watches of what is on a life of a node that is gone. hasLeft: it
// cannot come back.
func (t *Watches) NodeDown(peer link.Peer, why string, hasLeft bool) {
	node := watch.Node{Name: peer.Name, Incarnation: peer.Number}
	t.step(func(now time.Duration) {
		t.out.NodeDown(node, fault.New(peer.Name, "", fault.ErrNodeDown, why))
		if hasLeft {
			t.in.Forget(node)
		} else {
			t.in.NodeDown(now, node)
		}
	})
}

// Forget drops the watches of a life that has never become a member.
func (t *Watches) Forget(peer link.Peer) {
	t.step(func(time.Duration) { t.in.Forget(watch.Node{Name: peer.Name, Incarnation: peer.Number}) })
}

// Unreachable handles NATS's "nobody is there" for a watch. It returns the peer
// that it is about; false when the token is of something else.
func (t *Watches) Unreachable(token string) (peer link.Peer, ok bool) {
	text, ok := cutToken(token)
	if !ok {
		return link.Peer{}, false
	}
	return link.ParsePeer(text)
}

func cutToken(token string) (string, bool) {
	if len(token) < len(watchToken) || token[:len(watchToken)] != watchToken {
		return "", false
	}
	return token[len(watchToken):], true
}

// Absent ends the watches of an incarnation that is no member. Membership decides about
// members.
func (t *Watches) Absent(peer link.Peer) {
	if number, _ := t.members.Number(peer.Name); number == peer.Number {
		return
	}
	t.step(func(time.Duration) {
		node := watch.Node{Name: peer.Name, Incarnation: peer.Number}
		t.out.NodeDown(node, fault.New(peer.Name, "", fault.ErrUnknownNode, "nobody listens as that incarnation"))
	})
}

// Nodes are those on which something is watched.
func (t *Watches) Nodes() []link.Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	nodes := t.out.Nodes()
	out := make([]link.Peer, len(nodes))
	for i, n := range nodes {
		out[i] = link.Peer{Name: n.Name, Number: n.Incarnation}
	}
	return out
}

// Again repeats all watches: others may have given this node up meanwhile.
func (t *Watches) Again() { t.step(t.out.Again) }

// Tick repeats what was not answered.
func (t *Watches) Tick() {
	t.step(func(now time.Duration) {
		t.out.Tick(now)
		t.in.Tick(now)
	})
}

// EndAll tells everybody who watches something here that it ends: the node leaves.
func (t *Watches) EndAll(reason error) {
	t.step(func(now time.Duration) { t.in.EndAll(now, reason) })
}

// Counters are how many watches there are.
type Counters struct {
	Outgoing   int    // of this node, on others
	Incoming   int    // of others, on this node
	Local      int    // of this node, on loops of this process
	Foreign    uint64 // answers of nodes that were not asked
	Unanswered int
}

// Counters counts.
func (t *Watches) Counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Counters{
		Outgoing: t.out.Count(), Incoming: t.in.Count(), Local: int(t.local.Load()), Foreign: t.out.Foreign(),
		Unanswered: t.out.Unanswered(),
	}
}

func closed() error { return fmt.Errorf("%w: the node has been closed", fault.ErrClosed) }
