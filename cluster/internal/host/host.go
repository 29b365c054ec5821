// Package host holds the loops that are addressable under this node, and runs
// those that were made for it.
package host

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A loop becomes addressable in two ways: Run takes one that was made for this node
// and runs it; Add takes one that somebody else runs. Either way it is in the table
// until it closes, and its number tells it from an earlier or later loop of the same
// name, so that an address that was made for one is refused by the other
// (ErrStaleAddress).
//
// The end of a loop has one order: it is marked as ending; those who have calls on it
// are told, so that they answer them (Events.Ending); its queue drops what has not
// begun. After that nothing is begun on it.

// Loop is a loop that is addressable under this node. Its fields do not change.
type Loop struct {
	Loop   *loopnode.Loop
	Ctx    context.Context // what called functions start from
	Ref    loopnode.Ref
	Queue  *Queue        // what others have sent to it and it has not begun
	own    bool          // made by Run
	number uint64        // tells it from others of its name, before and after it
	gone   chan struct{} // closed when the goroutine of an own loop has ended
	ending atomic.Bool   // it takes no calls any more
}

// Number tells a loop from others of its name, before and after it.
func (h *Loop) Number() uint64 { return h.number }

// Ending reports whether the loop takes no calls any more. It is so before
// Events.Ending is told.
func (h *Loop) Ending() bool { return h.ending.Load() }

// End is why a loop that is closed has ended, for those who watch it.
func End(loop *loopnode.Loop) error {
	if err := loop.CloseFailure(); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrLoopDied, err)
	}
	return fault.ErrStopped
}

// Events are what the table tells of its loops. Any goroutine.
type Events struct {
	Ending func(*Loop) // it takes no calls any more; those that run are to be answered; may be told twice
}

// Table are the loops of a node by name. Any goroutine.
type Table struct {
	node    string
	number  uint64
	running int // calls of others that may run on each loop
	actors  *actors.System
	log     hclog.Logger
	context func(*loopnode.Loop) context.Context
	events  Events

	mu     sync.RWMutex
	byName map[string]*Loop
	next   uint64 // number of the newest loop
	closed bool
}

// New makes an empty table for a node. running is how many calls of others may run on
// each loop. context makes what called functions of a loop start from.
func New(node string, number uint64, running int, sys *actors.System, log hclog.Logger, context func(*loopnode.Loop) context.Context, events Events) *Table {
	return &Table{node: node, number: number, running: running, actors: sys, log: log, context: context, events: events, byName: map[string]*Loop{}}
}

// Find gives the loop of that name; nil when there is none.
func (t *Table) Find(name string) *Loop {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

// Names are the names of all loops, sorted.
func (t *Table) Names() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Sorted(maps.Keys(t.byName))
}

func (t *Table) all() []*Loop {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.byName))
}

// At finds the loop of an address on this node.
func (t *Table) At(addr actors.Address) (*Loop, error) {
	if addr.Incarnation != 0 && addr.Incarnation != t.number {
		return nil, fmt.Errorf("%s: %w: the node lives as incarnation %d now", addr, fault.ErrDeadIncarnation, t.number)
	}
	t.mu.RLock()
	h, closed := t.byName[addr.Path], t.closed
	t.mu.RUnlock()
	switch {
	case h != nil && addr.Loop != 0 && addr.Loop != h.number:
		return nil, fmt.Errorf("%s: %w: the loop of that name is number %d now", addr, fault.ErrStaleAddress, h.number)
	case h != nil:
		return h, nil
	case closed:
		return nil, fmt.Errorf("%s: %w: the node has been closed", addr, fault.ErrClosed)
	}
	return nil, fmt.Errorf("%s: %w", addr, fault.ErrUnknownLoop)
}

// Admit finds loop and function of a frame of another node, or says in an error with
// a code why it cannot run. The first thing that does not fit is named: the
// incarnation, the loop, the function, the size.
func (t *Table) Admit(f *wire.Frame, maxPayload int) (*Loop, *registry.Entry, error) {
	if f.Incarnation != 0 && f.Incarnation != t.number {
		return nil, nil, fault.Codef(wire.DeadIncarnation, "the address means incarnation %d, the node lives as %d", f.Incarnation, t.number)
	}
	h := t.Find(f.Path)
	if h == nil {
		return nil, nil, fault.Codef(wire.UnknownLoop, "node %s has no loop %q", t.node, f.Path)
	}
	if f.Loop != 0 && f.Loop != h.number {
		return nil, nil, fault.Codef(wire.StaleLoop, "%w: %s/%s is loop number %d now, the address means number %d", fault.ErrStaleAddress, t.node, f.Path, h.number, f.Loop)
	}
	e := registry.Function(f.Function)
	if e == nil {
		return nil, nil, fault.Codef(wire.UnknownFunction, "the program of node %s registers no function %q", t.node, f.Function)
	}
	if len(f.Payload) > maxPayload {
		return nil, nil, fault.Codef(wire.TooLarge, "%d bytes of arguments, the limit is %d", len(f.Payload), maxPayload)
	}
	return h, e, nil
}

// Add makes a loop that somebody else runs addressable until it is closed.
func (t *Table) Add(loop *loopnode.Loop) (loopnode.Ref, error) {
	h := t.make(loop)
	if err := t.enter(h); err != nil {
		return loopnode.Ref{}, err
	}
	return h.Ref, nil
}

// make numbers a loop. Numbers are not reused, also not those of loops that could not
// enter.
func (t *Table) make(loop *loopnode.Loop) *Loop {
	t.mu.Lock()
	t.next++
	number := t.next
	t.mu.Unlock()
	addr := actors.Address{Node: t.node, Incarnation: t.number, Loop: number, Path: loop.Name()}
	return &Loop{
		number: number,
		Loop:   loop, Ctx: t.context(loop), Ref: loop.Ref().WithAddress(addr),
		Queue: newQueue(loop, t.running), gone: make(chan struct{}),
	}
}

// CheckName refuses a name that cannot be in an address.
func CheckName(name string) error {
	if !wire.ValidName(name) {
		return fault.Config("loop name %q: use up to %d letters, digits, - and _", name, wire.MaxNode)
	}
	return nil
}

// enter puts a loop into the table. OnClose is registered after the insertion,
// because a loop that is closed already calls back at once, and must find its entry
// to remove. A loop of the node's own actor system also becomes an actor, so that it
// can be watched and stopped by address.
func (t *Table) enter(h *Loop) error {
	name := h.Loop.Name()
	if err := CheckName(name); err != nil {
		return err
	}
	if err := t.insert(name, h); err != nil {
		return err
	}
	h.Loop.OnClose(func() { t.remove(h) }) // at once when it is closed
	if err := h.Loop.CloseReason(); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrClosed, err)
	}
	if h.Loop.Actors() == t.actors {
		if _, err := h.Loop.Ref().Actor(); err != nil {
			t.remove(h)
			return fmt.Errorf("loop %s cannot be an actor of node %s: %w", name, t.node, err)
		}
	}
	return nil
}

// insert takes the name, unless another loop has it.
func (t *Table) insert(name string, h *Loop) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return fmt.Errorf("%w: it takes no more loops", fault.ErrClosed)
	case t.byName[name] != nil:
		return fmt.Errorf("%w: this node has a loop named %q already; choose another name", fault.ErrNameTaken, name)
	}
	t.byName[name] = h
	return nil
}

// end lets a loop take no more calls, in the order that the head of this file gives.
// It may be called twice: by the goroutine of an own loop, and by Close.
func (t *Table) end(h *Loop) {
	h.ending.Store(true)
	t.events.Ending(h)
	h.Queue.Close(errClosed)
}

// remove takes a loop that ends out of the table, once.
func (t *Table) remove(h *Loop) {
	name := h.Loop.Name()
	t.mu.Lock()
	have := t.byName[name] == h
	if have {
		delete(t.byName, name)
	}
	t.mu.Unlock()
	if have {
		t.end(h)
	}
}
