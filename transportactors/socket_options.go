package transportactors

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/loopmesh/loopmesh/internal/sock"
)

var errSocketClosed = fmt.Errorf("the socket of the transport: %w", net.ErrClosed)

// set sets an option of an open socket.
func (s *Socket) set(name string, fn func(fd int) error) error {
	if s.FD() < 0 {
		return errSocketClosed
	}
	if s.before != nil {
		s.before()
	}
	if err := fn(s.FD()); err != nil {
		return fmt.Errorf("setting %s of descriptor %d: %w", name, s.FD(), err)
	}
	return nil
}

// SetNoDelay sends small writes at once (TCP_NODELAY), which is the default.
func (s *Socket) SetNoDelay(on bool) error {
	return s.set("no delay", func(fd int) error { return sock.SetNoDelay(fd, on) })
}

// SetWriteGathering has the transport of a stream socket keep what is written in one
// turn of the loop and send it with one call at the beginning of the next, or as soon as
// 64 KiB, or more than the high mark, are together. It is for those who write
// many small pieces to one connection at once, such as a broker to its subscribers: a
// system call for each costs far more than the piece. Off by default, because an answer
// then leaves a turn later than it could.
//
// Order, PauseWriting, Close, WriteEOF and Sendfile are as without it: what is gathered
// is a queue that the kernel has not been asked about. So Abort drops it, SendFiles is
// ErrBusy, and that the peer is gone is told by ConnectionLost and not by Write.
// Switching it off, and every option of the socket, sends what is gathered.
// asyncio has no such thing.
func (s *Socket) SetWriteGathering(on bool) error {
	return s.set("write gathering", func(int) error {
		s.gather = on
		return nil
	})
}

// SetKeepAlive sets SO_KEEPALIVE and, of c, the times that are positive: the
// first probe comes after Idle, the next ones after Interval each, and Count of
// them without an answer end the connection with ETIMEDOUT. Whole seconds.
func (s *Socket) SetKeepAlive(c net.KeepAliveConfig) error {
	return s.set("keep-alive", func(fd int) error {
		return sock.SetKeepAliveTimes(fd, c.Enable, c.Idle, c.Interval, c.Count)
	})
}

// SetReadBuffer is how many bytes the kernel keeps for the reader (SO_RCVBUF).
func (s *Socket) SetReadBuffer(bytes int) error {
	return s.set("read buffer", func(fd int) error { return sock.SetReadBuffer(fd, bytes) })
}

// SetWriteBuffer is how many bytes the kernel takes before a write waits
// (SO_SNDBUF).
func (s *Socket) SetWriteBuffer(bytes int) error {
	return s.set("write buffer", func(fd int) error { return sock.SetWriteBuffer(fd, bytes) })
}

// JoinGroup makes a datagram endpoint receive what is sent to the multicast
// address group, on the interface on; nil is the system's choice.
func (s *Socket) JoinGroup(group netip.Addr, on *net.Interface) error {
	return s.set("multicast membership", func(fd int) error { return sock.Membership(fd, group, index(on), true) })
}

// LeaveGroup takes JoinGroup back.
func (s *Socket) LeaveGroup(group netip.Addr, on *net.Interface) error {
	return s.set("multicast membership", func(fd int) error { return sock.Membership(fd, group, index(on), false) })
}

func index(i *net.Interface) int {
	if i == nil {
		return 0
	}
	return i.Index
}

// SetMulticastTTL is how many routers may pass on what is sent to a multicast
// address; 1, the default, is this network only.
func (s *Socket) SetMulticastTTL(hops int) error {
	return s.set("multicast TTL", func(fd int) error { return sock.SetMulticastTTL(fd, hops) })
}

// SetMulticastLoopback says whether members on this machine receive what is sent
// to a multicast address; they do by default.
func (s *Socket) SetMulticastLoopback(on bool) error {
	return s.set("multicast loopback", func(fd int) error { return sock.SetMulticastLoopback(fd, on) })
}

// rawSocket is the syscall.RawConn of a Socket.
type rawSocket struct{ s *Socket }

func (r rawSocket) Control(fn func(fd uintptr)) error {
	if r.s.FD() < 0 {
		return errSocketClosed
	}
	if r.s.before != nil {
		r.s.before()
	}
	fn(uintptr(r.s.FD()))
	return nil
}

var errNoRaw = fmt.Errorf("the transport reads and writes its socket itself: %w", errors.ErrUnsupported)

func (rawSocket) Read(func(uintptr) bool) error  { return errNoRaw }
func (rawSocket) Write(func(uintptr) bool) error { return errNoRaw }
