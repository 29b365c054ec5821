package sock

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// addressFamily is one kind of addresses in the three forms they have: that of
// package net, that of the kernel as package unix writes it, and Name, which costs
// no object for a datagram.
type addressFamily struct {
	family Family
	domain int // AF_…
	text   string
	// encode is nil for an address of another family.
	encode func(a net.Addr) unix.Sockaddr
	// decode and name are given a sockaddr of the family's domain.
	decode func(sa unix.Sockaddr) net.Addr
	name   func(sa unix.Sockaddr) Name
}

// families are the families that this module knows: a new one is a row here. What
// comes first encodes an address that two could.
var families = [...]addressFamily{
	{IPv4, unix.AF_INET, "IPv4", encode4, decode4, name4},
	{IPv6, unix.AF_INET6, "IPv6", encode6, decode6, name6},
	{Unix, unix.AF_UNIX, "UNIX", encodePath, decodePath, namePath},
}

// unknownFamily is the error for a socket whose family is no row of the table.
func unknownFamily(domain int) error {
	known := ""
	for i, f := range families {
		if i > 0 {
			known += ", "
		}
		known += f.text
	}
	return fmt.Errorf("%w: address family %d; known are %s", unix.EAFNOSUPPORT, domain, known)
}

// familyOfSocket is the row of the socket fd.
func familyOfSocket(fd int) (*addressFamily, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, err
	}
	for i := range families {
		if families[i].domain == domain {
			return &families[i], nil
		}
	}
	return nil, unknownFamily(domain)
}

// domainOf is AF_… of f.
func domainOf(f Family) (int, error) {
	for i := range families {
		if families[i].family == f {
			return families[i].domain, nil
		}
	}
	return 0, unix.EAFNOSUPPORT
}

// FamilyOf is the family of a, 0 when it is none of those known here.
func FamilyOf(a net.Addr) Family {
	for i := range families {
		if families[i].encode(a) != nil {
			return families[i].family
		}
	}
	return 0
}

// sockaddr is a in the kernel's form, and its domain.
func sockaddr(a net.Addr) (domain int, sa unix.Sockaddr, err error) {
	for i := range families {
		if sa := families[i].encode(a); sa != nil {
			return families[i].domain, sa, nil
		}
	}
	return 0, nil, fmt.Errorf("%w: no socket has an address of type %T", unix.EAFNOSUPPORT, a)
}

// destination is sockaddr of any address with a port or a path.
func destination(a net.Addr) (unix.Sockaddr, error) {
	if p, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		a = net.TCPAddrFromAddrPort(p.AddrPort())
	}
	_, sa, err := sockaddr(a)
	return sa, err
}

// rowOf is the row of a sockaddr of the kernel; nil for an unknown one.
func rowOf(sa unix.Sockaddr) *addressFamily {
	switch sa.(type) {
	case *unix.SockaddrInet4:
		return &families[IPv4-1]
	case *unix.SockaddrInet6:
		return &families[IPv6-1]
	case *unix.SockaddrUnix:
		return &families[Unix-1]
	}
	return nil
}

// netAddr is sa as package net writes it; nil when its family is not known.
func netAddr(sa unix.Sockaddr) net.Addr {
	if f := rowOf(sa); f != nil {
		return f.decode(sa)
	}
	return nil
}

func nameOf(sa unix.Sockaddr, err error) Name {
	if f := rowOf(sa); err == nil && f != nil {
		return f.name(sa)
	}
	return Name{}
}

func encode4(a net.Addr) unix.Sockaddr {
	if t, ok := a.(*net.TCPAddr); ok && t.Zone == "" {
		if ip := t.IP.To4(); ip != nil {
			return &unix.SockaddrInet4{Port: t.Port, Addr: [4]byte(ip)}
		}
	}
	return nil
}

func decode4(sa unix.Sockaddr) net.Addr {
	in := sa.(*unix.SockaddrInet4)
	return &net.TCPAddr{IP: net.IP(in.Addr[:]), Port: in.Port}
}

func name4(sa unix.Sockaddr) Name {
	in := sa.(*unix.SockaddrInet4)
	return Name{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))}
}

func encode6(a net.Addr) unix.Sockaddr {
	if t, ok := a.(*net.TCPAddr); ok {
		if ip := t.IP.To16(); ip != nil {
			return &unix.SockaddrInet6{Port: t.Port, Addr: [16]byte(ip), ZoneId: scope(t.Zone)}
		}
	}
	return nil
}

func decode6(sa unix.Sockaddr) net.Addr {
	in := sa.(*unix.SockaddrInet6)
	return &net.TCPAddr{IP: net.IP(in.Addr[:]), Port: in.Port, Zone: zoneName(in.ZoneId)}
}

func name6(sa unix.Sockaddr) Name {
	in := sa.(*unix.SockaddrInet6)
	return Name{AddrPort: netip.AddrPortFrom(zoned(in.Addr, in.ZoneId), uint16(in.Port))}
}

func encodePath(a net.Addr) unix.Sockaddr {
	if u, ok := a.(*net.UnixAddr); ok {
		return &unix.SockaddrUnix{Name: u.Name}
	}
	return nil
}

func decodePath(sa unix.Sockaddr) net.Addr {
	return &net.UnixAddr{Name: pathOf(sa.(*unix.SockaddrUnix).Name), Net: "unix"}
}

func namePath(sa unix.Sockaddr) Name { return Name{Path: pathOf(sa.(*unix.SockaddrUnix).Name)} }

// pathOf is the path of a socket's address.
//
// Why: the address of a socket without one is a NUL that is not counted, which
// syscall and x/sys show as an abstract name.
func pathOf(name string) string {
	if name == "@" {
		return ""
	}
	return name
}

// receiveFrom takes one datagram and says who sent it.
func receiveFrom(fd int, p []byte, flags int) (int, Name, error) {
	n, from, err := syscall.Recvfrom(fd, p, flags)
	if err != nil || from == nil {
		return n, Name{}, err
	}
	switch from := from.(type) {
	case *syscall.SockaddrInet4:
		return n, name4(&unix.SockaddrInet4{Port: from.Port, Addr: from.Addr}), nil
	case *syscall.SockaddrInet6:
		return n, name6(&unix.SockaddrInet6{Port: from.Port, Addr: from.Addr, ZoneId: from.ZoneId}), nil
	case *syscall.SockaddrUnix:
		return n, Name{Path: pathOf(from.Name)}, nil
	}
	return n, Name{}, nil
}

// netAddr is the name as package net writes the address of a datagram socket; nil
// for the zero Name.
func (n Name) netAddr() net.Addr {
	switch n.Family() {
	case 0:
		return nil
	case Unix:
		return &net.UnixAddr{Name: n.Path, Net: "unixgram"}
	}
	a := TCPAddr(n.AddrPort)
	return &net.UDPAddr{IP: a.IP, Port: a.Port, Zone: a.Zone}
}

// TCPAddr is a as package net writes it.
func TCPAddr(a netip.AddrPort) *net.TCPAddr {
	out := &net.TCPAddr{IP: a.Addr().AsSlice(), Port: int(a.Port())}
	if index, err := strconv.Atoi(a.Addr().Zone()); err == nil {
		out.Zone = zoneName(uint32(index))
	}
	return out
}

// zoned is ip in the zone with that number.
func zoned(ip [16]byte, zone uint32) netip.Addr {
	a := netip.AddrFrom16(ip)
	if zone != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(zone), 10))
	}
	return a
}

// zoneName is the name of the interface with that number, "" when there is none.
func zoneName(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return ""
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
