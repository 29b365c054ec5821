// Package members knows which nodes live. It sends this node's heartbeats, asks
// nodes that are silent, and tells when one has joined or is gone. It also claims
// this node's name when it starts.
package members

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
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

// Events are what Members tells the rooms that depend on other nodes. They run on
// the receiving goroutine or on that of Run, and never wait.
type Events struct {
	Back     func(node string, number uint64)                           // it was no member before
	Gone     func(node string, number uint64, why string, hasLeft bool) // once per incarnation
	Stranger func(node string, question uint64)                         // nobody listens under a name that is no member's
	Mark     func(node string) (question uint64)                        // a question to the node follows
	Needed   func(now time.Time) []string                               // nodes that somebody here depends on; may repeat
	Sweep    func(now time.Time)                                        // it is time to end and to repeat what is overdue
}

// Config says how often and how long.
type Config struct {
	Heartbeat, DeadAfter time.Duration
}

// Members are the nodes this node knows. Any goroutine.
type Members struct {
	link   *link.Link
	cfg    Config
	events Events
	log    hclog.Logger
	table  table
	claim  claim
	kicks  chan struct{} // wakes Run

	notices   atomic.Bool // the server tells when a client goes, so nobody need be asked often
	down      atomic.Uint64
	absences  atomic.Uint64
	conflicts atomic.Uint64
	quiet     ratelog.Line // about conflicts
}

// Counters are what Members has counted.
type Counters struct{ Down, NoResponders, Conflicts uint64 }

// New makes an empty table.
func New(l *link.Link, cfg Config, events Events, log hclog.Logger) *Members {
	m := &Members{link: l, cfg: cfg, events: events, log: log, kicks: make(chan struct{}, 1)}
	m.table.init()
	m.claim.lost = make(chan uint64, 1)
	return m
}

// Counters reads what was counted.
func (m *Members) Counters() Counters {
	return Counters{Down: m.down.Load(), NoResponders: m.absences.Load(), Conflicts: m.conflicts.Load()}
}

// Number is the incarnation a member lives as; false when it is no member.
func (m *Members) Number(node string) (uint64, bool) {
	p, ok := m.table.find(node)
	return p.number, ok
}

// Numbers are the members with their incarnations.
func (m *Members) Numbers() map[string]uint64 {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	out := map[string]uint64{}
	for name, p := range m.table.byName {
		out[name] = p.number
	}
	return out
}

// LastHeard says for people when a node was last heard of.
func (m *Members) LastHeard(node string) string {
	p, ok := m.table.find(node)
	if !ok {
		return "node " + node + " is not a known member"
	}
	return fmt.Sprintf("node %s was heard of %v ago", node, time.Since(p.seen).Round(time.Millisecond))
}

// Depend notes that an actor here watches one there.
func (m *Members) Depend(node string) { m.table.depend(node) }

// List are the members, this node included, by name.
func (m *Members) List() []Member {
	now, me := time.Now(), m.link.Self()
	out := []Member{{Name: me.Name, Incarnation: me.Number, LastSeen: now, Self: true}}
	m.table.mu.Lock()
	for name, p := range m.table.byName {
		out = append(out, Member{
			Name: name, Incarnation: p.number, Joined: p.joined, LastSeen: p.seen,
			Suspect: p.absences > 0 || now.Sub(p.seen) > quietBeats*m.cfg.Heartbeat,
		})
	}
	m.table.mu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Wait waits until exactly count nodes are known, this one included, or stop is
// closed.
func (m *Members) Wait(ctx context.Context, count int, stop <-chan struct{}) error {
	for {
		m.table.mu.Lock()
		have, changed := len(m.table.byName)+1, m.table.changed
		m.table.mu.Unlock()
		if have == count {
			return nil
		}
		select {
		case <-changed:
		case <-stop:
			return fmt.Errorf("%w: the node was closed", fault.ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d members, %d are here: %w", count, have, context.Cause(ctx))
		}
	}
}

// Disconnected notes that the connection is lost. notices: the next server will
// surely tell who goes.
func (m *Members) Disconnected(notices bool) { m.notices.Store(notices) }

// Reconnected starts the clocks of the others anew and says that this node is back.
func (m *Members) Reconnected() {
	m.table.forgive(time.Now(), m.cfg.DeadAfter)
	m.link.SetOffline(false)
	m.link.Broadcast(&wire.Frame{Kind: wire.Hello})
}

// Farewell tells the members that the node leaves on purpose. Why one by one:
// each must read it behind the answers that were sent to it before.
func (m *Members) Farewell() {
	me := m.link.Self()
	for _, p := range m.List() {
		if !p.Self {
			m.link.Answer(p.Name, &wire.Frame{Kind: wire.Goodbye, From: me.Name, FromNumber: me.Number})
		}
	}
}

// Heard handles Hello, Ping, Pong and Goodbye.
func (m *Members) Heard(f *wire.Frame) {
	me := m.link.Self()
	if f.From == me.Name {
		if f.FromNumber != me.Number {
			m.rival(f)
		}
		return
	}
	if f.Kind == wire.Goodbye {
		m.table.leave(f.From, f.FromNumber)
		m.nodeDown(f.From, f.FromNumber, itLeft)
		return
	}
	fresh, replaced := m.table.saw(f.From, f.FromNumber, time.Now())
	if replaced != 0 {
		m.ended(f.From, replaced, "it was started again")
	}
	if fresh {
		m.events.Back(f.From, f.FromNumber)
		m.log.Info("node joined", "member", f.From, "incarnation", f.FromNumber)
	}
	if fresh || f.Kind == wire.Hello {
		m.link.Answer(f.From, &wire.Frame{Kind: wire.Pong, From: me.Name, FromNumber: me.Number})
	}
}

// Pinged answers a ping that was sent to this node alone.
func (m *Members) Pinged(f *wire.Frame, in link.Arrival) {
	me := m.link.Self()
	if in.Reply != "" {
		m.link.AnswerQuestion(in, &wire.Frame{Kind: wire.Pong, ID: f.ID, From: me.Name, FromNumber: me.Number})
	}
	if f.From != me.Name { // a node that starts under this name only asks; it has not joined
		m.Heard(f)
	}
}

// nodeDown acts on evidence that a node is gone, once per incarnation.
func (m *Members) nodeDown(name string, number uint64, why string) {
	if m.table.drop(name, number) {
		m.ended(name, number, why)
	}
}

// itLeft is why a node is gone that said so itself.
const itLeft = "it left"

func (m *Members) ended(name string, number uint64, why string) {
	m.down.Add(1)
	level := hclog.Warn
	if why == itLeft {
		level = hclog.Info
	}
	m.log.Log(level, "node is gone", "member", name, "incarnation", number, "why", why)
	m.events.Gone(name, number, why, why == itLeft)
}

// Absent handles NATS's answer that nobody listens as that node.
func (m *Members) Absent(name string) { m.absent(name, 0) }

// absent: once may be a reconnect; twice in a row is a death. question is the
// number of the ping it is about, 0 when it is about something else.
func (m *Members) absent(name string, question uint64) {
	m.absences.Add(1)
	if m.link.Offline() {
		return
	}
	number, dead := m.table.absent(name)
	switch {
	case dead:
		m.nodeDown(name, number, "nobody listens under its name")
	case number != 0:
		m.Kick()
	default:
		m.events.Stranger(name, question)
	}
}
