package transportactors

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// handshake is what a handshake needs while it lasts.
type handshake struct {
	ctx    context.Context // of the task that does it; nil before the first bytes
	more   *loopnode.Future[struct{}]
	broken error // why nothing will come any more
}

// handshakeRead is how much is read at a time during a handshake, and so all that a
// peer without a certificate can make us keep besides the message crypto/tls is waiting for.
const handshakeRead = 4 << 10

// serve does the handshake of an accepted connection in a task of its own. It
// begins with the client's first bytes: a silent client has no task.
func (t *tlsTransport) serve() {
	if t.phase != tlsHandshaking {
		return
	}
	loopnode.CreateTask(t.handshake.ctx, "TLS handshake", func(ctx context.Context) (struct{}, error) {
		if err := t.doHandshake(ctx); err == nil {
			t.loop.CallSoon(t.made)
			t.loop.CallSoon(t.resumed)
		} else if t.loop.Debug() && !endsCaller(err) {
			t.Report("Error on transport creation for incoming connection", err)
		}
		return struct{}{}, nil
	})
}

// doHandshake does the handshake in the calling task. After an error the lower
// transport is ending.
func (t *tlsTransport) doHandshake(ctx context.Context) (err error) {
	if t.lower == nil {
		return errHandshakeClosed // ended before it began
	}
	err = loopnode.ErrGoexit // should a callback of the configuration leave that way
	defer func() { err = t.handshakeDone(err) }()
	t.handshake.ctx = ctx
	if t.handshake.broken != nil {
		return t.handshake.broken
	}
	// Why WithoutCancel: crypto/tls would close the connection from another
	// goroutine when ctx ends; the wait for input sees its end already. What
	// ctx carries stays: a callback of the configuration may wait with it.
	if p := guard.Call(func() { err = t.conn.HandshakeContext(context.WithoutCancel(ctx)) }); p != nil {
		return p
	}
	return err
}

// handshakeDone takes the outcome of the handshake: TLS is open, or the lower transport ends.
func (t *tlsTransport) handshakeDone(err error) error {
	t.timer.Cancel()
	broken := t.handshake.broken
	t.handshake = nil
	switch {
	case err == nil && broken == nil && t.phase == tlsHandshaking:
		t.phase = tlsOpen
		t.sendBacklog()
		return nil
	case broken != nil:
		err = broken
	case err == nil:
		err = errHandshakeClosed
	default:
		err = t.explain(err)
	}
	if endsCaller(err) && t.phase == tlsHandshaking {
		t.Fail(nil)
		return err
	}
	t.Fail(err)
	return err
}

var errHandshakeClosed = fmt.Errorf("%w during the TLS handshake", ErrClosed)

// explain adds to an error of crypto/tls that it came from the handshake.
func (t *tlsTransport) explain(err error) error {
	var header tls.RecordHeaderError
	switch {
	case endsCaller(err):
		return err
	case errors.As(err, &header) && header.Conn != nil:
		return fmt.Errorf("TLS handshake: the peer does not speak TLS (it began with %q): %w", header.RecordHeader[:], err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// waitInput suspends the handshake until cipher text has come.
func (t *tlsTransport) waitInput() error {
	s := t.handshake
	if s.broken != nil {
		return s.broken
	}
	_ = t.lower.ResumeReading()
	s.more = loopnode.NewFuture[struct{}](t.loop)
	_, err := s.more.Await(s.ctx)
	s.more = nil
	if err != nil && s.broken == nil {
		s.broken = err
	}
	return err
}

// handshakeInput takes cipher text during the handshake, one read at a time.
func (t *tlsTransport) handshakeInput(data []byte) {
	t.room = nil
	t.in = append(t.in, data...)
	_ = t.lower.PauseReading()
	next := t.wakeHandshake
	if t.handshake.ctx == nil && !t.setup.client {
		t.handshake.ctx = t.loop.Context(context.Background())
		next = t.serve
	}
	handshakeTurnsOf(t.loop).pass(t.loop, next)
}

// wakeHandshake wakes the handshake.
func (t *tlsTransport) wakeHandshake() {
	if s := t.handshake; s != nil && s.more != nil && !s.more.Done() {
		_ = s.more.SetResult(struct{}{})
	}
}

// failHandshake makes the handshake end with err once it has read what is there.
func (t *tlsTransport) failHandshake(err error) {
	if t.handshake != nil && t.handshake.broken == nil {
		t.handshake.broken = err
	}
	t.wakeHandshake()
}

func (t *tlsTransport) handshakeTimeout() {
	if t.phase != tlsHandshaking {
		return
	}
	err := fmt.Errorf("SSL handshake is taking longer than %v seconds: aborting the connection: %w, %w",
		t.setup.handshakeLimit.Seconds(), syscall.ECONNABORTED, loopnode.ErrTimeout)
	t.in = nil
	t.failHandshake(err)
	t.Fail(err)
}

// announce does the handshake in the calling task and waits for ConnectionMade.
func (t *tlsTransport) announce(ctx context.Context) (Transport, error) {
	if err := t.doHandshake(ctx); err != nil {
		return nil, err
	}
	err := base.Announce(ctx, t.loop, func(made func()) {
		t.loop.CallSoon(t.made)
		t.loop.CallSoon(t.resumed)
		t.loop.CallSoon(made)
	})
	if err != nil {
		t.Abort()
		return nil, err
	}
	switch err := base.OwnFault(t.reason); {
	case err != nil:
		return nil, err
	case !t.told: // lost between the handshake and the announcement
		return nil, errHandshakeClosed
	}
	return t, nil
}
