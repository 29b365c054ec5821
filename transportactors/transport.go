package transportactors

import (
	"github.com/loopmesh/loopmesh/loopnode"
)

// Transport is one connection. Its methods belong to the loop's goroutine and
// never wait; Ref is for everybody else. asyncio.Transport.
type Transport interface {
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
	WriteBufferLimits() (low, high int)
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
	// nil for anything else. TLS adds "sslcontext" (*tls.Config), and behind the
	// handshake, also after the end, "ssl_object" (tls.ConnectionState),
	// "peercert" (*x509.Certificate, nil unless verified) and "cipher" (Cipher).
	ExtraInfo(name string) any
	// Loop is where the transport lives.
	Loop() *loopnode.Loop
	// Ref is the transport for other goroutines; see Lookup.
	Ref() Ref
}

// Socket is the descriptor of a transport, to be looked at: the transport reads,
// writes and closes it.
type Socket struct {
	fd   int
	pipe *pipeFile // nil: a socket
}

// FD is the descriptor's number, -1 once it is closed. Loop goroutine.
func (s *Socket) FD() int { return s.fd }
