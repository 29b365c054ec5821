package transportactors

import (
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Close sends close_notify behind what is queued and waits for the
// peer's until the shutdown timeout. During the handshake it aborts.
func (t *tlsTransport) Close() {
	if checkGoroutine(t.loop, "Close") == nil {
		t.close()
	}
}

func (t *tlsTransport) close() {
	switch t.phase {
	case tlsHandshaking:
		t.Abort()
		return
	case tlsOpen:
	default:
		return
	}
	t.phase = tlsClosing
	t.target.refuse(ErrClosed)
	t.timer = t.loop.CallLater(t.setup.shutdown, t.shutdownTimeout)
	t.inside = true
	err := t.conn.CloseWrite()
	_ = t.flush() // a lower transport that fails tells it as a loss
	t.inside = false
	if err != nil {
		t.Fail(err)
		return
	}
	t.loop.CallSoon(t.resumed) // the peer's close_notify may be behind input that nobody wants
}

func (t *tlsTransport) shutdownTimeout() {
	if t.phase == tlsClosing {
		t.Fail(fmt.Errorf("SSL shutdown %w", loopnode.ErrTimeout))
	}
}

// Abort drops what is queued and sends no close_notify.
func (t *tlsTransport) Abort() {
	if checkGoroutine(t.loop, "Abort") == nil {
		t.failHandshake(errHandshakeClosed)
		t.Fail(nil)
	}
}

// Fail ends the connection without sending what is queued; the first reason
// counts.
func (t *tlsTransport) Fail(reason error) {
	if t.phase >= tlsFailed {
		return
	}
	t.phase, t.reason = tlsFailed, reason
	t.target.refuse(ErrClosed)
	t.in, t.backlog = nil, nil
	if t.lower != nil {
		t.lower.Abort()
	}
}

// ConnectionLost comes from the lower transport, and is the end of this one.
func (t *tlsTransport) ConnectionLost(reason error) {
	if t.phase == tlsOver {
		return
	}
	if t.phase != tlsFailed {
		t.reason = reason
	}
	if t.reason != nil {
		t.failHandshake(fmt.Errorf("%w: %w", errHandshakeClosed, t.reason))
	}
	t.failHandshake(errHandshakeClosed)
	t.phase = tlsOver
	t.timer.Cancel()
	t.first.came()
	t.in, t.backlog, t.room = nil, nil, nil
	defer t.release()
	if !t.told || t.proto.lost() == nil {
		return
	}
	t.Tell("ConnectionLost", func() { t.proto.lost().ConnectionLost(t.reason) })
}

func (t *tlsTransport) release() {
	t.proto = receiver{}
	if t.target != nil {
		t.target.close(t.reason)
	}
}
