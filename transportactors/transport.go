package transportactors

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Transport is one connection: a stream socket, a pipe, or TLS over another
// transport. Its methods belong to the loop's goroutine and never wait; Ref is
// for other goroutines. The interface is sealed: only this package makes
// transports, because StartTLS, Sendfile and SendFiles need to know them; it may
// grow methods. asyncio.Transport.
type Transport interface {
	sealed()
	// Write sends p, at once as far as the kernel takes it; a copy of the rest
	// is queued. p stays the caller's. Bytes leave in the order of the calls.
	// Errors: ErrClosed (after Close, Abort or a loss), ErrWriteEOF.
	Write(p []byte) error
	// Writelines is Write of all pieces with one call to the kernel.
	Writelines(pieces [][]byte) error
	// WriteEOF ends the output once the queue is sent; the input goes on.
	// Repeating it, also after Close, does nothing. ErrNoWriteEOF where
	// CanWriteEOF is false: TLS ends in both directions at once.
	WriteEOF() error
	CanWriteEOF() bool
	// Close stops reading, sends what is queued, and ends the connection with
	// ConnectionLost(nil) in a later turn, never inside Close.
	Close()
	// Abort drops what is queued; ConnectionLost(nil) comes in the next turn.
	Abort()
	// IsClosing is true from Close, Abort or a failure on, for ever.
	IsClosing() bool
	// PauseReading stops DataReceived until ResumeReading, so that the peer
	// feels the back pressure. Both may be repeated and do nothing on a closing
	// transport.
	PauseReading() error
	ResumeReading() error
	// IsReading is true when neither paused, closing nor at the end of the input.
	IsReading() bool
	// SetWriteBufferLimits sets the water marks in bytes; a negative one is
	// derived: high from low times 4, low from high/4, both are 64 KiB and
	// 16 KiB. loopnode.ErrInvalidArgument unless high >= low. A size above the
	// new high mark pauses at once.
	SetWriteBufferLimits(high, low int) error
	// WriteBufferLimits is what SetWriteBufferLimits takes, in its order.
	WriteBufferLimits() (high, low int)
	// WriteBufferSize is how many bytes the kernel has not taken yet.
	WriteBufferSize() int
	// SetProtocol makes p the receiver of everything that follows,
	// ConnectionLost included; ConnectionMade is not called again. p is a
	// Protocol or has some of its methods: those it lacks are not called.
	SetProtocol(p any)
	// Protocol is the current receiver, nil after the end.
	Protocol() any
	// ExtraInfo knows "peername" and "sockname" (net.Addr), "socket" (*Socket)
	// and, for ConnectReadPipe and ConnectWritePipe, "pipe" (*os.File), also
	// after the end; until then also "peercred" (PeerCred) of a UNIX connection;
	// nil for anything else. "paused" is why the protocol was told PauseWriting, as a
	// text, nil while it may write; "bytes_read" and "bytes_written" (uint64) are what the
	// connection has moved, with TLS as it is on the wire. TLS adds "sslcontext"
	// (*tls.Config), and behind the handshake, also after the end, "ssl_object"
	// (tls.ConnectionState), "peercert" (*x509.Certificate, nil unless verified) and
	// "cipher" (Cipher).
	ExtraInfo(name string) any
	// LocalAddr and RemoteAddr are the addresses of the two ends, also after the
	// end of the connection; nil for a pipe.
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	// TLS is the state of the TLS connection, ok once its handshake is complete.
	TLS() (state tls.ConnectionState, ok bool)
	// Socket is the descriptor, to be looked at and for socket options.
	Socket() *Socket
	// Context is the ctx the transport was made with: that of the call that made
	// it, or of CreateServer for an accepted connection. It has the values of that
	// ctx and the transport's loop, but neither its task nor its end, and stays
	// the same for the whole life of the transport, whoever pauses, resumes or
	// closes it. It is for tasks that a protocol starts, also from ConnectionLost.
	// Any goroutine. asyncio: the context that protocol callbacks run in.
	Context() context.Context
	// Loop is where the transport lives.
	Loop() *loopnode.Loop
	// Ref is the transport for other goroutines; see Lookup.
	Ref() Ref
}
