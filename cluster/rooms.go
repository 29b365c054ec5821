package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/casts"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/members"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
	"github.com/loopmesh/loopmesh/cluster/internal/tells"
	"github.com/loopmesh/loopmesh/cluster/internal/watching"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// rooms are the parts of a node. Each owns its tables and knows nothing of the
// others but through what makeRooms gives it; this file says which room handles
// which frame, and what each must hear of when another node comes or goes.
type rooms struct {
	link     *link.Link
	members  *members.Members
	loops    *host.Table
	out      *calls.Outgoing // calls of this node to others
	in       *calls.Incoming // calls of others to this node
	casts    *casts.Casts
	tells    *tells.Tells
	watches  *watching.Watches  // what this node watches elsewhere
	watchers *watching.Watchers // who watches loops of this node
	streams  *streams.Streams
	actors   *actors.System

	log                                    hclog.Logger
	refusals                               ratelog.Line
	slow, disconnects, reconnects, refused counter
	outflows                               *flows.Out
	inflows                                *flows.In
	notify                                 *notify.Queue
	lossLog                                ratelog.Line
}

// makeRooms builds the parts of n in the order in which they depend on each other.
// It starts nothing.
func makeRooms(n *Node, sys *actors.System, work *sync.WaitGroup) *rooms {
	cfg, log, r := n.cfg, n.log, &rooms{actors: sys, log: n.log}
	self := link.Self{Cluster: cfg.Cluster, Name: n.name, Number: n.number}
	// Why random ids: an answer to an earlier incarnation must not fit a call of this one.
	r.link = link.New(self, log, randomNumber()>>8, link.Handlers{Frame: r.arrived, Broadcast: r.broadcastArrived, Unreachable: r.unreachable})
	r.members = members.New(r.link, members.Config{Heartbeat: cfg.Heartbeat, DeadAfter: cfg.DeadAfter}, members.Events{
		Back: r.nodeBack, Gone: r.nodeGone, Needed: r.needed, Sweep: r.sweep,
		Stranger: func(node string, question uint64) { r.out.Stranger(node, question) },
		Mark:     func(node string) uint64 { return r.out.Mark(node) },
	}, log)
	r.watchers = watching.NewWatchers(r.link, cfg.Heartbeat)
	r.loops = host.New(n.name, n.number, cfg.MaxInbound, sys, log, n.loopContext, host.Events{
		Ending: func(h *host.Loop) {
			r.in.LoopEnding(h)
			r.casts.LoopEnding(h)
		},
		Ended: r.watchers.LoopEnded,
	})
	r.watchers.Watch(r.loops)
	r.out = calls.NewOutgoing(r.link, r.members, calls.Limits{MaxPayload: cfg.MaxPayload, Timeout: cfg.CallTimeout})
	r.in = calls.NewIncoming(r.link, r.loops, calls.InLimits{MaxPayload: cfg.MaxPayload, Calls: cfg.MaxInbound, Bytes: inboundBytes})
	r.notify = notify.New(work, func(p *guard.Panic) {
		log.Error("a function given to Watch or Config.OnLoss panicked", "panic", p.Error(), "stack", string(p.Stack))
	})
	r.outflows, r.inflows = flows.NewOut(r.link, n.lost), flows.NewIn(r.link)
	r.casts = casts.New(r.link, r.members, r.loops, r.outflows, r.inflows,
		casts.Limits{MaxPayload: cfg.MaxPayload, Timers: cfg.MaxTimers, TimerBytes: inboundBytes}, log)
	r.tells = tells.New(r.link, r.casts, r.outflows, r.inflows, sys, r.members.Depend, log)
	r.watches = watching.NewWatches(r.link, r.members, cfg.Heartbeat, r.notify, log)
	r.streams = streams.New(r.link, r.out, cfg.MaxPayload)
	return r
}

// lost tells of what left this node and did not run.
func (n *Node) lost(l Loss) {
	if ok, more := n.lossLog.Allow(); ok {
		n.log.Warn("calls without an answer or messages did not run", "target", l.Target, "count", l.Count, "reason", l.Reason, "kept_back", more)
	}
	if n.cfg.OnLoss != nil {
		n.notify.Add(func() { n.cfg.OnLoss(l) })
	}
}

// arrived hands a frame on the node's own subject to the room that handles it.
// Receiving goroutine: no room waits.
func (r *rooms) arrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Result, wire.Error:
		r.answered(f, in)
		return
	}
	if !r.link.SenderFits(f, in) || !r.allowed(f, in) {
		return
	}
	switch {
	case f.Kind == wire.Pong, f.Kind == wire.Goodbye:
		r.members.Heard(f)
	case f.Kind == wire.Ping:
		r.members.Pinged(f, in)
	case f.Kind == wire.Call:
		r.in.Serve(f)
	case f.Kind == wire.Cast:
		r.casts.Serve(f)
	case f.Kind == wire.Cancel:
		r.in.Cancel(f)
	case f.Kind == wire.CancelAll:
		r.in.CancelAll(f)
	case f.Kind == wire.Tell:
		r.tells.Told(f)
	case f.Kind == wire.Watch:
		r.watchers.Serve(f)
	case f.Kind == wire.Unwatch:
		r.watchers.Forget(f)
	case f.Kind == wire.Terminated:
		r.watches.Terminated(f)
	case f.Kind == wire.Credit:
		r.outflows.Credited(f)
	case f.Kind == wire.Sync:
		r.inflows.Synced(f)
	case f.Kind == wire.EndFlow:
		r.inflows.EndFlow(f)
	case f.Kind == wire.NameHeld:
		r.members.NameHeld(f)
	case f.Kind == wire.TransportOp:
		r.streams.Serve(f)
	default:
		r.link.Misplaced(f, in.Subject)
	}
}

// answered hands a Result or Error to the room that asked.
func (r *rooms) answered(f *wire.Frame, in link.Arrival) {
	if r.watches.Answered(f, in.Sender) {
		return
	}
	r.out.Answered(f, in.Sender)
}

// broadcastArrived handles what is sent to all members.
func (r *rooms) broadcastArrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Hello, wire.Ping:
		if r.link.SenderFits(f, in) {
			r.members.Heard(f)
		}
	default:
		r.link.Misplaced(f, in.Subject)
	}
}

// unreachable hands NATS's "nobody is there" to the room whose token it carries.
func (r *rooms) unreachable(token string) {
	if r.members.Unreachable(token) {
		return
	}
	if node, ok := r.watches.Unreachable(token); ok {
		r.members.Absent(node)
		r.watches.Absent(node)
		return
	}
	r.out.Unreachable(token)
}

func (r *rooms) nodeBack(node string, number uint64) { r.out.NodeBack(node, number) }

// nodeGone tells every room that depends on an incarnation that it is over.
func (r *rooms) nodeGone(node string, number uint64, why string, hasLeft bool) {
	r.link.Forget(node)
	r.out.NodeDown(node, number, why, !hasLeft)
	r.outflows.NodeDown(node, number, why)
	r.inflows.NodeDown(node, number)
	r.in.NodeDown(node, number)
	r.watchers.NodeDown(node, number)
	r.watches.NodeDown(node, number, why)
	r.actors.NodeDown(node, number)
}

// needed are the nodes that somebody here depends on.
func (r *rooms) needed(now time.Time) []string {
	return append(r.watches.Nodes(), r.out.Nodes(now)...)
}

// sweep ends and repeats what is overdue.
func (r *rooms) sweep(now time.Time) {
	r.out.Expire(now)
	r.inflows.Sweep()
	if r.link.Usable() {
		r.watches.Resend(now)
		r.watchers.Resend(now)
		r.outflows.Sweep(now)
	}
}

// disconnected and reconnected are told by the connection.
func (r *rooms) disconnected(noticesAfter bool) {
	r.link.SetOffline(true)
	r.members.Disconnected(noticesAfter)
	r.disconnects.Add(1)
	r.out.Disconnected(r.members.Numbers())
	r.outflows.Disconnected()
}

func (r *rooms) reconnected() {
	r.reconnects.Add(1)
	r.members.Reconnected()
	r.out.Reconnected()
	r.outflows.Reconnected()
	r.watches.Reconnected()
	r.members.Kick()
}
