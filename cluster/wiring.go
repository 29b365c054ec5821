package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/casts"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/members"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
	"github.com/loopmesh/loopmesh/cluster/internal/tells"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/cluster/internal/watching"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// wiring holds the parts of a node, see ARCHITECTURE.md. Each owns its tables. It knows
// the parts that makeWiring gives it, and hears of the others through functions. This
// file says which part handles which frame, and which parts are told when another node
// joins or ends.
type wiring struct {
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
	bus     *pubsub.Bus       // topics
	actors  *actors.System
	traces  *traces.Tracer // nil: no spans are made

	log                                    hclog.Logger
	refusals                               ratelog.Line
	slow, disconnects, reconnects, refused counter
	refusedFenced                          counter
	outflows                               *flows.Out
	inflows                                *flows.In
	notify, topicTasks                     *notify.Queue
	lossLog                                ratelog.Line
}

// makeWiring builds the parts of n in the order in which they depend on each other.
// It starts nothing.
func makeWiring(n *Node, sys *actors.System, work *sync.WaitGroup) *wiring {
	cfg, log, w := n.cfg, n.log, &wiring{actors: sys, log: n.log}
	self := link.Self{Cluster: cfg.Cluster, Name: n.name, Number: n.number}
	// Why random ids: an answer to an earlier incarnation must not fit a call of this one.
	w.link = link.New(self, log, randomNumber()>>8, link.Handlers{Frame: w.arrived, End: func() { w.casts.Queue() }, Broadcast: w.broadcastArrived, Unreachable: w.unreachable})
	w.members = members.New(w.link, members.Config{Heartbeat: cfg.Heartbeat, DeadAfter: cfg.DeadAfter, Secret: randomNumber() >> 16}, members.Events{
		Joined: w.nodeJoined, Gone: w.nodeGone, Unknown: w.forgetNonmember, Needed: w.needed, Sweep: w.sweep,
		Serving:      func() { w.watches.Again() },
		Lost:         n.lostName,
		NoResponders: func(peer link.Peer, question uint64) { w.out.NoResponders(peer, question) },
		Mark:         func(peer link.Peer) uint64 { return w.out.Mark(peer) },
		Unseen:       func(peer link.Peer) uint64 { return w.in.Unseen(peer) },
	}, log)
	w.notify = notify.New(work, func(p *guard.Panic) {
		log.Error("a function given to Watch or Config.OnLoss panicked", "panic", p.Error(), "stack", string(p.Stack))
	})
	w.watches = watching.New(w.link, w.members, sys, cfg.Heartbeat, w.notify, log)
	w.loops = host.New(n.name, n.number, cfg.MaxInbound, sys, log, n.loopContext, host.Events{
		Ending: func(h *host.Loop) {
			w.in.LoopEnding(h)
			w.casts.LoopEnding(h)
		},
	})
	w.watches.Loops(w.loops)
	w.traces = traces.New(cfg.Tracing, n.name)
	w.out = calls.NewOutgoing(w.link, w.members, calls.Limits{MaxPayload: cfg.MaxPayload, Timeout: cfg.CallTimeout}, w.traces)
	w.in = calls.NewIncoming(w.link, w.loops, calls.InLimits{MaxPayload: cfg.MaxPayload, Calls: cfg.MaxInbound, Bytes: inboundBytes}, w.traces)
	w.outflows, w.inflows = flows.NewOut(w.link, n.lost), flows.NewIn(w.link, flows.InEvents{
		Admit: w.members.Admit,
		Gap: func(from link.Peer, missing uint64) {
			w.members.Report(events.Gap, from, fmt.Sprintf("%d messages of it never arrived", missing))
		},
	})
	w.casts = casts.New(w.link, w.members, w.loops, w.outflows, w.inflows,
		casts.Limits{MaxPayload: cfg.MaxPayload, Timers: cfg.MaxTimers, TimerBytes: inboundBytes}, log)
	w.tells = tells.New(w.link, w.casts, w.outflows, w.inflows, sys, log)
	w.written = streams.NewIn(w.link)
	w.streams = streams.NewOut(w.link, func(ctx context.Context, to actors.Address, f *wire.Frame) ([]byte, error) {
		r, err := w.out.Request(ctx, to, f)
		return r.Payload, err
	}, w.written)
	w.topicTasks = notify.New(work, func(p *guard.Panic) {
		log.Error("subscribing to a topic panicked", "panic", p.Error(), "stack", string(p.Stack))
	})
	w.bus = pubsub.New(w.link, cfg.MaxPayload, randomNumber, w.topicTasks, func(f *wire.Frame, in link.Arrival) bool {
		return w.link.SenderFits(f, in) && w.allowed(f, in)
	})
	return w
}

// lost reports what left this node and did not run: to the log at most once a second,
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

// arrived hands a frame on the node's own subject to the part that handles it.
// Receiving goroutine: no part waits, because every later frame would wait, too.
//
// The checks come in this order. A Result or an Error answers a call of this node: the
// table of calls finds the call by its id and by the node that was asked. Every other
// frame must name the sender that its subject names, and its sender needs the right
// that the frame takes. While this node is fenced, frames that begin something are
// refused; frames that end something or take it back are always handled.
func (w *wiring) arrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Result, wire.Error:
		w.out.Answered(f, in.Sender)
		return
	}
	if !w.link.SenderFits(f, in) || !w.allowed(f, in) {
		return
	}
	switch {
	case f.Kind == wire.Goodbye:
		w.out.NeverBegan(link.Sender(f), f.ID) // before the end of the node ends all that wait for it
		w.members.Heard(f)
	case f.Kind == wire.Pong, f.Kind == wire.Ask, f.Kind == wire.Refuse:
		w.members.Heard(f)
	case w.fenced(f), w.nonmember(f):
	case f.Kind == wire.Call && f.Function == loopsFunction:
		w.answerLoops(f)
	case f.Kind == wire.Call:
		w.in.Serve(f)
	case f.Kind == wire.Cast:
		w.casts.Serve(f)
	case f.Kind == wire.Cancel:
		w.in.Cancel(f)
	case f.Kind == wire.CancelAll:
		w.in.CancelAll(f)
	case f.Kind == wire.Tell:
		w.casts.Queue() // what came before goes to its loop first
		w.tells.Told(f)
	case f.Kind == wire.Watch, f.Kind == wire.Watching, f.Kind == wire.Unwatch, f.Kind == wire.Terminated:
		w.watches.Heard(f)
	case f.Kind == wire.Credit:
		w.outflows.Credited(f)
	case f.Kind == wire.Sync:
		w.inflows.Synced(f)
	case f.Kind == wire.EndFlow:
		w.inflows.EndFlow(f)
	case f.Kind == wire.Stream:
		w.written.Handle(f)
	case f.Kind == wire.Taken:
		w.streams.Taken(f)
	case f.Kind == wire.TransportOp:
		w.written.Order(f)
	default:
		w.link.Misplaced(f, in.Subject)
	}
}

// loopsFunction is the one that a node answers itself, without a loop: which loops it has.
// Every member may ask; a loop that is stuck must not hide the others.
const loopsFunction = "$loops"

func (w *wiring) answerLoops(f *wire.Frame) {
	r := &wire.Frame{Kind: wire.Result, ID: f.ID}
	var err error
	if r.Codec, r.Payload, err = codec.Encode(w.loops.Names()); err != nil {
		r = fault.Frame(f.ID, err)
	}
	w.link.Answer(link.Sender(f), r)
}

// loopsOf asks a node for the names of its loops.
func (w *wiring) loopsOf(ctx context.Context, node string) ([]string, error) {
	if node == w.link.Self().Name {
		return w.loops.Names(), nil
	}
	r, err := w.out.Request(ctx, actors.Address{Node: node}, &wire.Frame{Kind: wire.Call, Function: loopsFunction})
	if err != nil {
		return nil, err
	}
	return codec.Decode[[]string](r.Codec, r.Payload)
}

// refuseCalls takes no more calls of others.
func (w *wiring) refuseCalls() {
	w.in.Refuse()
	w.casts.Refuse()
}

// broadcastArrived handles what is sent to all members: signs of life and claims of
// names. A heartbeat is news for calls that wait for its node, too.
func (w *wiring) broadcastArrived(f *wire.Frame, in link.Arrival) {
	switch f.Kind {
	case wire.Ping, wire.Claim, wire.Probe, wire.Ask:
		if w.link.SenderFits(f, in) {
			w.members.Heard(f)
			w.out.Heard(link.Peer{Name: f.From, Number: f.FromNumber})
		}
	default:
		w.link.Misplaced(f, in.Subject)
	}
}

// unreachable hands NATS's answer "no responders" to the part that has sent the frame,
// which is known by the token. Each part has prefixes of its own ("p-", "n-" and "l-"
// are of membership, "w-" is of watches); all other tokens are of calls. When nobody
// listens as an incarnation, membership is told, whichever part has asked.
func (w *wiring) unreachable(token string) {
	if w.members.Unreachable(token) {
		return
	}
	if peer, ok := w.watches.Unreachable(token); ok {
		w.members.Absent(peer)
		w.watches.Absent(peer)
		return
	}
	w.out.Unreachable(token)
}

// fenced refuses frames that begin something while this node may not serve: it could
// not reach the cluster, so others may have given it up and replaced it. It reports
// whether it has refused f. Frames that end something or take it back pass.
func (w *wiring) fenced(f *wire.Frame) bool {
	switch f.Kind {
	case wire.Call, wire.Cast, wire.Tell, wire.TransportOp, wire.Stream, wire.Watch:
	default:
		return false
	}
	if w.members.Serving() {
		return false
	}
	w.refusedFenced.Add(1)
	w.refuse(f, fault.Codef(wire.Fenced, "%w: nothing ran", fault.ErrFenced))
	return true
}

// nonmember refuses what this node would have to keep for a life of a node that is no
// member, when there are too many of these. Flows ask by themselves.
func (w *wiring) nonmember(f *wire.Frame) bool {
	if f.Kind != wire.Watch && (f.Kind != wire.Stream || f.Op != wire.Open) || w.members.Admit(link.Sender(f)) {
		return false
	}
	w.refuse(f, fault.Codef(wire.Busy, "%w: too many nodes that are no members", fault.ErrBusy))
	return true
}

// forgetNonmember drops what is kept for a life of a node that has not become a member. It is what
// nodeGone does for a member, without the parts that only members have: no call of this
// node waits for a life that was never found.
func (w *wiring) forgetNonmember(peer link.Peer) {
	w.link.Forget(peer)
	w.inflows.NodeDown(peer)
	w.written.NodeDown(peer)
	w.in.NodeDown(peer)
	w.watches.Forget(peer)
	w.bus.NodeDown(peer)
}

func (w *wiring) nodeJoined(peer link.Peer) { w.out.Heard(peer) }

// nodeGone tells every part that an incarnation has ended. hasLeft: it ended on
// purpose, so it will not come back as the same incarnation. Calls end first, so that
// a program that is told of the end by a watch finds none of them waiting.
func (w *wiring) nodeGone(peer link.Peer, why string, hasLeft bool) {
	w.link.Forget(peer)
	w.out.NodeDown(peer, why, !hasLeft)
	w.outflows.NodeDown(peer, why)
	w.inflows.NodeDown(peer)
	w.streams.NodeDown(peer, why)
	w.written.NodeDown(peer)
	w.in.NodeDown(peer)
	w.watches.NodeDown(peer, why, hasLeft)
	w.actors.NodeDown(peer.Name, peer.Number)
	w.bus.NodeDown(peer)
}

// needed are the nodes that somebody here depends on: membership asks them more often
// than it listens for their heartbeats.
func (w *wiring) needed(now time.Time) []link.Peer {
	return append(w.watches.Nodes(), w.out.Nodes(now)...)
}

// sweep ends and repeats what is overdue. Without a connection it leaves out what would
// send: that would fail, and reconnected repeats it.
func (w *wiring) sweep(now time.Time) {
	w.out.Expire(now)
	w.inflows.Sweep()
	w.written.Sweep()
	if w.link.Usable() {
		w.watches.Tick()
		w.outflows.Sweep(now)
		w.streams.Sweep()
	}
}

// disconnected and reconnected are told by the connection.
func (w *wiring) disconnected(noticesAfter bool) {
	w.link.SetOffline(true)
	w.members.Disconnected(noticesAfter)
	w.disconnects.Add(1)
	w.out.Disconnected(w.members.Peers())
	w.outflows.Disconnected()
}

func (w *wiring) reconnected() {
	w.reconnects.Add(1)
	w.members.Reconnected()
	w.outflows.Reconnected()
	w.watches.Again()
}
