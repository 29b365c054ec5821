package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/casts"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
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
	link    *link.Link
	members *members.Members
	loops   *host.Table
	out     *calls.Outgoing // calls of this node to others
	in      *calls.Incoming // calls of others to this node
	casts   *casts.Casts
	tells   *tells.Tells
	watches *watching.Watches // of this node on others, and of others on this one
	streams *streams.Out      // of this node to connections anywhere
	written *streams.In       // of any node to connections here
	actors  *actors.System

	log                                    hclog.Logger
	refusals                               ratelog.Line
	slow, disconnects, reconnects, refused counter
	refusedFenced                          counter
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
	r.link = link.New(self, log, randomNumber()>>8, link.Handlers{Frame: r.arrived, End: func() { r.casts.Queue() }, Broadcast: r.broadcastArrived, Unreachable: r.unreachable})
	r.members = members.New(r.link, members.Config{Heartbeat: cfg.Heartbeat, DeadAfter: cfg.DeadAfter, Secret: randomNumber() >> 16}, members.Events{
		Joined: r.nodeJoined, Gone: r.nodeGone, Unknown: r.letGo, Needed: r.needed, Sweep: r.sweep,
		Serving:  func() { r.watches.Again() },
		Lost:     n.lostName,
		Stranger: func(peer link.Peer, question uint64) { r.out.Stranger(peer, question) },
		Mark:     func(peer link.Peer) uint64 { return r.out.Mark(peer) },
	}, log)
	r.notify = notify.New(work, func(p *guard.Panic) {
		log.Error("a function given to Watch or Config.OnLoss panicked", "panic", p.Error(), "stack", string(p.Stack))
	})
	r.watches = watching.New(r.link, r.members, sys, cfg.Heartbeat, r.notify, log)
	r.loops = host.New(n.name, n.number, cfg.MaxInbound, sys, log, n.loopContext, host.Events{
		Ending: func(h *host.Loop) {
			r.in.LoopEnding(h)
			r.casts.LoopEnding(h)
		},
	})
	r.watches.Loops(r.loops)
	r.out = calls.NewOutgoing(r.link, r.members, calls.Limits{MaxPayload: cfg.MaxPayload, Timeout: cfg.CallTimeout})
	r.in = calls.NewIncoming(r.link, r.loops, calls.InLimits{MaxPayload: cfg.MaxPayload, Calls: cfg.MaxInbound, Bytes: inboundBytes})
	r.outflows, r.inflows = flows.NewOut(r.link, n.lost), flows.NewIn(r.link, flows.InEvents{
		Admit: r.members.Admit,
		Gap: func(from link.Peer, missing uint64) {
			r.members.Report(events.Gap, from, fmt.Sprintf("%d messages of it never arrived", missing))
		},
	})
	r.casts = casts.New(r.link, r.members, r.loops, r.outflows, r.inflows,
		casts.Limits{MaxPayload: cfg.MaxPayload, Timers: cfg.MaxTimers, TimerBytes: inboundBytes}, log)
	r.tells = tells.New(r.link, r.casts, r.outflows, r.inflows, sys, log)
	r.written = streams.NewIn(r.link)
	r.streams = streams.NewOut(r.link, r.out, r.written)
	return r
}

// lost tells of what left this node and did not run, to the log at a bounded rate and
// to Config.OnLoss each time. It must not wait, so OnLoss runs on the goroutine of
// notify.
func (n *Node) lost(l Loss) {
	if ok, more := n.lossLog.Allow(); ok {
		n.log.Warn("calls without an answer or messages did not run", "target", l.Target, "count", l.Count, "reason", l.Reason, "kept_back", more)
	}
	if n.cfg.OnLoss != nil {
		n.notify.Add(func() { n.cfg.OnLoss(l) })
	}
}

// arrived hands a frame on the node's own subject to the room that handles it.
// Receiving goroutine: no room waits, because every frame behind this one would wait
// with it.
//
// The checks come in this order. An answer is for a call that this node has made to
// the sender, and is matched there by id and node. Everything else must name the
// sender that its subject names, and needs the right that the subject carries. While
// this node is fenced, nothing begins; what ends or takes back something is always
// taken.
func (r *rooms) arrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Result, wire.Error:
		r.out.Answered(f, in.Sender)
		return
	}
	if !r.link.SenderFits(f, in) || !r.allowed(f, in) {
		return
	}
	switch {
	case f.Kind == wire.Pong, f.Kind == wire.Ask, f.Kind == wire.Refuse, f.Kind == wire.Goodbye:
		r.members.Heard(f)
	case r.fenced(f), r.stranger(f):
	case f.Kind == wire.Call:
		r.in.Serve(f)
	case f.Kind == wire.Cast:
		r.casts.Serve(f)
	case f.Kind == wire.Cancel:
		r.in.Cancel(f)
	case f.Kind == wire.CancelAll:
		r.in.CancelAll(f)
	case f.Kind == wire.Tell:
		r.casts.Queue() // what came before goes to its loop first
		r.tells.Told(f)
	case f.Kind == wire.Watch, f.Kind == wire.Watching, f.Kind == wire.Unwatch, f.Kind == wire.Terminated:
		r.watches.Heard(f)
	case f.Kind == wire.Credit:
		r.outflows.Credited(f)
	case f.Kind == wire.Sync:
		r.inflows.Synced(f)
	case f.Kind == wire.EndFlow:
		r.inflows.EndFlow(f)
	case f.Kind == wire.Stream:
		r.written.Handle(f)
	case f.Kind == wire.Taken:
		r.streams.Taken(f)
	case f.Kind == wire.TransportOp:
		r.written.Order(f)
	default:
		r.link.Misplaced(f, in.Subject)
	}
}

// broadcastArrived handles what is sent to all members: signs of life and claims of
// names. A heartbeat is news for calls that wait for its node, too.
func (r *rooms) broadcastArrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Ping, wire.Claim, wire.Probe, wire.Ask:
		if r.link.SenderFits(f, in) {
			r.members.Heard(f)
			r.out.Heard(link.Peer{Name: f.From, Number: f.FromNumber})
		}
	default:
		r.link.Misplaced(f, in.Subject)
	}
}

// unreachable hands NATS's "nobody is there" to the room whose token it carries. Each
// room begins its tokens with letters of its own ("p-", "n-", "l-" membership, "w-"
// watches); what is left belongs to calls. That nobody listens as a life of a node is
// news for membership, whoever asked.
func (r *rooms) unreachable(token string) {
	if r.members.Unreachable(token) {
		return
	}
	if peer, ok := r.watches.Unreachable(token); ok {
		r.members.Absent(peer)
		r.watches.Absent(peer)
		return
	}
	r.out.Unreachable(token)
}

// fenced refuses what others want from a node that may not serve: while it could not
// reach the cluster, it may have been given up and replaced. It reports whether f is
// dealt with. What ends or takes something back is always taken.
func (r *rooms) fenced(f *wire.Frame) bool {
	switch f.Kind {
	case wire.Call, wire.Cast, wire.Tell, wire.TransportOp, wire.Stream, wire.Watch:
	default:
		return false
	}
	if r.members.Serving() {
		return false
	}
	r.refusedFenced.Add(1)
	r.refuse(f, fault.Codef(wire.Fenced, "%w: nothing ran", fault.ErrFenced))
	return true
}

// stranger refuses what this node would have to keep for a life of a node that is no
// member, when there are too many of these. Flows ask by themselves.
func (r *rooms) stranger(f *wire.Frame) bool {
	if f.Kind != wire.Watch && (f.Kind != wire.Stream || f.Op != wire.Open) || r.members.Admit(link.Sender(f)) {
		return false
	}
	r.refuse(f, fault.Codef(wire.Busy, "%w: too many nodes that are no members", fault.ErrBusy))
	return true
}

// letGo drops what is kept for a life of a node that has not become a member. It is what
// nodeGone does for a member, without the parts that only members have: no call of this
// node waits for a life that was never found.
func (r *rooms) letGo(peer link.Peer) {
	r.link.Forget(peer)
	r.inflows.NodeDown(peer)
	r.written.NodeDown(peer)
	r.in.NodeDown(peer)
	r.watches.Forget(peer)
}

func (r *rooms) nodeJoined(peer link.Peer) { r.out.Heard(peer) }

// nodeGone tells every room that depends on an incarnation that it is over. hasLeft:
// it ended on purpose, so it will not come back as the same incarnation. Calls end
// first, so that whoever is told of the death by a watch finds none of them waiting.
func (r *rooms) nodeGone(peer link.Peer, why string, hasLeft bool) {
	r.link.Forget(peer)
	r.out.NodeDown(peer, why, !hasLeft)
	r.outflows.NodeDown(peer, why)
	r.inflows.NodeDown(peer)
	r.streams.NodeDown(peer, why)
	r.written.NodeDown(peer)
	r.in.NodeDown(peer)
	r.watches.NodeDown(peer, why, hasLeft)
	r.actors.NodeDown(peer.Name, peer.Number)
}

// needed are the nodes that somebody here depends on: membership asks them more often
// than it listens for their heartbeats.
func (r *rooms) needed(now time.Time) []link.Peer {
	return append(r.watches.Nodes(), r.out.Nodes(now)...)
}

// sweep ends and repeats what is overdue. What would send is left out without a
// connection: it would fail, and the reconnect repeats everything anyway.
func (r *rooms) sweep(now time.Time) {
	r.out.Expire(now)
	r.inflows.Sweep()
	r.written.Sweep()
	if r.link.Usable() {
		r.watches.Tick()
		r.outflows.Sweep(now)
	}
}

// disconnected and reconnected are told by the connection.
func (r *rooms) disconnected(noticesAfter bool) {
	r.link.SetOffline(true)
	r.members.Disconnected(noticesAfter)
	r.disconnects.Add(1)
	r.out.Disconnected(r.members.Peers())
	r.outflows.Disconnected()
}

func (r *rooms) reconnected() {
	r.reconnects.Add(1)
	r.members.Reconnected()
	r.outflows.Reconnected()
	r.watches.Again()
}
