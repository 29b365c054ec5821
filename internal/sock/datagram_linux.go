package sock

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// OpenDatagram makes a non-blocking datagram socket.
func OpenDatagram(f Family) (int, error) {
	domain := 0
	switch f {
	case IPv4:
		domain = unix.AF_INET
	case IPv6:
		domain = unix.AF_INET6
	case Unix:
		domain = unix.AF_UNIX
	default:
		return -1, unix.EAFNOSUPPORT
	}
	return unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// AdoptDatagram makes a datagram socket of somebody else usable here and tells
// what it is: its family, and whether it is connected.
func AdoptDatagram(fd int) (f Family, connected bool, err error) {
	if err := expect(fd, unix.SOCK_DGRAM); err != nil {
		return 0, false, err
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, false, err
	}
	switch domain {
	case unix.AF_INET:
		f = IPv4
	case unix.AF_INET6:
		f = IPv6
	case unix.AF_UNIX:
		f = Unix
	default:
		return 0, false, unix.EAFNOSUPPORT
	}
	_, err = unix.Getpeername(fd)
	return f, err == nil, unix.SetNonblock(fd, true)
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

// scope is the number of a zone that is a name or a number.
func scope(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); zone != "" && err == nil {
		return uint32(i.Index)
	}
	return 0
}

// ReceiveFrom takes one datagram and tells its whole length, which is more than
// len(p) when its end was cut off, and who sent it.
// It allocates: see Inbox for what needs to be quick.
func ReceiveFrom(fd int, p []byte) (int, Name, error) {
	n, from, err := syscall.Recvfrom(fd, p, syscall.MSG_TRUNC)
	if err != nil || from == nil {
		return n, Name{}, err
	}
	switch from := from.(type) {
	case *syscall.SockaddrInet4:
		return n, Name{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))}, nil
	case *syscall.SockaddrInet6:
		return n, Name{AddrPort: netip.AddrPortFrom(zoned(from.Addr, from.ZoneId), uint16(from.Port))}, nil
	case *syscall.SockaddrUnix:
		return n, Name{Path: pathOf(from.Name)}, nil
	}
	return n, Name{}, nil
}

func zoned(ip [16]byte, zone uint32) netip.Addr {
	a := netip.AddrFrom16(ip)
	if zone != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(zone), 10))
	}
	return a
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

func nameOf(sa unix.Sockaddr, err error) Name {
	if err != nil {
		return Name{}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return Name{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		return Name{AddrPort: netip.AddrPortFrom(zoned(sa.Addr, sa.ZoneId), uint16(sa.Port))}
	case *unix.SockaddrUnix:
		return Name{Path: pathOf(sa.Name)}
	}
	return Name{}
}

func isLost(err error) bool { return err == unix.EBADF || err == unix.ENOTSOCK }
