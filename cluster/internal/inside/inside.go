// Package inside is the way from a node to the packages that build on it and live
// beside package cluster: names, durable, topics, groups, process. They need what no program should use,
// the node's JetStream and the moment before it leaves, so that package cluster itself
// stays small. Node.Inside takes a Key, which only packages below cluster can name.
package inside

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
)

// Key is the argument of Node.Inside. Why: a method that takes a type of an internal
// package can be called by packages of this folder only.
type Key struct{}

// Node is what has Parts: a *cluster.Node. Its other methods are those that the
// packages beside cluster use.
type Node interface {
	Name() string
	Incarnation() uint64
	Inside(Key) *Parts
}

// A node that leaves goes through three phases while its connections still work. First it
// gives away what others can take over at once: groups, placed singletons (OnLeave). Then
// what does work for others ends (OnDrain). Last, names are released (OnClose), so that the
// next owner of a name never runs beside the work of this one. Close goes through them
// without a pause; package drain waits in between for what is under way (OnFinish).

// Parts is what a node shows to the packages that build on it. The node makes it and
// sets the fields before anybody can reach it; afterwards they do not change. All
// methods are safe from any goroutine.
type Parts struct {
	Cluster string
	Log     hclog.Logger

	// JetStream waits until a majority of the voters answers, see engine.JetStream.
	JetStream func(ctx context.Context) (jetstream.JetStream, error)
	// Ended is closed when the node is: then no operation of the store is begun or repeated.
	Ended <-chan struct{}
	// Serving reports whether others take this node for alive; Fences counts how often
	// that ended, and began again. Who reads the same number twice, and Serving in between, knows that
	// nobody took this node for dead.
	Serving func() bool
	Fences  func() uint64
	// Period numbers the time in which this node serves: it grows each time that the node
	// serves again. Covers reports whether the end of a life of a node, as this one knows it,
	// ends what that one did in a period of its, too.
	Period func() uint64
	Covers func(node string, life, period uint64) bool
	// Heard reports whether a life of a node is a member, or was heard of lately and may
	// become one.
	Heard func(node string, life uint64) bool
	// Gone reports whether the process of a life of a node is known to have ended. One that
	// was given up because it was silent may be cut off, and live.
	Gone func(node string, life uint64) bool
	// Health is what the engine knows of its voters, its keys and its store.
	Health func() engine.Health
	// Connections asks the servers that the node is connected to, until ctx ends.
	Connections func(ctx context.Context) []engine.Connection
	// Admin reports whether the node has the right "admin" on others.
	Admin func() bool
	// MayMakeStreams reports whether the node's keys let it make streams. Without keys
	// every node may.
	MayMakeStreams func() bool
	// Topics is what the node publishes and hears.
	Topics *pubsub.Bus
	// Open begins a stream to what the address names, and Expect lets a node open one here,
	// see package streams.
	Open   func(ctx context.Context, to actors.Address) (*streams.Stream, error)
	Expect func(path, from string, t streams.Target) (stop func(), err error)
	// Loops asks a node for the names of its loops.
	Loops func(ctx context.Context, node string) ([]string, error)
	// CallTimeout bounds a call whose ctx has no deadline.
	CallTimeout time.Duration
	// DeadLetter tells those who follow the node of a command, or a call for later, that it gave
	// up. It does not wait.
	DeadLetter func(events.Letter)
	// Traces makes the spans of what runs; nil: none.
	Traces *traces.Tracer
	// Refuse has the node take no more calls of others but those of the admin API.
	Refuse func()
	// Running is how many calls of others, with and without an answer, have not ended.
	Running func() (calls, casts int)
	// MaxPayload bounds what one record may hold.
	MaxPayload int
	// Traffic is who calls whom since the start, and UnderWay the calls that wait, the
	// oldest first, at most most of them, and how many there are. Sent are the messages
	// that need no answer, by target.
	Traffic  func() []Traffic
	UnderWay func(most int) (calls []Call, all int)
	Sent     func() []Sent
	// Writers is how many nodes write to the store at the same time, as far as this one
	// knows; Stores is how full the servers are that keep it.
	// AskStores has the servers say it anew.
	Writers   func() int
	Stores    func() []admit.Level
	AskStores func()
	// JoinAddresses are the addresses that a node can join, see engine.
	JoinAddresses func() []string
	// Lease are the times of the node's lease on names. Tests make them shorter.
	Lease lease.Config

	mu      sync.Mutex
	shared  map[any]any
	closers [3][]*closer // of OnLeave, of OnDrain, of OnClose
	leaving bool
	closed  bool
	finish  []Finisher
	denied  map[string]bool // subjects that the server refused
}

// closer is a function that OnLeave, OnDrain or OnClose was given.
type closer struct{ fn func() }

// Shared returns what make made for key: one for each node. It is called once,
// and must not call Shared.
func Shared[T any](p *Parts, key any, make func() T) T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.shared[key]; ok {
		return have.(T)
	}
	if p.shared == nil {
		p.shared = map[any]any{}
	}
	v := make()
	p.shared[key] = v
	return v
}

// Finisher is work that ends by itself when nothing more is begun.
type Finisher struct {
	// Finish begins nothing more and waits until what runs has ended, or ctx has.
	Finish func(ctx context.Context)
	// Left says for people what still runs; "" when nothing does.
	Left func() string
}

// OnLeave has fn called when the node begins to leave: it gives away what others can take
// over. After that it is called at once. It must end within seconds. forget takes fn back.
func (p *Parts) OnLeave(fn func()) (forget func()) {
	c := p.add(0, fn)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closers[0] = slices.DeleteFunc(p.closers[0], func(have *closer) bool { return have == c })
	}
}

// OnDrain has fn called when the node is about to leave, before anything that OnClose
// was given: work that needs names ends before the names are released.
func (p *Parts) OnDrain(fn func()) { p.add(1, fn) }

// OnClose has fn called when the node is about to leave and its connections still
// work; what was added last is called first. It must end within seconds. After the
// node began to leave, fn is called at once.
func (p *Parts) OnClose(fn func()) { p.add(2, fn) }

// OnFinish notes work that package drain waits for.
func (p *Parts) OnFinish(f Finisher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish = append(p.finish, f)
}

func (p *Parts) add(phase int, fn func()) *closer {
	c := &closer{fn}
	p.mu.Lock()
	if !p.closed && (phase > 0 || !p.leaving) {
		p.closers[phase] = append(p.closers[phase], c)
		p.mu.Unlock()
		return c
	}
	p.mu.Unlock()
	fn()
	return c
}

// Leaving reports whether Leave was called: the node takes over nothing any more.
func (p *Parts) Leaving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leaving
}

// Leave calls what OnLeave was given, all at once, and waits for it.
func (p *Parts) Leave() {
	p.mu.Lock()
	all := p.closers[0]
	p.closers[0], p.leaving = nil, true
	p.mu.Unlock()
	var work sync.WaitGroup
	for _, c := range all {
		// goroutine: owner: Leave, which waits for it; ends when fn returns
		work.Go(c.fn)
	}
	work.Wait()
}

// Finish has all work of OnFinish end, and waits for it or for ctx.
func (p *Parts) Finish(ctx context.Context) {
	var work sync.WaitGroup
	for _, f := range p.finishers() {
		// goroutine: owner: Finish, which waits for it; ends when the work does, or with ctx
		work.Go(func() { f.Finish(ctx) })
	}
	work.Wait()
}

// Left says for people what work of OnFinish still runs.
func (p *Parts) Left() (out []string) {
	for _, f := range p.finishers() {
		if s := f.Left(); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (p *Parts) finishers() []Finisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.finish)
}

// Shut calls what OnLeave, OnDrain and OnClose were given. The node calls it once, before
// it leaves.
func (p *Parts) Shut() {
	p.Leave()
	p.mu.Lock()
	closers := p.closers
	p.closers, p.closed = [3][]*closer{}, true
	p.mu.Unlock()
	for _, phase := range closers {
		for i := len(phase) - 1; i >= 0; i-- {
			phase[i].fn()
		}
	}
}

// Deny notes that the server refused a subject: NATS says so to nobody who waits.
func (p *Parts) Deny(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.denied == nil {
		p.denied = map[string]bool{}
	}
	if len(p.denied) < maxDenied {
		p.denied[subject] = true
	}
}

const maxDenied = 1024 // subjects remembered; a program uses few

// Denied reports whether the server has refused the subject, and forgets it: keys may
// change.
func (p *Parts) Denied(subject string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.denied[subject]
	delete(p.denied, subject)
	return was
}

// Traffic is the calls of one loop of this node to one target of another.
type Traffic struct {
	From, To      string // From is "" for callers that are no task of a loop
	Calls, Failed uint64
	Took          time.Duration // of all together
}

// Sent is what this node has sent to one target of another that needs no answer. The
// counters begin anew when nothing was sent for a while.
type Sent struct {
	To             string
	Messages       uint64
	UnderWay, Wait int // sent and not taken; not sent for want of credit
}

// Call is one call that waits for its answer.
type Call struct {
	ID                 uint64
	From, To, Function string
	Begun, Deadline    time.Time
}
