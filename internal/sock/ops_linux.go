package sock

import (
	"math"
	"net"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// IsNonblocking reports whether calls on fd answer at once.
func IsNonblocking(fd int) (bool, error) {
	if fd > math.MaxInt32 { // Why: the kernel would take the lower half for the number
		return false, unix.EBADF
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return flags&unix.O_NONBLOCK != 0, err
}

// Duplicate is another descriptor of the same open file.
func Duplicate(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// Same reports whether two descriptors are of the same file.
func Same(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// Describe is the family, type and protocol of a socket.
func Describe(fd int) (family, kind, proto int, err error) {
	for _, o := range []struct {
		to   *int
		name int
	}{{&family, unix.SO_DOMAIN}, {&kind, unix.SO_TYPE}, {&proto, unix.SO_PROTOCOL}} {
		if *o.to, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.name); err != nil {
			return 0, 0, 0, err
		}
	}
	return family, kind, proto, nil
}

// Type is the type of a socket alone.
func Type(fd int) (int, error) {
	if fd > math.MaxInt32 { // Why: as in IsNonblocking
		return 0, unix.EBADF
	}
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
}

// Listening reports whether fd is a stream socket that clients can connect to.
func Listening(fd int) bool {
	if fd > math.MaxInt32 { // Why: as in IsNonblocking
		return false
	}
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && on != 0
}

// ReadFrom takes one datagram, or what is there of a stream, and tells who sent
// it; nil when nobody says so.
func ReadFrom(fd int, p []byte) (int, net.Addr, error) {
	n, from, err := receiveFrom(fd, p, 0)
	return n, from.net(false), err
}

// WriteTo sends one datagram to a.
func WriteTo(fd int, p []byte, a net.Addr) error {
	to, err := NameOf(a)
	if err != nil {
		return err
	}
	var s Sender
	return s.SendTo(fd, p, to)
}

// Connect begins to connect fd to a: EINPROGRESS means that it is decided when
// fd becomes writable.
func Connect(fd int, a net.Addr) error {
	to, err := NameOf(a)
	if err != nil {
		return err
	}
	return connect(fd, to)
}

// Connected reports whether fd has a peer.
func Connected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err != unix.ENOTCONN
}

// AcceptFrom takes one client, non-blocking, and tells where it comes from. A client
// whose family is not known is closed.
func AcceptFrom(fd int) (int, net.Addr, error) {
	var a address
	client, n, err := rawio.Accept(fd, a.bytes[:])
	if err != nil {
		return -1, nil, err
	}
	from, err := takeStream(a.bytes[:n])
	if err != nil {
		_ = unix.Close(client)
		return -1, nil, err
	}
	return client, from, nil
}

// Sendfile gives the socket out up to n bytes of file from offset on. The
// file's own position stays.
func Sendfile(out, file int, offset int64, n int) (int, error) {
	return unix.Sendfile(out, file, &offset, n)
}
