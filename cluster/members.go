package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// Member is a node of the cluster as this node knows it.
type Member struct {
	Name        string    `json:"name"`
	Incarnation uint64    `json:"incarnation"`
	Joined      time.Time `json:"joined"`    // when this node first heard of it
	LastSeen    time.Time `json:"last_seen"` // when it last said something
	Suspect     bool      `json:"suspect"`   // silent, not yet given up
	Self        bool      `json:"self"`
}

// member is what is kept of another node. Guarded by memberTable.mu.
type member struct {
	number   uint64
	joined   time.Time
	seen     time.Time
	absences int  // answers "nobody is there" since it last said something
	watched  bool // actors here have watched actors there
}

type memberTable struct {
	mu      sync.Mutex
	byName  map[string]*member
	left    map[string]uint64 // incarnations that said goodbye
	lost    map[string]lost   // those given up, which may come back
	grace   time.Time         // until then "nobody is there" is no evidence
	changed chan struct{}     // closed and renewed when somebody comes or goes
}

func (t *memberTable) init() {
	t.byName, t.left, t.lost, t.changed = map[string]*member{}, map[string]uint64{}, map[string]lost{}, make(chan struct{})
}

// maxMembers bounds the members a node knows: a peer can invent names.
const maxMembers = 10_000

// maxLeft bounds what is remembered of nodes that left.
const maxLeft = 1024

// leave notes that an incarnation has ended for good. Why: its last heartbeat may
// be read after its goodbye, which came by another subscription.
func (t *memberTable) leave(name string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.left) >= maxLeft {
		clear(t.left)
	}
	t.left[name] = number
}

func (t *memberTable) signal() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// saw notes a sign of life. fresh: it was not known; replaced: the incarnation
// that has ended because a new one speaks, 0 when none has.
func (t *memberTable) saw(name string, number uint64, now time.Time) (fresh bool, replaced uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left[name] == number {
		return false, 0
	}
	m := t.byName[name]
	if m == nil && len(t.byName) >= maxMembers {
		return false, 0
	}
	if m == nil || m.number != number {
		if m != nil {
			replaced = m.number
		}
		t.byName[name] = &member{number: number, joined: now, seen: now}
		t.signal()
		return true, replaced
	}
	m.seen, m.absences = now, 0
	return false, 0
}

// drop forgets a member; false when that incarnation was not known.
func (t *memberTable) drop(name string, number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[name]
	if m == nil || m.number != number {
		return false
	}
	delete(t.byName, name)
	t.signal()
	return true
}

// absent notes that nobody listens under a name. It returns the incarnation that
// was known, 0 when none was, and whether it is dead: the second time in a row.
func (t *memberTable) absent(name string) (number uint64, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[name]
	if m == nil {
		return 0, false
	}
	if time.Now().After(t.grace) {
		m.absences++
	}
	return m.number, m.absences >= 2
}

// depend notes that an actor here watches one there.
func (t *memberTable) depend(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.byName[name]; m != nil {
		m.watched = true
	}
}

// watched are the members with actors that are watched here.
func (t *memberTable) watched() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.byName {
		if m.watched {
			out = append(out, name)
		}
	}
	return out
}

// forgive starts the clocks anew: while this node was cut off it heard nobody,
// which says nothing about them. After an outage of NATS itself others may need
// longer to come back, so for a while their absence says nothing either.
func (t *memberTable) forgive(now time.Time, grace time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grace = now.Add(grace)
	for _, m := range t.byName {
		m.seen, m.absences = now, 0
	}
}

func (t *memberTable) find(name string) (m member, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byName[name]; p != nil {
		return *p, true
	}
	return member{}, false
}

// census sorts members by how long they are silent.
func (t *memberTable) census(now time.Time, quietAfter, deadAfter time.Duration) (quiet []string, dead map[string]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.byName {
		switch silent := now.Sub(m.seen); {
		case silent > deadAfter:
			if dead == nil {
				dead = map[string]uint64{}
			}
			dead[name] = m.number
		case silent > quietAfter || m.absences > 0:
			quiet = append(quiet, name)
		}
	}
	return quiet, dead
}

// Members are the nodes of the cluster known to be alive, this one included,
// by name.
func (n *Node) Members() []Member {
	now := time.Now()
	out := []Member{{Name: n.name, Incarnation: n.number, LastSeen: now, Self: true}}
	n.members.mu.Lock()
	for name, m := range n.members.byName {
		out = append(out, Member{
			Name: name, Incarnation: m.number, Joined: m.joined, LastSeen: m.seen,
			Suspect: m.absences > 0 || now.Sub(m.seen) > quietBeats*n.cfg.Heartbeat,
		})
	}
	n.members.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// WaitMembers waits until exactly count nodes are known, this one included.
func (n *Node) WaitMembers(ctx context.Context, count int) error {
	for {
		n.members.mu.Lock()
		have, changed := len(n.members.byName)+1, n.members.changed
		n.members.mu.Unlock()
		if have == count {
			return nil
		}
		select {
		case <-changed:
		case <-n.stop:
			return fmt.Errorf("%w: the node was closed", ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d members, %d are here: %w", count, have, context.Cause(ctx))
		}
	}
}

// heard handles the membership frames of other nodes.
func (n *Node) heard(f *wire.Frame) {
	if f.From == n.name {
		if f.FromNumber != n.number {
			n.rival(f)
		}
		return
	}
	if f.Kind == wire.Goodbye {
		n.members.leave(f.From, f.FromNumber)
		n.nodeDown(f.From, f.FromNumber, itLeft)
		return
	}
	fresh, replaced := n.members.saw(f.From, f.FromNumber, time.Now())
	if replaced != 0 {
		n.ended(f.From, replaced, "it was started again")
	}
	if newest := n.members.stillThere(f.From, f.FromNumber, fresh); newest != 0 {
		n.cancelCalls(f.From, newest)
	}
	if fresh {
		n.log.Info("node joined", "member", f.From, "incarnation", f.FromNumber)
	}
	if fresh || f.Kind == wire.Hello {
		n.answer(n.subjects.of(f.From), &wire.Frame{Kind: wire.Pong, From: n.name, FromNumber: n.number})
	}
}

// nodeDown acts on evidence that a node is gone, once per incarnation.
func (n *Node) nodeDown(name string, number uint64, why string) {
	if n.members.drop(name, number) {
		n.ended(name, number, why)
	}
}

// itLeft is why a node is gone that said so itself.
const itLeft = "it left"

// ended tells everybody who depends on an incarnation that it is over.
func (n *Node) ended(name string, number uint64, why string) {
	n.stats.nodesDown.Add(1)
	level := hclog.Warn
	if why == itLeft {
		level = hclog.Info
	}
	n.log.Log(level, "node is gone", "member", name, "incarnation", number, "why", why)
	n.outboxes.drop(n, name)
	if newest := n.pending.failNode(name, number, why); why != itLeft {
		n.members.gaveUp(name, number, newest)
	}
	n.inbound.cancelFrom(name, number)
	n.watchers.forgetNode(name, number)
	n.watches.nodeDown(n, name, number, why)
	n.actors.NodeDown(name, number)
}

// nobodyThere handles NATS's answer that nobody listens as that node. Once may
// be a reconnect; twice in a row is a death. question is the number of the ping
// it is about, 0 when it is about something else.
func (n *Node) nobodyThere(name string, question uint64) {
	n.stats.noResponders.Add(1)
	if n.offline.Load() {
		return
	}
	number, dead := n.members.absent(name)
	switch {
	case dead:
		n.nodeDown(name, number, "nobody listens under its name")
	case number != 0:
		n.kick()
	default:
		n.pending.failStranger(name, question)
	}
}
