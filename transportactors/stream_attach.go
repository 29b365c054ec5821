package transportactors

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Attach makes p the protocol of t, which another protocol has had until now, and
// returns the stream for the task of ctx: a Stream over an existing connection, TLS
// or pipe. It starts with the next byte; what the other protocol has received and
// kept is not in it. Reading stays paused if it was: see Transport.ResumeReading. It
// does not wait. Errors: ErrClosed, loopnode.ErrInvalidArgument (nil, a transport of
// another loop, p has one already), loopnode.ErrNoRunningLoop.
func (p *StreamProtocol) Attach(ctx context.Context, t Transport) (*Stream, error) {
	l, err := base.Home(ctx)
	switch {
	case err != nil:
		return nil, err
	case t == nil || p.t != nil:
		return nil, invalid("Attach needs a transport, and a StreamProtocol that has none yet")
	case t.Loop() != l:
		return nil, invalid("Attach: %v belongs to loop %s", t, t.Loop().Name())
	case t.IsClosing():
		return nil, fmt.Errorf("%w: %v", ErrClosed, t)
	}
	p.ConnectionMade(t)
	switch t := t.(type) {
	case *conn:
		p.eof, p.paused = t.eof, t.paused
	case *tlsTransport:
		p.eof, p.paused = t.eof, t.paused
	}
	t.SetProtocol(p)
	return p.Stream(ctx), nil
}
