package transportactors

import (
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// What the actor of a transport understands. An Ask is answered with Accepted
// once the transport has taken the order, or with the error of the method.
type (
	// WriteRequest is Transport.Write or DatagramTransport.Write. The bytes are the
	// transport's from now on. While the peer is slow it waits, and so does its answer.
	WriteRequest struct {
		Data []byte `json:"data"`
	}
	// CloseRequest is Transport.Close.
	CloseRequest struct{}
	// AbortRequest is Transport.Abort.
	AbortRequest struct{}
	// Accepted is the answer to the requests above.
	Accepted struct{}
)

// Actor is the transport as an actor of its loop's system: send it WriteRequest,
// CloseRequest or AbortRequest, watch it to hear why the connection was lost
// (Terminated.Reason is the reason of ConnectionLost, actors.ErrStopped for nil), stop it to close the
// transport. Its address is that of the Ref, so that other nodes reach it, too.
// Any goroutine. The zero actors.Ref when the system was shut down.
func (r Ref) Actor() actors.Ref {
	if r.target == nil {
		return actors.RefOf(r.addr)
	}
	return r.target.actor
}

// transportActor is the actor of a transport. It holds nothing of its own: messages
// become calls of the transport, on the same goroutine.
type transportActor struct{ *refTarget }

// admit starts the actor. Loop goroutine.
func (d *refTarget) startActor() {
	var err error
	d.sys = d.loop.Actors()
	d.actor, err = d.sys.Spawn(d.loop, d.addr.Path, func() actors.Actor { return transportActor{d} })
	if err != nil { // the system is being shut down, or the loop closed
		d.loop.Logger().Debug("a transport has no actor", "transport", d.addr.String(), "error", err)
	}
}

// endActor ends the actor behind the messages that wait for it. Loop goroutine.
func (d *refTarget) endActor(reason error) {
	if d.actor.IsZero() || d.loop.IsClosed() {
		return // a loop that closes ends its actors itself
	}
	_ = d.sys.Send(d.actor, base.Ended{Reason: reason}) // it may have been stopped before
}

// Receive is called by the actor system.
func (d transportActor) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case WriteRequest:
		d.accept(ctx, len(m.Data), func(t addressed) error { return t.Write(m.Data) })
	case CloseRequest:
		d.accept(ctx, 0, closeOrder)
	case AbortRequest:
		d.do(&order{0, func(t addressed) error { t.Abort(); return nil }, func(err error) { base.Answer(ctx, err, Accepted{}) }})
	case base.Ended:
		ctx.End(m.Reason)
	case actors.Stopping:
		d.order(&order{0, closeOrder, func(error) {}}) // ended already, as a rule
	default:
		base.Answer(ctx, fmt.Errorf("%w: the actor of a transport takes WriteRequest, CloseRequest and AbortRequest, not a %T", loopnode.ErrInvalidArgument, m), nil)
	}
}

func closeOrder(t addressed) error { t.Close(); return nil }

// accept does a request now, or behind the writes that wait for the peer, and
// answers it then. A write is refused when as many bytes wait as the write limit
// allows: with loopnode.ErrBusy when it is asked, otherwise, because nobody would
// hear of it, by the end of the connection with ErrWriteLimit.
func (d transportActor) accept(ctx *actors.Context, size int, call func(addressed) error) {
	asked, sender := ctx.Asked(), ctx.Sender()
	if d.t != nil && size > 0 {
		if err := d.t.admits(d.waiting, size); err != nil {
			if asked {
				base.Answer(ctx, fmt.Errorf("%w: %w", loopnode.ErrBusy, err), nil)
			} else {
				d.t.Fail(err)
			}
			return
		}
	}
	inside := true // ctx is good for this message only
	d.order(&order{size, call, func(err error) {
		switch {
		case inside && asked:
			base.Answer(ctx, err, Accepted{})
		case !asked:
			d.tellRefused(err)
		case err != nil:
			_ = d.sys.Send(sender, actors.Refusal{Err: err}) // the asker may be gone
		default:
			_ = d.sys.Send(sender, Accepted{})
		}
	}})
	inside = false
}
