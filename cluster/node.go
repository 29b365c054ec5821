package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Node is this process's place in a cluster. Start makes one; close it. All
// methods are safe from any goroutine.
type Node struct {
	cfg      Config
	name     string
	number   uint64 // incarnation
	log      hclog.Logger
	server   *embedded // nil: somebody else's
	nc       *nats.Conn
	maxFrame int
	subjects subjects
	subs     []*nats.Subscription

	pending    pendingTable // calls of this node to others
	inbound    inboundTable // calls of others to this node
	members    memberTable
	outboxes   outboxTable
	loops      loopTable
	watches    watchTable   // what this node watches elsewhere
	watchers   watcherTable // who watches loops of this node
	transports atomic.Pointer[TransportDirectory]
	actors     *actors.System

	claim   claim
	stats   counters
	quiet   struct{ malformed, answers, nats, conflict, casts, tells rarely }
	offline atomic.Bool // between the loss of the connection and the next one
	notices atomic.Bool // the server tells when a client goes, so nobody need be asked often

	closing    atomic.Bool
	closeOnce  sync.Once
	stop       chan struct{} // closed by Close
	closed     chan struct{} // closed when Close is done
	connClosed chan struct{} // closed by nats.go when the connection is gone for good
	kicks      chan struct{} // wakes the patrol
	work       sync.WaitGroup
}

// frames are buffers for encoding; nats.go copies what it publishes.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

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

// Start joins a cluster, or starts one: with a zero Config it embeds a NATS
// server that listens on nothing. It waits until the node is addressable; ctx
// bounds that wait and is not kept. Errors: ErrConfig, ErrNameTaken, and what
// NATS says when it cannot be reached.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, name: cfg.Name, number: randomNumber(), log: cfg.Logger.With("node", cfg.Name),
		subjects: makeSubjects(cfg.Cluster, cfg.Name),
		stop:     make(chan struct{}), closed: make(chan struct{}), connClosed: make(chan struct{}), kicks: make(chan struct{}, 1),
	}
	n.pending.init()
	n.inbound.init(cfg.MaxInbound)
	n.members.init()
	n.outboxes.init()
	n.watches.init()
	n.watchers.init()
	n.watches.notify = notifier{work: &n.work, fault: n.watchPanicked}
	n.SetTransports(cfg.Transports)
	if err := n.adopt(); err != nil {
		return nil, fmt.Errorf("starting node %s: %w", cfg.Name, err)
	}
	if err := n.join(ctx); err != nil {
		n.abandon()
		return nil, fmt.Errorf("starting node %s: %w", cfg.Name, err)
	}
	// goroutine: owner: node; ends when Close closes n.stop
	n.work.Go(n.patrol)
	// goroutine: owner: node; ends when Close closes n.stop
	n.work.Go(n.outboxes.run(n))
	running.add(n)
	n.log.Info("node is up", "incarnation", n.number, "url", n.URL())
	return n, nil
}

// join takes the steps that make the node addressable.
func (n *Node) join(ctx context.Context) error {
	if n.cfg.sources() == 0 {
		var err error
		if n.server, err = startEmbedded(ctx, n.cfg, n.log); err != nil {
			return err
		}
	}
	if err := n.connect(ctx); err != nil {
		return err
	}
	return n.claimName(ctx)
}

// abandon takes back what a failed start has made.
func (n *Node) abandon() {
	n.closing.Store(true)
	n.releaseActors()
	n.disconnect()
	if n.server != nil {
		n.server.stop()
	}
}

func (n *Node) disconnect() {
	if n.nc == nil {
		return
	}
	// Why drain: what was sent here before the server knew that we leave gets an
	// answer; a plain close would drop it, and its caller would wait in vain.
	if n.nc.Drain() != nil {
		n.nc.Close()
	}
	<-n.connClosed
}

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Incarnation tells this life of the node from others of the same name.
func (n *Node) Incarnation() uint64 { return n.number }

// URL is where nodes of other processes can join (Config.Join, Config.URL): the
// embedded server's address, "" when it listens on nothing, or the NATS in use.
func (n *Node) URL() string {
	if s := n.sharedServer(); s != nil {
		return s.url()
	}
	return n.nc.ConnectedUrlRedacted()
}

// Stop takes no new calls, waits until those that run here have ended or ctx has,
// and closes the node. It returns ctx's error when calls were cut off.
func (n *Node) Stop(ctx context.Context) error {
	n.inbound.refuse()
	var err error
	select {
	case <-n.inbound.drained():
	case <-n.closed:
	case <-ctx.Done():
		err = fmt.Errorf("node %s stopped with calls under way: %w", n.name, context.Cause(ctx))
	}
	n.Close()
	return err
}

// Close leaves the cluster and waits until everything of the node is gone: its
// calls fail with ErrClosed, tasks that serve others are cancelled, watchers are
// told, loops made by NewLoop are closed, the embedded server is stopped.
// Closing twice is harmless. Not from a loop of this node: it waits for them.
func (n *Node) Close() {
	n.closeOnce.Do(func() {
		n.closing.Store(true)
		running.remove(n)
		n.outboxes.flush(n)
		n.inbound.refuse()
		n.watchers.endAll(n, ErrStopped)
		close(n.stop)
		n.pending.close(func(p *pending) error { return p.failure(ErrClosed, "this node was closed while waiting") })
		n.loops.closeAll(n)
		n.releaseActors()
		n.farewell()
		n.watches.notify.end()
		n.work.Wait()
		n.watches.clear()
		if n.nc.IsConnected() {
			_ = n.nc.FlushTimeout(farewellFlush) // a server that hangs must not hold up a close
		}
		n.disconnect()
		if n.server != nil {
			n.server.stop()
		}
		close(n.closed)
	})
	<-n.closed
}

const farewellFlush = 500 * time.Millisecond

// farewell tells the members that the node leaves on purpose. Why one by one:
// each must read it behind the answers that were sent to it before.
func (n *Node) farewell() {
	for _, m := range n.Members() {
		if !m.Self {
			n.answer(n.subjects.of(m.Name), &wire.Frame{Kind: wire.Goodbye, From: n.name, FromNumber: n.number})
		}
	}
}

// subjects are the NATS subjects of one node. Every frame to it arrives through
// one subscription, whatever it has of loops and functions.
type subjects struct {
	cluster string
	all     string // everything of this node: subscribed once
	in      string // frames of others
	reply   string // prefix of answers, and of NATS's "nobody is there"
	members string // who lives: subscribed by all
}

func makeSubjects(cluster, node string) subjects {
	base := cluster + ".n." + node
	return subjects{cluster: cluster, all: base + ".>", in: base + ".in", reply: base + ".r.", members: cluster + ".members"}
}

// of is where frames for a node go.
func (s *subjects) of(node string) string {
	var b strings.Builder
	b.Grow(len(s.cluster) + len(node) + 6)
	b.WriteString(s.cluster)
	b.WriteString(".n.")
	b.WriteString(node)
	b.WriteString(".in")
	return b.String()
}

// running are the nodes of this process, oldest first: a call from code that
// belongs to no node goes through the oldest.
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

func (l *nodeList) first() *Node {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.list) == 0 {
		return nil
	}
	return l.list[0]
}

type nodeKey struct{}

// Context is parent with this node: calls made with it go through this node. A
// function called from another node gets such a ctx. Needed only where one
// process has several nodes.
func (n *Node) Context(parent context.Context) context.Context {
	return context.WithValue(parent, nodeKey{}, n)
}

// nodeOf is the node that carries a call made with ctx.
func nodeOf(ctx context.Context) *Node {
	if ctx != nil {
		if n, ok := ctx.Value(nodeKey{}).(*Node); ok {
			return n
		}
	}
	return running.first()
}
