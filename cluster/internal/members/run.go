package members

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/membership"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// When the machine is told the time, and which nodes are asked. There are three timers:
// a tick four times per heartbeat; an early one when the machine has asked for it
// (wakes); and, only where no server tells who goes and somebody waits, one each 20 ms that
// asks some of the nodes that calls or watches wait for. So a death is noticed within
// milliseconds where somebody waits for the node, and by the heartbeat where nobody does.

const (
	againAfter   = 4 * time.Millisecond  // between the first and the second "nobody is there"
	ticksPerBeat = 4                     // looks at the tables per heartbeat
	askEvery     = 20 * time.Millisecond // where the server does not tell who goes
	askAtOnce    = 16                    // nodes asked then, in turn: what asking costs is bounded
	restAfter    = 50                    // looks that found nobody to ask, before Run rests
)

// Run tells the machine the time until stop is closed. It is the body of a goroutine.
func (m *Members) Run(stop <-chan struct{}) {
	tick := time.NewTicker(max(m.cfg.Heartbeat/ticksPerBeat, time.Millisecond))
	defer tick.Stop()
	asking := time.NewTicker(askEvery)
	defer asking.Stop()
	early := time.NewTimer(time.Hour)
	defer early.Stop()
	for turn, idle := 0, 0; ; {
		soon := asking.C
		if m.notices.Load() {
			soon = nil // a ticker nobody waits for costs nothing
		}
		select {
		case <-stop:
			return
		case <-m.wakes:
			if wait, ok := m.untilWake(); ok {
				early.Reset(wait)
			}
			continue
		case <-m.depends:
			m.resting.Store(false)
			asking.Reset(askEvery)
			idle = 0
			continue
		case <-soon:
			asked := m.askInTurn(&turn)
			if idle++; asked {
				idle = 0
			}
			if idle == restAfter {
				asking.Stop()
				m.rest()
			}
			continue
		case <-early.C:
		case <-tick.C:
		}
		m.tick()
	}
}

// untilWake is how long Run may wait.
func (m *Members) untilWake() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.wake-m.now(), 0), m.wake != 0
}

// tick tells the time and asks those that somebody here depends on: their death is
// seen long before their heartbeats are missed.
func (m *Members) tick() {
	m.step((*membership.Machine).Tick)
	m.mu.Lock()
	m.endLookups(func(l lookup) bool { return m.now() > l.until })
	m.mu.Unlock()
	m.endNonmembers()
	now := time.Now()
	for _, peer := range m.needed(now) {
		m.inquire(peer)
		m.Depends()
	}
	m.events.Sweep(now)
}

// askInTurn asks some of the nodes that somebody here depends on, where no server
// tells who goes; false: there are none. turn says where the last round ended, so that many
// nodes are asked in turn and the cost of one round is bounded.
func (m *Members) askInTurn(turn *int) bool {
	peers := m.needed(time.Now())
	for i := range min(len(peers), askAtOnce) {
		m.inquire(peers[(*turn+i)%len(peers)])
	}
	*turn += askAtOnce
	return len(peers) > 0
}

// Why Run rests: twenty idle nodes of one machine that looked every 20 ms whether somebody
// waits cost twice as much processor time as all the rest of them.

// rest lets nodes be asked again only when somebody depends on one. What began to depend
// while resting was still false is looked for once more.
func (m *Members) rest() {
	m.resting.Store(true)
	if len(m.needed(time.Now())) > 0 {
		m.Depends()
	}
}

// Depends is told when something of this node begins to wait for another one, behind the
// entry that Events.Needed reads.
func (m *Members) Depends() {
	if !m.resting.Load() {
		return
	}
	select {
	case m.depends <- struct{}{}:
	default:
	}
}

// needed are the nodes that somebody here depends on, each once.
func (m *Members) needed(now time.Time) []link.Peer {
	if m.link.Offline() {
		return nil
	}
	peers := m.events.Needed(now)
	slices.SortFunc(peers, link.Peer.Compare)
	return slices.Compact(peers)
}

// inquire asks a node whether it lives. One that is no member, or lives as another
// incarnation by now, is asked for the sake of the calls that wait for it.
func (m *Members) inquire(peer link.Peer) {
	if have, _ := m.Number(peer.Name); have == peer.Number {
		m.step(func(machine *membership.Machine, now time.Duration) { machine.Inquire(now, peer.Name) })
		return
	}
	me := m.link.Self()
	m.ask(peer, &wire.Frame{Kind: wire.Ask, From: me.Name, FromNumber: me.Number})
}

// ask sends a question with a reply subject: when nobody listens, NATS itself answers
// there, at once. The token of that subject says which question it was and about
// which life of which node, since the answer carries nothing else.
func (m *Members) ask(to link.Peer, f *wire.Frame) {
	question := strconv.FormatUint(m.events.Mark(to), 36)
	token := askToken + question + "-" + strconv.FormatUint(to.Number, 36) + "-" + to.Name
	if err := m.link.SendFor(to, token, f); err != nil {
		m.log.Debug("asking a node failed", "member", to.Name, "error", err)
	}
}

// Unreachable handles NATS's answer "no responders" to what this package has sent; false
// when the token is of another part.
func (m *Members) Unreachable(token string) bool {
	if token == probeToken {
		m.step((*membership.Machine).NobodyHolds)
		return true
	}
	rest, ok := strings.CutPrefix(token, askToken)
	if !ok {
		return m.nobodyNamed(token)
	}
	question, rest, _ := strings.Cut(rest, "-")
	life, name, _ := strings.Cut(rest, "-")
	q, err1 := strconv.ParseUint(question, 36, 64)
	n, err2 := strconv.ParseUint(life, 36, 64)
	if err1 == nil && err2 == nil {
		m.absent(link.Peer{Name: name, Number: n}, q)
	}
	return true
}

// Absent handles NATS's answer that nobody listens as that life of a node.
func (m *Members) Absent(peer link.Peer) { m.absent(peer, 0) }

// absent: question is the number of the question it is about, 0 when it is about
// something else.
func (m *Members) absent(peer link.Peer, question uint64) {
	m.absences.Add(1)
	m.step(func(machine *membership.Machine, now time.Duration) {
		machine.Absent(now, membership.ID{Name: peer.Name, Incarnation: peer.Number})
	})
	if have, _ := m.Number(peer.Name); have != peer.Number {
		m.events.NoResponders(peer, question)
	}
}

// Notices says whether the server surely tells who goes.
func (m *Members) Notices(v bool) { m.notices.Store(v) }

// Noticed handles the server's notice that the connection of a node has ended. It is
// a reason to ask, not evidence: the node may have connected again. closed: its process
// closed it, as the kernel does for a killed one; otherwise the server did.
func (m *Members) Noticed(name string, number uint64, closed bool) {
	m.notices.Store(true)
	m.step(func(machine *membership.Machine, now time.Duration) {
		machine.Notice(now, membership.ID{Name: name, Incarnation: number}, closed)
	})
}

// Ended handles the word of a voter that the process of another one is gone. It is a
// reason to ask, too.
func (m *Members) Ended(name string, number uint64) {
	m.step(func(machine *membership.Machine, now time.Duration) {
		machine.Ended(now, membership.ID{Name: name, Incarnation: number})
	})
}
