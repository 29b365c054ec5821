// Package inside is the way from a node to the packages that build on it and live
// beside package cluster: names and durable. They need what no program should use,
// the node's JetStream and the moment before it leaves, so that package cluster itself
// stays small. Node.Inside takes a Key, which only packages below cluster can name.
package inside

import (
	"context"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/internal/lease"
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

// A node that leaves goes through two phases while its connections still work. What does
// work for others ends first (OnDrain); then names are released (OnClose), so that the
// next owner of a name never runs beside the work of this one.

// Parts is what a node shows to the packages that build on it. The node makes it and
// sets the fields before anybody can reach it; afterwards they do not change. All
// methods are safe from any goroutine.
type Parts struct {
	Cluster string
	Log     hclog.Logger

	// JetStream waits until a majority of the voters answers, see engine.JetStream.
	JetStream func(ctx context.Context) (jetstream.JetStream, error)
	// Serving reports whether others take this node for alive; Fences counts how often
	// that ended. Who reads the same number twice, and Serving in between, knows that
	// nobody took this node for dead.
	Serving func() bool
	Fences  func() uint64
	// Admin reports whether the node has the right "admin" on others.
	Admin func() bool
	// MaxPayload bounds what one record may hold.
	MaxPayload int
	// Lease are the times of the node's lease on names. Tests make them shorter.
	Lease lease.Config

	mu      sync.Mutex
	shared  map[any]any
	closers [2][]func() // of OnDrain, of OnClose
	closed  bool
	denied  map[string]bool // subjects that the server refused
}

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

// OnDrain has fn called when the node is about to leave, before anything that OnClose
// was given: work that needs names ends before the names are released.
func (p *Parts) OnDrain(fn func()) { p.add(0, fn) }

// OnClose has fn called when the node is about to leave and its connections still
// work; what was added last is called first. It must end within seconds. After the
// node began to leave, fn is called at once.
func (p *Parts) OnClose(fn func()) { p.add(1, fn) }

func (p *Parts) add(phase int, fn func()) {
	p.mu.Lock()
	if !p.closed {
		p.closers[phase] = append(p.closers[phase], fn)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	fn()
}

// Shut calls what OnDrain and OnClose were given. The node calls it once, before it
// leaves.
func (p *Parts) Shut() {
	p.mu.Lock()
	closers := p.closers
	p.closers, p.closed = [2][]func(){}, true
	p.mu.Unlock()
	for _, phase := range closers {
		for i := len(phase) - 1; i >= 0; i-- {
			phase[i]()
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
