package transportactors

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// ErrTruncated is the reason of ConnectionLost when a TLS peer's stream ended
// without the closing alert: somebody may have cut it. See WithRaggedEOF.
var ErrTruncated = errors.New("TLS stream ended without close_notify (truncated?)")

// tlsTransport is TLS over another transport, whose protocol it is. crypto/tls
// does the work, unchanged, over a net.Conn that is no connection (see wire).
// Owned by the loop goroutine.
//
// Why no coroutine waits in Read: crypto/tls takes a temporary net.Error for
// what it is, nothing yet, and goes on where it was with the next Read. So only
// the handshake, whose errors are for good, runs in a task; an idle connection
// has no stack. Measured (BenchmarkTLSIdle): 8.0 KB each, 20.6 KB with a
// task parked in Read, 16.2 KB with package net.
type tlsTransport struct {
	flow
	base.Creation
	base.Calls
	loop   *loopnode.Loop
	lower  tlsLower
	conn   *tls.Conn
	setup  *tlsSetup
	proto  receiver
	target *refTarget    // made when somebody asks for a Ref
	top    *tlsTransport // TLS upon this one

	phase   tlsPhase
	told    bool // ConnectionMade was called, by us or before StartTLS
	reading bool // wanted by the user
	eof     bool // the peer sent close_notify
	inside  bool // in a call to conn: the protocol must not be called
	full    bool // lower asks to pause

	answers      int  // bytes that conn wrote of its own accord and lower may still queue
	inputStopped bool // no input is read until lower's queue is short again
	reads        int  // of conn in this turn
	discarded    int  // bytes of cipher text that came behind our close_notify

	room    []byte // what lower reads into
	in      []byte // cipher text that conn has not seen
	out     []byte // cipher text that lower has not seen; nil outside of a call to conn
	backlog []byte // plain text written during the handshake

	handshake *handshake            // during the handshake
	timer     *loopnode.TimerHandle // of the handshake, then of the shutdown
	first     firstByte
	reason    error
}

// tlsPhase only grows.
type tlsPhase uint8

const (
	tlsHandshaking tlsPhase = iota
	tlsOpen
	tlsClosing // our close_notify is sent; input is read and discarded
	tlsFailed  // lower ends
	tlsOver
)

// tlsLower is a transport that TLS can be put upon.
type tlsLower interface {
	Transport
	// putTLSUpon makes t the face of this transport: Refs and the server see t from
	// here on. It reports whether the protocol is told not to write.
	putTLSUpon(t *tlsTransport) (paused bool)
	// startTLSError is why TLS cannot be put upon it now; nil when it can.
	startTLSError() error
}

func newTLS(l *loopnode.Loop, setup *tlsSetup, p any) *tlsTransport {
	t := &tlsTransport{loop: l, setup: setup, proto: receiverOf(p), reading: true, handshake: &handshake{}}
	t.Calls = base.CallsOf(t)
	warnMisspelt(l, p)
	_ = t.limit(tlsHigh, tlsHigh/lowShare)
	return t
}

// ConnectionMade comes from the lower transport of a new connection.
func (t *tlsTransport) ConnectionMade(lower Transport) { t.attach(lower.(tlsLower)) }

// attach starts TLS on lower and the handshake timer.
func (t *tlsTransport) attach(lower tlsLower) {
	t.lower = lower
	t.Inherit(lower)
	t.paused = lower.putTLSUpon(t)
	t.full = t.paused
	t.limitLower()
	if t.setup.client {
		t.conn = tls.Client((*wire)(t), t.setup.config)
	} else {
		t.conn = tls.Server((*wire)(t), t.setup.config)
	}
	t.timer = t.loop.CallLater(t.setup.handshakeLimit, t.handshakeTimeout)
}

func (t *tlsTransport) putTLSUpon(upon *tlsTransport) bool {
	t.top = upon
	t.lower.putTLSUpon(upon)
	upon.hard, t.hard = t.hard, math.MaxInt
	t.target.move(&t.target, upon)
	return t.paused
}

// move makes the Refs of a transport reach t, which is the TLS upon it.
func (d *refTarget) move(from **refTarget, t *tlsTransport) {
	if d != nil {
		t.target, *from, d.t = d, nil, t
		d.setFull(t.paused)
	}
}

// made announces the connection and what came behind the handshake.
func (t *tlsTransport) made() {
	if t.phase != tlsOpen {
		return
	}
	t.told = true
	if t.proto.made() != nil {
		t.Call("ConnectionMade", func() { t.proto.made().ConnectionMade(t) })
	}
	if t.phase == tlsOpen {
		t.first.wait(t.loop, t.Fail)
	}
}

// String names the connection.
func (t *tlsTransport) String() string {
	s := "<TLSTransport"
	if t.lower != nil {
		if a := t.lower.ExtraInfo("sockname"); a != nil {
			s += " " + fmt.Sprint(a)
		}
		if a := t.lower.ExtraInfo("peername"); a != nil {
			s += " peer " + fmt.Sprint(a)
		}
	}
	if t.IsClosing() {
		s += " closing"
	}
	return s + ">"
}

func (t *tlsTransport) SetProtocol(p any) {
	if checkGoroutine(t.loop, "SetProtocol") == nil && t.phase < tlsOver {
		t.proto = receiverOf(p)
	}
}

func (t *tlsTransport) Protocol() any        { return t.proto.value }
func (t *tlsTransport) Receiver() any        { return t.proto.value }
func (t *tlsTransport) Loop() *loopnode.Loop { return t.loop }

func (t *tlsTransport) IsClosing() bool {
	return t.phase >= tlsClosing || t.lower != nil && t.lower.IsClosing()
}

func (t *tlsTransport) Ref() Ref {
	if t.target == nil {
		t.target = newRefTarget(t)
		if t.phase == tlsOver {
			t.target.close(t.reason)
		}
	}
	return t.target.ref()
}

// wrap returns p, or a TLS transport around p if TLS is configured: the protocol of
// the socket's transport.
func (s *tlsSetup) wrap(l *loopnode.Loop, p Protocol) any {
	if s == nil {
		return p
	}
	return newTLS(l, s, p)
}
