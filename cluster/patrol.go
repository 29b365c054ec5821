package cluster

import (
	"strconv"
	"time"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	quietBeats  = 2                     // heartbeats missed before a member is asked
	againAfter  = 50 * time.Millisecond // between the first and the second "nobody is there"
	sweepsAbeat = 4                     // looks at the tables per heartbeat
)

// patrol does what time brings: heartbeats, asking silent nodes, giving dead
// ones up, ending overdue calls, sending again what was not acknowledged.
func (n *Node) patrol() {
	tick := time.NewTicker(max(n.cfg.Heartbeat/sweepsAbeat, time.Millisecond))
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for beat := 0; ; {
		select {
		case <-n.stop:
			return
		case <-n.kicks:
			again.Reset(againAfter)
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
	asked := map[string]bool{}
	for _, names := range [][]string{quiet, n.watches.nodes(), n.pending.nodes(now)} {
		for _, name := range names {
			if !asked[name] {
				asked[name] = true
				n.ask(name)
			}
		}
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
