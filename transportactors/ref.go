package transportactors

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Ref is the address of a transport: comparable, and usable from any goroutine.
// What it is told happens on the transport's loop, in the order of the calls of
// one goroutine. The zero Ref names nothing.
type Ref struct {
	addr   actors.Address
	target *refTarget
}

// addressed is what a Ref reaches: a connection or a datagram endpoint.
type addressed interface {
	Loop() *loopnode.Loop
	Write(p []byte) error
	Close()
	Abort()
	Fail(reason error)
	writingPaused() bool
	admits(queued, n int) error
	ending() error // why it takes no more output; nil while it does
}

// refTarget is what all Refs of one transport of this process share. It outlives the
// transport, so that an old Ref answers ErrClosed. Any goroutine; fields marked so are
// the loop goroutine's.
type refTarget struct {
	loop  *loopnode.Loop
	addr  actors.Address
	t     addressed // nil after its end. Owned by the loop goroutine
	sys   *actors.System
	actor actors.Ref

	closed  atomic.Bool           // t has ended
	refusal atomic.Pointer[error] // why writes of other goroutines are refused; nil: they are not
	full    atomic.Bool           // the output is paused: writes of other goroutines wait
	posted  atomic.Int64          // bytes of Ref.Write that t has not taken
	orders  []*order              // calls of other goroutines that wait. Owned by the loop goroutine
	waiting int                   // their bytes
	hooks   map[*endHook]struct{} // of Ref.OnEnd. Owned by the loop goroutine
	reason  error                 // of the end. Owned by the loop goroutine
}

// live finds transports by address: those that were asked for a Ref and have
// not ended.
var (
	live       sync.Map // actors.Address → *refTarget
	lastTarget atomic.Uint64
)

// newRefTarget makes the target of the Refs of t. Loop goroutine.
func newRefTarget(t addressed) *refTarget {
	l := t.Loop()
	path := l.Name() + "/transports/" + strconv.FormatUint(lastTarget.Add(1), 10)
	d := &refTarget{loop: l, addr: actors.Address{Path: path}, t: t}
	d.full.Store(t.writingPaused())
	if err := t.ending(); err != nil {
		d.refuse(err)
	}
	d.startActor()
	live.Store(d.addr, d)
	return d
}

// close makes every Ref of the transport answer ErrClosed, and ends its actor.
func (d *refTarget) close(reason error) {
	d.closed.Store(true)
	d.refuse(ErrClosed)
	d.t = nil
	d.full.Store(false)
	d.drain() // everything that waits is refused now
	live.Delete(d.addr)
	d.endActor(reason)
	d.reason = reason
	for h := range d.hooks {
		h.call(reason)
		h.unhook()
	}
	d.hooks = nil
}

// Lookup finds a transport of this process by the address of its Ref. A
// transport that was never asked for a Ref, or has ended, is not found. Any
// goroutine.
func Lookup(addr actors.Address) (Ref, bool) {
	addr.Node, addr.Incarnation = "", 0
	d, ok := live.Load(addr)
	if !ok {
		return Ref{}, false
	}
	return d.(*refTarget).ref(), true
}

func (d *refTarget) ref() Ref { return Ref{d.addr, d} }

func (d *datagram) Ref() Ref { return d.refOf(d) }

// Ref is that of the TLS transport once there is one: what others write
// must be encrypted, too.
func (c *conn) Ref() Ref {
	if c.top != nil {
		return c.top.Ref()
	}
	return c.refOf(c)
}

// refOf is the Ref of t, which is the transport around e.
func (e *endpoint) refOf(t addressed) Ref {
	if e.target == nil {
		e.target = newRefTarget(t)
		if e.state == stateEnded {
			e.target.close(e.reason)
		}
	}
	return e.target.ref()
}

// Address is where the transport is; an empty node is this process.
func (r Ref) Address() actors.Address { return r.addr }

// String is the address.
func (r Ref) String() string { return r.addr.String() }

// Close is Transport.Close from any goroutine, behind the writes that came before
// it. It never waits. Errors: ErrClosed, loopnode.ErrNotLocal, loopnode.ErrLoopClosed.
func (r Ref) Close() error {
	return r.post(func(d *refTarget) {
		d.order(&order{0, func(t addressed) error { t.Close(); return nil }, func(error) {}})
	})
}

// Abort is Transport.Abort from any goroutine, at once. Errors as of Close.
func (r Ref) Abort() error {
	return r.post(func(d *refTarget) {
		if d.t != nil {
			d.t.Abort()
		}
	})
}

func (r Ref) post(fn func(*refTarget)) error {
	switch d := r.target; {
	case d == nil:
		return fmt.Errorf("%w: %s", loopnode.ErrNotLocal, r)
	case d.closed.Load():
		return fmt.Errorf("%w: %s", ErrClosed, r)
	default:
		return d.loop.Ref().CallSoonThreadsafe(func() { fn(d) })
	}
}
