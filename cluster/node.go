package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/members"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Node is this process's place in a cluster. Start makes one; close it. All methods
// are safe from any goroutine.
//
// A node is one incarnation: it is made, joins, and ends once; a process that goes on
// makes another one. What it does lies in its parts; the methods here wire and order
// them. Invariant: when closed is closed, no goroutine of the node is left, except
// that of a loop whose callback does not return.
type Node struct {
	*wiring
	cfg    Config
	name   string
	number uint64 // incarnation
	log    hclog.Logger
	engine *engine.Engine
	parts  *inside.Parts // for the packages beside this one

	closeOnce sync.Once
	reason    atomic.Pointer[error] // why the node ended by itself
	stop      chan struct{}         // closed by Close
	closed    chan struct{}         // closed when Close is done
	work      sync.WaitGroup
}

// randomNumber draws a number that is not zero.
func randomNumber() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails: it ends the process instead
		if v := binary.LittleEndian.Uint64(b[:]); v != 0 {
			return v
		}
	}
}

// newIncarnation draws the number of a life of a node. It begins with the time in
// milliseconds, because a later life of a name ends an earlier one; the last 20 bits
// are random, for two that start in the same millisecond.
func newIncarnation() uint64 {
	return uint64(time.Now().UnixMilli())<<20 | randomNumber()&(1<<20-1)
}

// maxOutranked is how often a start is repeated with a higher incarnation.
const maxOutranked = 3

// Start joins a cluster, or starts one: with a zero Config it embeds a NATS
// server that listens on nothing. It waits until the name is this node's,
// Config.Prepare has returned and the node is announced to the others; ctx bounds
// that wait and is not kept. Errors: ErrConfig, ErrNameTaken, what Prepare returns,
// and what NATS says when it cannot be reached.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if ctx == nil {
		return nil, badConfig("Start needs a ctx, not nil: use context.Background()")
	}
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	number := newIncarnation()
	for again := maxOutranked; ; again-- {
		n, err := startLife(ctx, cfg, number)
		var newer *members.OutrankedError
		if !errors.As(err, &newer) || again == 0 {
			return n, err
		}
		// Others remember an incarnation of this name that is later than this time: a clock
		// was, or is, wrong. What counts is the order of the incarnations.
		number = newer.Incarnation + 1
	}
}

// startLife starts one incarnation of a node. The order of the actor system's wiring
// matters: it knows its name and its ways to other nodes before join makes the node
// addressable.
func startLife(ctx context.Context, cfg Config, number uint64) (*Node, error) {
	n := &Node{
		cfg: cfg, name: cfg.Name, number: number, log: cfg.Logger.With("node", cfg.Name),
		stop: make(chan struct{}), closed: make(chan struct{}),
	}
	sys, err := systemOf(cfg.Actors, n.log)
	if err == nil {
		n.wiring = makeWiring(n, sys, &n.work)
		n.parts = &inside.Parts{
			Cluster: cfg.Cluster, Log: n.log, MaxPayload: cfg.MaxPayload, Lease: lease.Default(), Ended: n.closed,
			JetStream: func(ctx context.Context) (jetstream.JetStream, error) { return n.engine.JetStream(ctx) },
			Serving:   n.members.Serving, Fences: n.members.Fences, Admin: func() bool { return n.engine.Admin() },
			Health:         func() engine.Health { return n.engine.Health() },
			Connections:    func(ctx context.Context) []engine.Connection { return n.engine.Connections(ctx) },
			MayMakeStreams: func() bool { return n.engine.MayMakeStreams() },
			Writers:        func() int { return len(n.members.List()) },
			Stores:         func() []admit.Level { return n.engine.Stores() },
			AskStores:      func() { n.engine.AskStores() },
			JoinAddresses:  func() []string { return n.engine.JoinAddresses() },
			Heard:          func(node string, life uint64) bool { return n.members.HeardOf(link.Peer{Name: node, Number: life}) },
			Period:         n.members.Period,
			Covers: func(node string, life, period uint64) bool {
				return n.members.Covers(link.Peer{Name: node, Number: life}, period)
			},
			Gone:        func(node string, life uint64) bool { return n.members.Gone(link.Peer{Name: node, Number: life}) },
			Topics:      n.bus,
			Open:        n.streams.Open,
			Expect:      n.written.Expect,
			Loops:       n.loopsOf,
			Refuse:      n.refuseCalls,
			Running:     func() (calls, casts int) { return n.in.Counters().Running, n.casts.Counters().Active },
			CallTimeout: cfg.CallTimeout,
			Traffic:     n.out.Traffic, UnderWay: n.out.UnderWay, Sent: n.outflows.Sent,
			Traces: n.traces, DeadLetter: n.members.ReportLetter,
		}
		sys.Identify(n.name, n.number)
		sys.RouteRemote(n.tells.Route)
		sys.RouteWatches(n.watches.Remote)
		if err = n.join(ctx); err != nil {
			n.abandon()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("starting node %s: %w", cfg.Name, err)
	}
	running.add(n)
	n.log.Info("node is up", "incarnation", n.number, "url", n.URL())
	return n, nil
}

// join takes the steps that make the node addressable, in the order in which others
// may see them: connect, hear, own the name, let the program prepare, and only then
// be announced. Each step may fail, and abandon takes back what there is.
func (n *Node) join(ctx context.Context) (err error) {
	cfg := n.cfg.engine()
	cfg.Number, cfg.Log, cfg.Events = n.number, n.log, n.connectionEvents()
	if n.engine, err = n.reach(ctx, cfg); err != nil {
		return err
	}
	// NATS cuts the connection of a client that sends more than the server takes.
	if most := n.engine.Control().MaxPayload(); int64(n.cfg.MaxPayload) > most {
		return badConfig("MaxPayload is %d but the NATS server takes messages of %d: lower it or raise max_payload there", n.cfg.MaxPayload, most)
	}
	n.link.Open(n.engine)
	n.members.Notices(n.engine.Noticed())
	n.members.Servers(n.engine.Control().Servers())
	if err := n.link.Subscribe(); err != nil {
		return err
	}
	// goroutine: owner: node; ends when Close or abandon closes n.stop
	n.work.Go(func() { n.members.Run(n.stop) })
	// goroutine: owner: node; ends when Close or abandon closes n.stop
	n.work.Go(func() { n.link.SendPosted(n.stop) })
	n.streams.Fit()
	// goroutine: owner: node; ends when Close or abandon closes n.stop
	n.work.Go(func() { n.streams.Run(n.stop) })
	if err := n.members.Claim(ctx); err != nil {
		return err
	}
	if err := n.prepare(ctx); err != nil {
		return err
	}
	n.members.Announce()
	if n.engine.MakesStreams() {
		ctx, cancel := context.WithCancel(context.Background())
		n.parts.OnClose(cancel)
		// goroutine: owner: node; ends when the stream is there, or Close has begun
		n.work.Go(func() {
			records.Of(n.parts).Make(ctx)
			records.WorkOf(n.parts).Make(ctx)
		})
	}
	return nil
}

// Times of reach.
const (
	reachFirst = 50 * time.Millisecond
	reachMost  = time.Second
)

// reach opens the engine. With Config.AwaitNATS it tries again while nobody answers, more
// and more seldom, until ctx ends; the log says so once a minute. An error that another
// attempt cannot change (ErrDenied, ErrConfig, …) ends it at once.
func (n *Node) reach(ctx context.Context, cfg engine.Config) (*engine.Engine, error) {
	var told time.Time
	for wait := reachFirst; ; wait = min(2*wait, reachMost) {
		e, err := engine.Open(ctx, cfg)
		if err == nil || !n.cfg.AwaitNATS || !errors.Is(err, ErrDisconnected) || ctx.Err() != nil {
			return e, err
		}
		if time.Since(told) >= time.Minute {
			told = time.Now()
			n.log.Warn("NATS cannot be reached; this node is no member until it can, and goes on trying", "error", err)
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// prepare lets the program make what others are to find before they hear of the node.
func (n *Node) prepare(ctx context.Context) error {
	if n.cfg.Prepare == nil {
		return nil
	}
	var err error
	// One that ends the goroutine of Start (runtime.Goexit, t.FailNow) leaves no node behind.
	if p := guard.CallWhole(func() { err = n.cfg.Prepare(ctx, n) }, n.abandon); p != nil {
		err = p
	}
	if err == nil && n.link.Closing() {
		err = fmt.Errorf("%w: Prepare closed the node", ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("Config.Prepare: %w", err)
	}
	return nil
}

// connectionEvents handle the events of the engine, which logs them. Only the control
// connection decides whether the node is connected. While bulk is lost, streams wait;
// while notices is lost, the death of others is seen later.
func (n *Node) connectionEvents() engine.Events {
	self := link.Peer{Name: n.name, Number: n.number}
	return engine.Events{
		Lost: func(kind engine.Kind, _ error) {
			if kind == engine.Control && !n.link.Closing() {
				n.disconnected(n.cfg.embeds())
			}
		},
		Back: func(kind engine.Kind) {
			if kind == engine.Control {
				n.reconnected()
			}
			if kind != engine.Notices {
				n.streams.Reconnected()
			}
		},
		Gone:   n.members.Noticed,
		Ended:  n.members.Ended,
		Votes:  func(v engine.Votes) { n.members.Isolated(!v.Majority()) },
		Denied: n.subjectDenied,
		Slow: func(subject string) {
			n.slow.Add(1)
			n.members.Report(events.Slow, self, subject)
		},
	}
}

// abandon takes back what a failed start has made, unless Prepare has closed the node.
func (n *Node) abandon() {
	n.closeOnce.Do(func() {
		n.parts.Shut()
		n.link.Shut()
		close(n.stop)
		n.loops.Close()
		n.releaseActors()
		n.work.Wait()
		if n.engine != nil {
			n.engine.Close()
		}
		close(n.closed)
	})
	<-n.closed
}

// Inside is for the packages of this module that build on a node (names, durable).
func (n *Node) Inside(inside.Key) *inside.Parts { return n.parts }

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Incarnation tells this life of the node from others of the same name.
func (n *Node) Incarnation() uint64 { return n.number }

// URL is where nodes of other processes can join (Config.Join, Config.URL): the
// embedded server's address, "" when it listens on nothing, or the NATS in use.
func (n *Node) URL() string { return n.engine.URL() }

// Stop takes no new work and waits until what others have sent to this node has ended
// or ctx has: calls, calls without an answer, and calls for later whose time has come.
// Then it closes the node. An error says what was cut off: what still ran when ctx
// ended (the error is also ctx's), and calls for later whose time had not come
// (ErrCutOff). nil: nothing. It suspends the task ctx belongs to, or blocks the
// goroutine; a task of this node's own loops ends with its loop. In a callback of a loop,
// which may not wait, it is loopnode.ErrWouldBlock and does nothing.
func (n *Node) Stop(ctx context.Context) error {
	if ctx == nil {
		return badConfig("Stop needs a ctx, not nil")
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, stop(ctx, n) })
	return err
}

// stop is Stop on a goroutine that may wait.
func stop(ctx context.Context, n *Node) error {
	n.in.Refuse()
	n.casts.Refuse()
	var why error
	for _, idle := range []<-chan struct{}{n.in.Idle(), n.casts.Idle()} {
		select {
		case <-idle:
		case <-n.closed:
		case <-ctx.Done():
			why = context.Cause(ctx)
		}
	}
	err := n.cutOff(why)
	n.Close()
	return err
}

// cutOff is the error of a stop that ended for why with something left.
func (n *Node) cutOff(why error) error {
	var left []string
	if running := n.in.Counters().Running; running > 0 {
		left = append(left, fmt.Sprintf("%d calls", running))
	}
	if s := n.casts.Left(); s != "" {
		left = append(left, s)
	}
	switch text := strings.Join(left, ", "); {
	case text == "":
		return nil
	case why == nil:
		return fmt.Errorf("stopping node %s: %w: %s", n.name, ErrCutOff, text)
	default:
		return fmt.Errorf("stopping node %s: %w: %s: %w", n.name, ErrCutOff, text, why)
	}
}

// Close leaves the cluster and waits until everything of the node is gone: its calls
// fail with ErrClosed, tasks that serve others are cancelled, watchers are told,
// loops made by NewLoop are closed, the embedded server is stopped. Closing twice is
// harmless. Not from a loop of this node: it waits for them. Within a function given to
// Watch or Config.OnLoss, whose end it would wait for, it does not wait: see Done.
//
// The order: names are released (package names) and durable work is put down; nothing
// new is sent or taken; watchers are told while the connection
// still works; what waits here ends; loops end, which answers their calls; the
// goodbye comes behind these answers; last the connection, when the server has all of
// it.
func (n *Node) Close() {
	if notify.Inside() {
		// goroutine: owner: node; ends when the node is closed
		go n.Close()
		return
	}
	n.closeOnce.Do(func() {
		running.remove(n)
		n.parts.Shut()
		n.link.Shut()
		n.in.Refuse()
		n.watches.EndAll(ErrStopped)
		close(n.stop)
		n.out.Close()
		n.outflows.Close()
		n.streams.Close()
		n.written.Close()
		n.loops.Close()
		n.releaseActors()
		n.members.Leave()
		n.members.EndSubscriptions()
		n.notify.End()
		n.bus.Close()
		n.topicTasks.End()
		n.work.Wait()
		n.flush()
		n.engine.Close()
		close(n.closed)
	})
	<-n.closed
}

// flushLimit bounds the last flush of a node: a server that hangs must not hold up a
// close.
const flushLimit = 500 * time.Millisecond

// flush waits until NATS has what the node sent last.
func (n *Node) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	_ = n.link.Flush(ctx) // the node ends either way
}

// running are the nodes of this process: a call that neither its ctx, its ref nor its
// function ties to a node goes through the only one there is.
var running nodeList

type nodeList struct {
	mu   sync.RWMutex
	list []*Node
}

func (l *nodeList) add(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, n)
}

func (l *nodeList) remove(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make([]*Node, 0, len(l.list))
	for _, have := range l.list {
		if have != n {
			kept = append(kept, have)
		}
	}
	l.list = kept
}

// only is the node of this process, nil when there is none or more than one.
func (l *nodeList) only() *Node {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.list) != 1 {
		return nil
	}
	return l.list[0]
}

type nodeKey struct{}

// Context is parent with this node: calls made with it go through this node. A
// function called from another node gets such a ctx. Needed only where one process has
// several nodes, and the ref of the call is not of Node.Ref.
func (n *Node) Context(parent context.Context) context.Context {
	if parent == nil {
		parent = context.Background()
	}
	return context.WithValue(parent, nodeKey{}, n)
}

// nodeOf is the node that carries a call to ref made with ctx: the one ref is of
// (Node.Ref), that of ctx, or the only one of the process; nil when none of them says.
func nodeOf(ctx context.Context, ref loopnode.Ref) *Node {
	if n, ok := ref.Carrier().(*Node); ok {
		return n
	}
	if n, ok := NodeOf(ctx); ok {
		return n
	}
	return running.only()
}

// loopContext is what the tasks of called functions on a loop start from.
func (n *Node) loopContext(loop *loopnode.Loop) context.Context {
	return loop.Context(n.Context(context.Background()))
}

// NodeOf is the node a function was called through, or that Node.Context put
// into ctx.
func NodeOf(ctx context.Context) (*Node, bool) {
	n, ok := ctx.Value(nodeKey{}).(*Node)
	return n, ok
}
