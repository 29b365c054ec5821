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
	if s.fd < 0 {
		return errSocketClosed
	}
	if s.before != nil {
		s.before()
	}
	if err := fn(s.fd); err != nil {
		return fmt.Errorf("setting %s of descriptor %d: %w", name, s.fd, err)
	}
	return nil
}

// SetNoDelay sends small writes at once (TCP_NODELAY), which is the default.
func (s *Socket) SetNoDelay(on bool) error {
	return s.set("no delay", func(fd int) error { return sock.SetNoDelay(fd, on) })
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
	if r.s.fd < 0 {
		return errSocketClosed
	}
	if r.s.before != nil {
		r.s.before()
	}
	fn(uintptr(r.s.fd))
	return nil
}

var errNoRaw = fmt.Errorf("the transport reads and writes its socket itself: %w", errors.ErrUnsupported)

func (rawSocket) Read(func(uintptr) bool) error  { return errNoRaw }
func (rawSocket) Write(func(uintptr) bool) error { return errNoRaw }
