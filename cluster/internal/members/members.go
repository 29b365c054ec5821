// Package members drives the membership of this node: it gives package membership
// the time and the frames that arrive, sends the messages that package makes, and tells
// the other parts of the node which nodes have joined and ended, and whether this node
// may serve.
package members

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/membership"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
)

// Events are called by Members for the parts that depend on other nodes: one after
// another, in the order of the events, on any goroutine. They must not wait.
type Events struct {
	Joined       func(link.Peer)                                // it is a member now; it may have been given up before
	Gone         func(peer link.Peer, why string, hasLeft bool) // once for every Joined
	Serving      func()                                         // this node may serve again: others may have given it up meanwhile
	Lost         func(newer uint64)                             // a newer node has this node's name
	Unknown      func(link.Peer)                                // it was admitted and has not become a member (Admit)
	NoResponders func(peer link.Peer, question uint64)          // nobody listens as a life that is no member's
	Mark         func(link.Peer) (question uint64)              // a question to the node follows
	Unseen       func(link.Peer) (from uint64)                  // from which of its calls on none has begun here, as this node leaves
	Needed       func(now time.Time) []link.Peer                // nodes that somebody here depends on; may repeat
	Sweep        func(now time.Time)                            // it is time to end and to repeat what is overdue
}

// Config says how often and how long.
type Config struct {
	Heartbeat, DeadAfter time.Duration
	Secret               uint64 // drawn at random: questions have numbers that nobody guesses
}

// Members are the nodes this node knows. Any goroutine.
//
// mu guards the machine and what is kept in step with it. What is read at each call
// of another node (lives, serveUntil) can be read without it: a call must not wait
// while events are being sent.
type Members struct {
	link   *link.Link
	cfg    Config
	events Events
	log    hclog.Logger
	begun  time.Time     // time 0 of the machine
	wakes  chan struct{} // Run looks when to tick next
	steps  chan step     // how the claim of the name ended

	depends chan struct{} // Run asks again those that somebody depends on
	resting atomic.Bool   // it does not, because there was nobody

	mu         sync.Mutex
	machine    *membership.Machine
	wake       time.Duration // when Tick must come at the latest; 0: at the usual time
	waiting    []membership.Event
	reporting  bool          // somebody tells what is in waiting
	changed    chan struct{} // closed and renewed when somebody comes or goes
	subs       map[*Subscription]struct{}
	seldoms    seldoms
	letters    letters                     // of commands
	deadTimers letters                     // of calls for later
	nonmembers map[link.Peer]time.Duration // since when
	lookups    []lookup
	nameTaken  bool         // the subject of the name is subscribed
	serveUntil atomic.Int64 // see Serving
	fences     atomic.Uint64
	period     atomic.Uint64
	lives      sync.Map    // name -> incarnation of the members, to be read without mu
	apart      atomic.Bool // the own server has lost most of the others
	notices    atomic.Bool // the server tells when a client goes, so nobody need be asked often

	down, absences, conflicts atomic.Uint64
	quiet                     ratelog.Line // about conflicts and limits
}

// step is how a step of the claim ended.
type step struct {
	kind membership.EventKind
	id   membership.ID
	why  string
}

// Counters are what Members has counted.
type Counters struct {
	Down, NoResponders, Conflicts uint64
	Followers                     int // streams of events
}

// New makes Members. It does nothing before Claim.
func New(l *link.Link, cfg Config, events Events, log hclog.Logger) *Members {
	me := l.Self()
	machine := membership.Defaults(cfg.Heartbeat, cfg.DeadAfter)
	machine.Secret = cfg.Secret
	return &Members{
		link: l, cfg: cfg, events: events, log: log, begun: time.Now(),
		wakes: make(chan struct{}, 1), depends: make(chan struct{}, 1), steps: make(chan step, 1), changed: make(chan struct{}), subs: map[*Subscription]struct{}{}, seldoms: seldoms{}, nonmembers: map[link.Peer]time.Duration{},
		machine: membership.New(machine, membership.ID{Name: me.Name, Incarnation: me.Number}),
	}
}

// Counters reads what was counted.
func (m *Members) Counters() Counters {
	m.mu.Lock()
	followers := len(m.subs)
	m.mu.Unlock()
	return Counters{Followers: followers, Down: m.down.Load(), NoResponders: m.absences.Load(), Conflicts: m.conflicts.Load()}
}

// now is the time of the machine.
func (m *Members) now() time.Duration { return time.Since(m.begun) }

func (m *Members) at(d time.Duration) time.Time { return m.begun.Add(d) }

// Number is the incarnation a member lives as; false when it is no member.
func (m *Members) Number(node string) (uint64, bool) {
	if v, ok := m.lives.Load(node); ok {
		return v.(uint64), true
	}
	return 0, false
}

// Peers are the other members.
func (m *Members) Peers() []link.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []link.Peer
	for _, have := range m.machine.Members() {
		out = append(out, link.Peer{Name: have.Name, Number: have.Incarnation})
	}
	return out
}

// HeardOf reports whether a life of a node is a member, or was heard of lately and may become
// one: a node that was given up and is back is the second before it is the first.
func (m *Members) HeardOf(peer link.Peer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Heard(membership.ID{Name: peer.Name, Incarnation: peer.Number})
}

// Period is the period in which this node serves, see membership.Machine. It has changed
// before Fences and Serving tell of it.
func (m *Members) Period() uint64 { return m.period.Load() }

// Covers reports whether the end of a life of a node counts for what it did in that period.
func (m *Members) Covers(peer link.Peer, period uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Covers(membership.ID{Name: peer.Name, Incarnation: peer.Number}, period)
}

// Gone reports whether the process of a life of a node is known to have ended, and is not
// only silent.
func (m *Members) Gone(peer link.Peer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.machine.Gone(membership.ID{Name: peer.Name, Incarnation: peer.Number})
}

// LastHeard says for people when a node was last heard of.
func (m *Members) LastHeard(node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.machine.Find(node)
	if !ok {
		return "node " + node + " is not a known member"
	}
	return fmt.Sprintf("node %s was heard of %v ago", node, (m.now() - have.Heard).Round(time.Millisecond))
}

// NoMember says for people why a node is no member: it left, it was given up, or its name
// was never heard.
func (m *Members) NoMember(node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended, left, ok := m.machine.Former(node)
	ago := (m.now() - ended).Round(100 * time.Millisecond)
	switch {
	case !ok:
		return "it is not a member of the cluster"
	case left:
		return fmt.Sprintf("it is not a member of the cluster any more: it left %v ago", ago)
	}
	return fmt.Sprintf("it is not a member of the cluster any more: it was given up %v ago", ago)
}

// List are the members, this node included, by name.
func (m *Members) List() []events.Member {
	me := m.link.Self()
	out := []events.Member{{Name: me.Name, Incarnation: me.Number, Joined: m.begun, LastSeen: time.Now(), Self: true}}
	m.mu.Lock()
	for _, have := range m.machine.Members() {
		out = append(out, m.member(have))
	}
	m.mu.Unlock()
	slices.SortFunc(out, func(a, b events.Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (m *Members) member(have membership.Member) events.Member {
	return events.Member{Name: have.Name, Incarnation: have.Incarnation, Joined: m.at(have.Joined), LastSeen: m.at(have.Heard), Suspect: have.Suspect}
}

// Wait waits until enough reports true of the number of members, this one
// included, or stop is closed.
func (m *Members) Wait(ctx context.Context, what string, enough func(int) bool, stop <-chan struct{}) error {
	if ctx == nil {
		return fault.Config("WaitMembers needs a ctx, not nil: use context.Background()")
	}
	for {
		m.mu.Lock()
		have, changed := m.machine.Count()+1, m.changed
		m.mu.Unlock()
		if enough(have) {
			return nil
		}
		select {
		case <-changed:
		case <-stop:
			return fmt.Errorf("%w: the node was closed", fault.ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s members, %d are here: %w", what, have, context.Cause(ctx))
		}
	}
}

// Serving reports whether this node may serve others now: the time until which it may
// is published by every step. It is fenced while its heartbeats do not come back, and
// for good when a newer node has its name. It is asked for each frame, hence the one
// atomic read.
func (m *Members) Serving() bool { return int64(m.now()) < m.serveUntil.Load() }

// Fences counts how often the node was fenced, and serves again. It is counted before
// Serving can be true again.
func (m *Members) Fences() uint64 { return m.fences.Load() }
