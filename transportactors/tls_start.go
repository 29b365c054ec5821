package transportactors

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// StartTLS makes the open connection t speak TLS with a copy of config and
// returns the transport to use from here on; t must not be used any more, but
// its Refs reach the new one. p becomes the protocol; ConnectionMade is not
// called again. What t has queued leaves in plain; what arrives from the call
// on belongs to TLS, and p hears nothing of it before StartTLS has returned.
//
// It waits for the handshake: call it in a task. On failure, on cancellation
// and when ctx ends the connection is aborted and p is told. Options: the TLS
// ones but WithTLS. Errors besides those of the handshake, all of which leave t
// as it was: loopnode.ErrInvalidArgument (no stream transport, a configuration
// that cannot work, bytes that a Stream has read ahead and that are no TLS),
// ErrClosed, ErrWriteEOF, ErrSendfile. asyncio: loop.start_tls.
func StartTLS(ctx context.Context, t Transport, p Protocol, config *tls.Config, serverSide bool, opts ...StartTLSOption) (Transport, error) {
	l, err := base.Home(ctx)
	if err != nil {
		return nil, err
	}
	lower, ok := t.(tlsLower)
	switch {
	case !ok:
		return nil, invalid("StartTLS needs the transport of a stream socket or of TLS, not %T", t)
	case p == nil:
		return nil, invalid("StartTLS needs a protocol, not nil")
	case lower.Loop() != l:
		return nil, invalid("StartTLS: %v belongs to loop %s", t, lower.Loop().Name())
	case lower.IsClosing():
		return nil, fmt.Errorf("%w: %v", ErrClosed, t)
	}
	if err := lower.startTLSError(); err != nil {
		return nil, err
	}
	setup, err := startSetup(config, serverSide, opts)
	if err != nil {
		return nil, err
	}
	early, err := readAhead(p, serverSide)
	if err != nil {
		return nil, err
	}
	return upgrade(ctx, lower, p, setup, early)
}

func startSetup(config *tls.Config, serverSide bool, opts []StartTLSOption) (*tlsSetup, error) {
	o, err := collect(append([]StartTLSOption{option(func(o *options) { o.tls.config, o.tls.wanted = config, true })}, opts...))
	if err != nil {
		return nil, err
	}
	if serverSide {
		return o.tls.server()
	}
	return o.tls.client("")
}

// recordHandshake is the first byte of a TLS stream.
const recordHandshake = 22

// readAhead takes what a stream has read and its task has not. The beginning of
// a handshake goes to TLS. Anything else was said in plain and must not be taken
// for something said behind the handshake.
func readAhead(p Protocol, serverSide bool) ([]byte, error) {
	s, ok := p.(*streamProtocol)
	if !ok || len(s.unread) == 0 {
		return nil, nil
	}
	if !serverSide || s.unread[0] != recordHandshake {
		return nil, invalid("%d plain bytes are buffered; refusing StartTLS: read them first, and do not let the peer send ahead", len(s.unread))
	}
	early := s.unread
	s.unread, s.stopped = nil, false
	return early, nil
}

func upgrade(ctx context.Context, lower tlsLower, p Protocol, setup *tlsSetup, early []byte) (Transport, error) {
	t := newTLS(lower.Loop(), setup, p)
	t.told = true
	t.in = early
	lower.SetProtocol(t)
	t.attach(lower)
	if err := t.doHandshake(ctx); err != nil {
		return nil, err
	}
	t.loop.CallSoon(t.resumed)
	return t, nil
}

// StartTLS makes the stream speak TLS from here on; see the function StartTLS.
// It waits until the peer has taken what was written. asyncio:
// StreamWriter.start_tls.
func (s *Stream) StartTLS(config *tls.Config, serverSide bool, opts ...StartTLSOption) error {
	if err := s.Drain(); err != nil {
		return err
	}
	t, err := StartTLS(s.ctx, s.t, s.p, config, serverSide, opts...)
	if err == nil {
		s.t = t
	}
	return err
}

func (t *tlsTransport) startTLSError() error {
	if t.top != nil {
		return errStarted
	}
	return checkNoFile(t)
}

var errStarted = invalid("the transport is already under TLS: use the one that StartTLS returned")
