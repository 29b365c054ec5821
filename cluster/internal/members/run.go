package members

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	quietBeats    = 2                     // heartbeats missed before a member is asked
	againAfter    = 4 * time.Millisecond  // between the first and the second "nobody is there"
	sweepsPerBeat = 4                     // looks at the tables per heartbeat
	askEvery      = 20 * time.Millisecond // where the server does not tell who goes
	askAtOnce     = 16                    // nodes asked then, in turn: what asking costs is bounded
)

// pingToken begins the token of a ping; the number of the question, -, and the
// node's name follow.
const pingToken = "p-"

// Run does what time brings: heartbeats, asking silent nodes, giving dead ones up.
// It ends when stop is closed. It is the body of a goroutine.
func (m *Members) Run(stop <-chan struct{}) {
	tick := time.NewTicker(max(m.cfg.Heartbeat/sweepsPerBeat, time.Millisecond))
	defer tick.Stop()
	asking := time.NewTicker(askEvery)
	defer asking.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for beat, turn := 0, 0; ; {
		soon := asking.C
		if m.notices.Load() {
			soon = nil // a ticker nobody waits for costs nothing
		}
		select {
		case <-stop:
			return
		case <-m.kicks:
			again.Reset(againAfter)
			continue
		case <-soon:
			turn = m.askInTurn(turn)
			continue
		case <-again.C:
		case <-tick.C:
			if beat++; beat%sweepsPerBeat == 0 {
				m.link.Broadcast(&wire.Frame{Kind: wire.Ping})
			}
		}
		m.sweep(time.Now())
	}
}

// askInTurn asks some of the nodes that somebody here depends on, where no
// server tells who goes. turn says where the last round ended.
func (m *Members) askInTurn(turn int) int {
	if m.link.Offline() {
		return turn
	}
	names := m.needed(time.Now())
	for i := range min(len(names), askAtOnce) {
		m.ask(names[(turn+i)%len(names)])
	}
	return turn + askAtOnce
}

// needed are the nodes that somebody here depends on, each once.
func (m *Members) needed(now time.Time, more ...string) []string {
	names := slices.Concat(more, m.table.watched(), m.events.Needed(now))
	slices.Sort(names)
	return slices.Compact(names)
}

// Kick makes Run look again soon.
func (m *Members) Kick() {
	select {
	case m.kicks <- struct{}{}:
	default:
	}
}

func (m *Members) sweep(now time.Time) {
	if m.link.Usable() { // else silence says nothing about others
		quiet, dead := m.table.judge(now, quietBeats*m.cfg.Heartbeat, m.cfg.DeadAfter)
		for name, number := range dead {
			m.nodeDown(name, number, "silent for "+m.cfg.DeadAfter.String())
		}
		for _, name := range m.needed(now, quiet...) {
			m.ask(name)
		}
	}
	m.events.Sweep(now)
}

// ask sends a Ping that NATS itself answers when nobody is there. A node that
// somebody here depends on is asked at every sweep, so its death is seen long
// before its heartbeats are missed.
func (m *Members) ask(name string) {
	me := m.link.Self()
	if name == me.Name {
		return
	}
	question := strconv.FormatUint(m.events.Mark(name), 36)
	ping := &wire.Frame{Kind: wire.Ping, From: me.Name, FromNumber: me.Number}
	if err := m.link.SendFor(name, pingToken+question+"-"+name, ping); err != nil {
		m.log.Debug("asking a node failed", "member", name, "error", err)
	}
}

// Unreachable handles NATS's "nobody is there" for a ping; false when the token is
// of something else.
func (m *Members) Unreachable(token string) bool {
	rest, ok := strings.CutPrefix(token, pingToken)
	if !ok {
		return false
	}
	number, name, _ := strings.Cut(rest, "-")
	if question, err := strconv.ParseUint(number, 36, 64); err == nil {
		m.absent(name, question)
	}
	return true
}

// Noticed handles the server's notice that the connection of a node has ended. It is
// a reason to ask, no evidence: the node may be back.
func (m *Members) Noticed(name string, number uint64) {
	m.notices.Store(true)
	if have, known := m.Number(name); known && have == number {
		m.ask(name)
	}
}
