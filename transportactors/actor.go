package transportactors

import (
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// What the actor of a transport understands. An Ask is answered with Accepted
// once the transport has taken the order, or with the error of the method.
type (
	// WriteRequest is Transport.Write or DatagramTransport.Write. The bytes are the transport's from now on.
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
	if r.door == nil {
		return actors.RefOf(r.addr)
	}
	return r.door.actor
}

// doorman is the actor of a transport. It holds nothing of its own: messages
// become calls of the transport, on the same goroutine.
type doorman struct{ *door }

// admit starts the actor. Loop goroutine.
func (d *door) admit() {
	var err error
	d.sys = d.loop.Actors()
	d.actor, err = d.sys.Spawn(d.loop, d.addr.Path, func() actors.Actor { return doorman{d} })
	if err != nil { // the system is being shut down, or the loop closed
		d.loop.Logger().Debug("a transport has no actor", "transport", d.addr.String(), "error", err)
	}
}

// dismiss ends the actor behind the messages that wait for it. Loop goroutine.
func (d *door) dismiss(reason error) {
	if d.actor.IsZero() || d.loop.IsClosed() {
		return // a loop that closes ends its actors itself
	}
	_ = d.sys.Send(d.actor, base.Ended{Reason: reason}) // it may have been stopped before
}

// Receive is called by the actor system.
func (d doorman) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case WriteRequest:
		base.Answer(ctx, d.do(func(t addressed) error { return t.Write(m.Data) }), Accepted{})
	case CloseRequest:
		base.Answer(ctx, d.do(func(t addressed) error { t.Close(); return nil }), Accepted{})
	case AbortRequest:
		base.Answer(ctx, d.do(func(t addressed) error { t.Abort(); return nil }), Accepted{})
	case base.Ended:
		ctx.End(m.Reason)
	case actors.Stopping:
		_ = d.do(func(t addressed) error { t.Close(); return nil }) // ended already, as a rule
	}
}

func (d doorman) do(fn func(addressed) error) error {
	if d.t == nil {
		return fmt.Errorf("%w: %s", ErrClosed, d.addr)
	}
	return fn(d.t)
}
