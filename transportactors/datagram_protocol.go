package transportactors

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode"
)

// DatagramProtocol is what a datagram endpoint tells. All methods run on the
// loop's goroutine and must not block. A method that panics is reported to the
// loop's exception handler and the endpoint lives, except for ConnectionMade. A
// WritePauser is told when the kernel takes less than is sent.
// asyncio.DatagramProtocol.
type DatagramProtocol interface {
	// ConnectionMade comes first, once. A panic ends the endpoint.
	ConnectionMade(t DatagramTransport)
	// DatagramReceived brings one whole datagram, which may be empty, and its
	// sender: the zero Addr when that is a UNIX socket without a path. The bytes
	// are valid during the call only: copy what is kept.
	DatagramReceived(data []byte, from Addr)
	// ErrorReceived tells that the system refused a datagram, now or earlier:
	// ECONNREFUSED (the peer's port is closed), EMSGSIZE, … The endpoint goes on.
	// It may come from inside SendTo. asyncio: error_received.
	ErrorReceived(err error)
	// ConnectionLost comes once and last: nil after Close and Abort, otherwise
	// why the endpoint cannot go on. Nothing a peer does causes it.
	ConnectionLost(reason error)
}

// DatagramTransport is one datagram socket. Its methods belong to the loop's
// goroutine and never wait. The interface is sealed, as Transport is.
// asyncio.DatagramTransport.
type DatagramTransport interface {
	sealed()
	// SendTo sends data as one datagram, at once when the kernel takes it;
	// otherwise a copy waits and is sent in order. data stays the caller's and may
	// be empty. Inside DatagramReceived of a UDP datagram that came with others, all
	// that is sent leaves together, behind the last of them. The zero Addr is the remote address of the endpoint; with a remote
	// address no other one is allowed. nil means that it was sent, waits, or was
	// refused by the system, which ErrorReceived is told. Errors: ErrClosed (after
	// Close, Abort or a loss), loopnode.ErrInvalidArgument (no address, one of
	// another family, or not the remote one).
	SendTo(data []byte, to Addr) error
	// Write is SendTo the remote address, one datagram a call, which also a Ref can.
	Write(data []byte) error
	// Close stops receiving, sends what waits, and ends the endpoint with
	// ConnectionLost(nil) in a later turn, never inside Close.
	Close()
	// Abort drops what waits; ConnectionLost(nil) comes in the next turn.
	Abort()
	// IsClosing is true from Close, Abort or a loss on, for ever.
	IsClosing() bool
	// SetWriteBufferLimits is Transport.SetWriteBufferLimits. Every waiting
	// datagram counts 8 bytes more than its data.
	SetWriteBufferLimits(high, low int) error
	WriteBufferLimits() (high, low int)
	// WriteBufferSize is how much waits, counted that way.
	WriteBufferSize() int
	// SetProtocol makes p the receiver of everything that follows. p is a
	// DatagramProtocol or has some of its methods.
	SetProtocol(p any)
	// Protocol is the current receiver, nil after the end.
	Protocol() any
	// ExtraInfo knows "sockname" and "peername" (Addr) and "socket" (*Socket),
	// also after the end; nil for anything else.
	ExtraInfo(name string) any
	// LocalAddr is the endpoint's address, RemoteAddr the only one it talks to; the
	// zero Addr when there is none. Both also after the end.
	LocalAddr() Addr
	RemoteAddr() Addr
	// Socket and Context are as Transport's.
	Socket() *Socket
	Context() context.Context
	// Loop is where the endpoint lives.
	Loop() *loopnode.Loop
	// Ref is the endpoint for other goroutines and nodes; see Lookup.
	Ref() Ref
}
