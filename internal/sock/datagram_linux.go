package sock

import (
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// OpenDatagram makes a non-blocking datagram socket.
func OpenDatagram(f Family) (int, error) {
	domain, err := domainOf(f)
	if err != nil {
		return -1, err
	}
	return unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// AdoptDatagram makes a datagram socket of somebody else usable here and tells
// what it is: its family, and whether it is connected.
func AdoptDatagram(fd int) (f Family, connected bool, err error) {
	if err := expect(fd, unix.SOCK_DGRAM); err != nil {
		return 0, false, err
	}
	row, err := familyOfSocket(fd)
	if err != nil {
		return 0, false, err
	}
	_, err = unix.Getpeername(fd)
	return row.family, err == nil, unix.SetNonblock(fd, true)
}

// expect answers EPROTOTYPE unless fd is a socket of that type.
func expect(fd, kind int) error {
	t, err := Type(fd)
	if err == nil && t != kind {
		return unix.EPROTOTYPE
	}
	return err
}

// Bind gives fd the address n.
func Bind(fd int, n Name) error {
	var s Sender
	return unix.Bind(fd, s.sockaddr(n))
}

// ConnectDatagram makes n the only peer of fd.
func ConnectDatagram(fd int, n Name) error {
	var s Sender
	return unix.Connect(fd, s.sockaddr(n))
}

// SetReusePort lets several sockets have one address.
func SetReusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// SetBroadcast allows broadcast addresses.
func SetBroadcast(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
}

// Sender sends datagrams and keeps the kernel's form of the address between
// two, so that sending does not allocate.
type Sender struct {
	last Name
	v4   unix.SockaddrInet4
	v6   unix.SockaddrInet6
	path unix.SockaddrUnix
	raw  encoder
}

// Send sends one datagram to the peer that fd is connected to.
func Send(fd int, p []byte) error {
	_, err := rawio.Send(fd, p)
	return err
}

// SendTo sends one datagram to n.
func (s *Sender) SendTo(fd int, p []byte, n Name) error {
	if n.Family() == Unix {
		return unix.Sendto(fd, p, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, s.sockaddr(n))
	}
	var name [rawio.NameSize]byte
	_, err := rawio.SendTo(fd, p, name[:s.raw.encode(name[:], n)])
	return err
}

func (s *Sender) sockaddr(n Name) unix.Sockaddr {
	switch n.Family() {
	case IPv4:
		s.v4.Port, s.v4.Addr = int(n.AddrPort.Port()), n.AddrPort.Addr().As4()
		return &s.v4
	case IPv6:
		ip := n.AddrPort.Addr()
		if n != s.last { // Why: the index of a zone costs a look at the interfaces
			s.v6.ZoneId, s.last = scope(ip.Zone()), n
		}
		s.v6.Port, s.v6.Addr = int(n.AddrPort.Port()), ip.As16()
		return &s.v6
	}
	s.path.Name = n.Path
	return &s.path
}

// ReceiveFrom takes one datagram and tells its whole length, which is more than
// len(p) when its end was cut off, and who sent it.
// It allocates: see Inbox for what needs to be quick.
func ReceiveFrom(fd int, p []byte) (int, Name, error) {
	return receiveFrom(fd, p, unix.MSG_TRUNC)
}

// LocalName is the address of fd itself.
func LocalName(fd int) Name {
	sa, err := unix.Getsockname(fd)
	return nameOf(sa, err)
}

// PeerName is the address fd is connected to.
func PeerName(fd int) Name {
	sa, err := unix.Getpeername(fd)
	return nameOf(sa, err)
}

func isLost(err error) bool { return err == unix.EBADF || err == unix.ENOTSOCK }
