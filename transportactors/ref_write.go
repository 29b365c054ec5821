package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Writes from other goroutines: by a Ref, by an actor's message, from another node.
//
// A protocol hears PauseWriting; a writer on another goroutine cannot. So while the
// transport's output is paused, such writes do not go into its queue: they wait in
// the order in which they came, and go on when ResumeWriting is due. What waits is
// bounded: Ref.Write takes no more than postedMost bytes that the transport has not
// taken, Ref.WriteWait holds one write for each goroutine that waits in it, and a
// WriteRequest beyond the write limit is refused.
//
// A Close from another goroutine waits behind the writes that came before it.

// postedMost is how many bytes of Ref.Write may be on their way to one transport.
const postedMost = 1 << 20

// order is one call from another goroutine, which may wait for the low mark.
type order struct {
	size int // bytes to write; 0 for another call
	call func(addressed) error
	done func(error) // called once, on the loop
}

// Write is Transport.Write, or DatagramTransport.Write, from any goroutine. It
// copies p and never waits. Nil means that the bytes are on their way: the
// transport takes them in the order of the calls, later if its peer is slow, and
// when it ends first, its watchers and its protocol hear why. What it refuses for
// another reason meanwhile (ErrWriteEOF, ErrSendfile) is told to the loop's
// exception handler; WriteWait returns it.
//
// Errors: loopnode.ErrBusy when the peer is slow or 1 MiB is on its way already
// (nothing was taken: try later, or use WriteWait), ErrClosed from Close or the
// loss on, ErrWriteEOF, loopnode.ErrNotLocal, loopnode.ErrLoopClosed.
func (r Ref) Write(p []byte) error {
	d := r.target
	if err := r.refused(); err != nil {
		return err
	}
	size := int64(len(p))
	if d.full.Load() {
		return fmt.Errorf("%w: the peer of %s takes its input too slowly", loopnode.ErrBusy, r)
	}
	if posted := d.posted.Add(size); posted > postedMost && posted > size {
		d.posted.Add(-size)
		return fmt.Errorf("%w: %d bytes are on their way to %s already", loopnode.ErrBusy, posted-size, r)
	}
	kept := bytes.Clone(p)
	err := d.loop.Ref().CallSoonThreadsafe(func() {
		d.order(&order{len(kept), func(t addressed) error { return t.Write(kept) }, func(err error) {
			d.posted.Add(-size)
			d.tellRefused(err)
		}})
	})
	if err != nil {
		d.posted.Add(-size)
	}
	return err
}

// WriteWait is Write that waits until the transport has taken p, which it does
// when the bytes before it have fallen to the low mark, and returns what
// Transport.Write says. It copies p. In a task it suspends the task; on another
// goroutine it blocks. A wait that ctx or a cancellation of the task ends leaves open
// whether p was written. Errors besides those of Transport.Write: loopnode.ErrNotLocal, loopnode.ErrLoopClosed, loopnode.ErrWouldBlock (in a
// callback of a loop), what ended the wait.
func (r Ref) WriteWait(ctx context.Context, p []byte) error {
	if ctx == nil {
		return invalid("WriteWait needs a ctx, not nil")
	}
	if err := r.refused(); err != nil {
		return err
	}
	d, p := r.target, bytes.Clone(p)
	outcome := loopnode.RunCoroutineThreadsafe(d.loop.Ref(), "write", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.writeInTurn(ctx, p)
	})
	defer outcome.Cancel() // when the wait ends first
	var err error
	if _, here := loopnode.CurrentTask(ctx); here && coro.Marked() {
		_, err = loopnode.WrapFuture(ctx, outcome).Await(ctx)
	} else {
		_, err = outcome.Wait(ctx)
	}
	return err
}

// writeInTurn writes p behind the orders that wait. In a task of the loop.
func (d *refTarget) writeInTurn(ctx context.Context, p []byte) error {
	taken := loopnode.NewFuture[error](d.loop)
	o := &order{len(p), func(t addressed) error { return t.Write(p) }, func(err error) {
		if !taken.Done() {
			_ = taken.SetResult(err)
		}
	}}
	d.order(o)
	refused, err := taken.Await(ctx)
	if err != nil {
		d.withdraw(o)
		return err
	}
	return refused
}

// refused is why the transport takes no write from another goroutine. Any goroutine.
func (r Ref) refused() error {
	if r.target == nil {
		return fmt.Errorf("%w: %s", loopnode.ErrNotLocal, r)
	}
	if why := r.target.refusal.Load(); why != nil {
		return fmt.Errorf("%w: %s", *why, r)
	}
	return nil
}

// refuse makes writes from other goroutines answer err from here on; the first one counts.
func (d *refTarget) refuse(err error) {
	if d != nil {
		d.refusal.CompareAndSwap(nil, &err)
	}
}

// setFull follows the pauses of the transport's output. Loop goroutine.
func (d *refTarget) setFull(full bool) {
	if d == nil || d.full.Load() == full {
		return
	}
	d.full.Store(full)
	if !full && len(d.orders) > 0 {
		d.loop.CallSoon(d.drain)
	}
}

// order does o now, or behind the orders that wait. Loop goroutine.
func (d *refTarget) order(o *order) {
	if d.t != nil && (len(d.orders) > 0 || o.size > 0 && d.full.Load()) {
		d.orders = append(d.orders, o)
		d.waiting += o.size
		return
	}
	d.do(o)
}

func (d *refTarget) do(o *order) {
	err := fmt.Errorf("%w: %s", ErrClosed, d.addr)
	if d.t != nil {
		err = o.call(d.t)
	}
	o.done(err)
}

// drain does the orders that wait, as long as the peer takes them.
func (d *refTarget) drain() {
	for len(d.orders) > 0 && !(d.full.Load() && d.orders[0].size > 0) {
		o := d.orders[0]
		d.orders[0] = nil
		d.orders = d.orders[1:]
		d.waiting -= o.size
		d.do(o)
	}
	if len(d.orders) == 0 {
		d.orders = nil
	}
}

// withdraw takes back an order that nobody waits for any more.
func (d *refTarget) withdraw(o *order) {
	if i := slices.Index(d.orders, o); i >= 0 {
		d.orders = slices.Delete(d.orders, i, i+1)
		d.waiting -= o.size
		if i == 0 {
			d.loop.CallSoon(d.drain) // a Close may be the next one
		}
	}
}

// tellRefused reports a write that Ref.Write had taken. A transport that has
// ended has told that itself.
func (d *refTarget) tellRefused(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrClosed):
		d.loop.Logger().Debug("a write from another goroutine came after the end of the transport", "transport", d.addr.String(), "error", err)
	default:
		d.loop.CallExceptionHandler(loopnode.ExceptionContext{
			Message: "A write from another goroutine was refused", Exception: err, Transport: d.t,
		})
	}
}
