package cluster

import (
	"slices"
	"strconv"
	"time"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	quietBeats  = 2                     // heartbeats missed before a member is asked
	againAfter  = 4 * time.Millisecond  // between the first and the second "nobody is there"
	answerSoon  = 50 * time.Millisecond // a call that takes longer makes its node one to ask
	sweepsAbeat = 4                     // looks at the tables per heartbeat
	askEvery    = 20 * time.Millisecond // where the server does not tell who goes
	askAtOnce   = 16                    // nodes asked then, in turn: what asking costs is bounded
)

// patrol does what time brings: heartbeats, asking silent nodes, giving dead
// ones up, ending overdue calls, sending again what was not acknowledged.
func (n *Node) patrol() {
	tick := time.NewTicker(max(n.cfg.Heartbeat/sweepsAbeat, time.Millisecond))
	defer tick.Stop()
	asking := time.NewTicker(askEvery)
	defer asking.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for beat, turn := 0, 0; ; {
		soon := asking.C
		if n.notices.Load() {
			soon = nil // a ticker nobody waits for costs nothing
		}
		select {
		case <-n.stop:
			return
		case <-n.kicks:
			again.Reset(againAfter)
			continue
		case <-soon:
			turn = n.askInTurn(turn)
			continue
		case <-again.C:
		case <-tick.C:
			if beat++; beat%sweepsAbeat == 0 {
				n.broadcast(&wire.Frame{Kind: wire.Ping})
			}
		}
		n.sweep(time.Now())
	}
}

// askInTurn asks some of the nodes that somebody here depends on, where no
// server tells who goes. turn says where the last round ended.
func (n *Node) askInTurn(turn int) int {
	if n.offline.Load() {
		return turn
	}
	names := n.needed(time.Now())
	for i := range min(len(names), askAtOnce) {
		n.ask(names[(turn+i)%len(names)])
	}
	return turn + askAtOnce
}

// needed are the nodes that somebody here depends on, each once.
func (n *Node) needed(now time.Time, more ...string) []string {
	names := slices.Concat(more, n.watches.nodes(), n.members.watched(), n.pending.nodes(now))
	slices.Sort(names)
	return slices.Compact(names)
}

// kick makes the patrol look again soon.
func (n *Node) kick() {
	select {
	case n.kicks <- struct{}{}:
	default:
	}
}

func (n *Node) sweep(now time.Time) {
	n.pending.expire(now, n.lastHeard)
	if n.offline.Load() || !n.nc.IsConnected() {
		return // silence says nothing about others
	}
	quiet, dead := n.members.census(now, quietBeats*n.cfg.Heartbeat, n.cfg.DeadAfter)
	for name, number := range dead {
		n.nodeDown(name, number, "silent for "+n.cfg.DeadAfter.String())
	}
	for _, name := range n.needed(now, quiet...) {
		n.ask(name)
	}
	n.watches.resend(n, now)
	n.watchers.resend(n, now)
}

// ask sends a Ping that NATS itself answers when nobody is there. A node that
// somebody here depends on is asked at every sweep, so its death is seen long
// before its heartbeats are missed.
func (n *Node) ask(name string) {
	if name == n.name {
		return
	}
	question := strconv.FormatUint(n.pending.mark(name), 36)
	ping := &wire.Frame{Kind: wire.Ping, From: n.name, FromNumber: n.number}
	if err := n.send(n.subjects.of(name), n.subjects.reply+pingToken+question+"-"+name, ping); err != nil {
		n.log.Debug("asking a node failed", "member", name, "error", err)
	}
}
