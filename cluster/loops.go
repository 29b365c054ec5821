package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

// hosted is a loop that is addressable under this node.
type hosted struct {
	loop  *loopnode.Loop
	ctx   context.Context // what called functions start from
	ref   loopnode.Ref
	own   bool          // made by NewLoop
	casts int           // unfinished calls without an answer; guarded by inboundTable.mu
	over  bool          // it takes no calls any more and casts are not counted; guarded by inboundTable.mu
	gone  chan struct{} // closed when the goroutine of an own loop has ended
}

// endOf is why a loop that is closed has ended, for those who watch it.
func endOf(loop *loopnode.Loop) error {
	if err := loop.CloseFailure(); err != nil {
		return fmt.Errorf("%w: %w", ErrLoopDied, err)
	}
	return ErrStopped
}

type loopTable struct {
	mu     sync.RWMutex
	byName map[string]*hosted
	closed bool
}

func (t *loopTable) find(name string) *hosted {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

func (t *loopTable) add(name string, h *hosted) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return fmt.Errorf("%w: it takes no more loops", ErrClosed)
	case t.byName[name] != nil:
		return fmt.Errorf("%w: this node has a loop named %q already; choose another name", ErrNameTaken, name)
	}
	if t.byName == nil {
		t.byName = map[string]*hosted{}
	}
	t.byName[name] = h
	return nil
}

func (t *loopTable) remove(name string, h *hosted) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName[name] != h {
		return false
	}
	delete(t.byName, name)
	return true
}

func (t *loopTable) all() []*hosted {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.byName))
}

// NewLoop makes a loop on this node and runs it on a goroutine of its own until
// the node is closed or somebody stops the loop. Every configure may change the
// loop's Config. The loop is node/name for every node. Errors: ErrNameTaken,
// ErrClosed, ErrConfig (a name that cannot be in an address), and loopnode.New's.
func (n *Node) NewLoop(name string, configure ...func(*loopnode.Config)) (loopnode.Ref, error) {
	if err := checkLoopName(name); err != nil {
		return loopnode.Ref{}, err
	}
	cfg := loopnode.Config{Name: name, Logger: n.log.Named("loop"), Actors: n.actors}
	for _, set := range configure {
		if set != nil {
			set(&cfg)
		}
	}
	cfg.Name = name
	loop, err := loopnode.New(cfg)
	if err != nil {
		return loopnode.Ref{}, err
	}
	h := n.newHosted(loop)
	h.own = true
	if err := n.host(h); err != nil {
		_ = loop.Close() // it has not run: there is nothing to lose
		return loopnode.Ref{}, err
	}
	// goroutine: owner: node; ends when the loop is stopped, at the latest by Close
	go n.runLoop(h)
	return h.ref, nil
}

// Host makes a loop that somebody else runs addressable as node/name, until the
// loop is closed. The loop stays its owner's: Close of the node does not stop it.
// Errors: ErrNameTaken, ErrClosed, ErrConfig.
func (n *Node) Host(loop *loopnode.Loop) (loopnode.Ref, error) {
	if loop == nil {
		return loopnode.Ref{}, badConfig("Host needs a loop, not nil")
	}
	h := n.newHosted(loop)
	if err := n.host(h); err != nil {
		return loopnode.Ref{}, err
	}
	return h.ref, nil
}

func (n *Node) newHosted(loop *loopnode.Loop) *hosted {
	addr := actors.Address{Node: n.name, Incarnation: n.number, Path: loop.Name()}
	return &hosted{loop: loop, ctx: loopContext(n, loop), ref: loop.Ref().WithAddress(addr), gone: make(chan struct{})}
}

func checkLoopName(name string) error {
	if !validName(name) {
		return badConfig("loop name %q: use up to %d letters, digits, - and _", name, maxNodeName)
	}
	return nil
}

func (n *Node) host(h *hosted) error {
	name := h.loop.Name()
	if err := checkLoopName(name); err != nil {
		return err
	}
	if err := n.loops.add(name, h); err != nil {
		return err
	}
	h.loop.OnClose(func() { n.unhost(h) }) // at once when it is closed
	if err := h.loop.CloseReason(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if h.loop.Actors() == n.actors {
		if _, err := h.loop.Ref().Actor(); err != nil {
			n.unhost(h)
			return fmt.Errorf("loop %s cannot be an actor of node %s: %w", name, n.name, err)
		}
	}
	return nil
}

// unhost forgets a loop that ends: calls that run on it are answered, those who
// watch it are told.
func (n *Node) unhost(h *hosted) {
	if !n.loops.remove(h.loop.Name(), h) {
		return
	}
	n.inbound.abandon(h)
	n.watchers.end(n, h.loop.Name(), endOf(h.loop))
}

// runLoop is the goroutine of a loop made by NewLoop.
func (n *Node) runLoop(h *hosted) {
	defer close(h.gone)
	died := h.loop.RunForever()
	if died != nil {
		n.log.Error("loop died", "loop", h.loop.Name(), "error", died)
	}
	n.inbound.abandon(h) // what is called ends with ErrClosed, not with how its task meets the end
	wind(h.loop)
	if err := h.loop.CloseWith(died); err != nil {
		n.log.Error("closing a loop failed", "loop", h.loop.Name(), "error", err)
	}
}

const (
	windLimit = time.Second           // how long cancelled tasks may take to end
	windTurn  = 10 * time.Millisecond // one wait for them
)

// wind cancels the tasks of a stopped loop and lets them end: a task that is
// only dropped cannot clean up.
func wind(loop *loopnode.Loop) {
	for _, t := range loopnode.AllTasks(loop) {
		t.Cancel("the loop is being closed")
	}
	for end := time.Now().Add(windLimit); len(loopnode.AllTasks(loop)) > 0 && time.Now().Before(end); {
		if err := loop.RunOnce(windTurn); err != nil {
			return
		}
	}
}

const closeLoopLimit = 5 * time.Second

// closeAll ends the node's own loops and lets go of the others.
func (t *loopTable) closeAll(n *Node) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	all := t.all()
	for _, h := range all {
		n.inbound.abandon(h)
		if h.own {
			_ = h.ref.Stop() // a closed loop needs no stop
		}
	}
	limit := time.NewTimer(closeLoopLimit)
	defer limit.Stop()
	for _, h := range all {
		if h.own {
			select {
			case <-h.gone:
			case <-limit.C:
				n.log.Error("a loop does not stop: a callback of it does not return", "loop", h.loop.Name(), "waited", closeLoopLimit)
				return
			}
		}
		n.unhost(h)
	}
}

// Loops are the names of the loops of this node, sorted.
func (n *Node) Loops() []string {
	n.loops.mu.RLock()
	defer n.loops.mu.RUnlock()
	return slices.Sorted(maps.Keys(n.loops.byName))
}

// Loop is the loop of this node with that name.
func (n *Node) Loop(name string) (loopnode.Ref, bool) {
	h := n.loops.find(name)
	if h == nil {
		return loopnode.Ref{}, false
	}
	return h.ref, true
}

// Ref reads an address such as "n2/io-0" or "n2@81/io-0" and returns the loop it
// names. It sends nothing: a node or loop that does not exist is found out by the
// call. Without an incarnation the address means whichever lives. Errors: for a
// text that is no address, and for a loop this very node does not have.
func (n *Node) Ref(address string) (loopnode.Ref, error) {
	addr, err := actors.Parse(address)
	if err != nil {
		return loopnode.Ref{}, err
	}
	return n.RefTo(addr)
}

// RefTo is Ref for an address that has been read.
func (n *Node) RefTo(addr actors.Address) (loopnode.Ref, error) {
	if addr.Node != "" && addr.Node != n.name {
		if !validName(addr.Node) {
			return loopnode.Ref{}, fmt.Errorf("%w: %q cannot be the name of a node: use letters, digits, - and _", actors.ErrBadAddress, addr.Node)
		}
		return loopnode.RemoteRef(addr), nil
	}
	h, err := n.here(addr)
	if err != nil {
		return loopnode.Ref{}, err
	}
	return h.ref, nil
}
