package sock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// How long the kernel's forms of the addresses are.
const (
	size4 = 16
	size6 = 28
)

// parseIP takes a numeric "host:port".
func parseIP(text string) (Name, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return Name{}, fmt.Errorf("address %q: %w", text, err)
	}
	return unmapped(ap), nil
}

// unmapped is an IPv4 address that is written as an IPv6 one in its own form.
func unmapped(ap netip.AddrPort) Name {
	return Name{AddrPort: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
}

// fromIP takes the addresses of package net that have an IP address and a port. Why it
// looks at the port: there are 16 bits for it, and 70000 would be another one.
func fromIP(a net.Addr) (n Name, mine bool, err error) {
	var port int
	var ap netip.AddrPort
	switch a := a.(type) {
	case nil:
		return n, true, errors.New("an address is needed, not nil")
	case *net.TCPAddr:
		if a == nil {
			return n, true, nilAddress(a)
		}
		port, ap = a.Port, a.AddrPort()
	case *net.UDPAddr:
		if a == nil {
			return n, true, nilAddress(a)
		}
		port, ap = a.Port, a.AddrPort()
	case interface{ AddrPort() netip.AddrPort }:
		ap = a.AddrPort()
		return unmapped(ap), ap.IsValid(), nil
	default:
		return n, false, nil
	}
	switch {
	case port < 0 || port > 65535:
		return n, true, fmt.Errorf("port %d of %s is not in the range 0 to 65535", port, a)
	case !ap.IsValid():
		return n, true, fmt.Errorf("%w: %s has no IP address", syscall.EAFNOSUPPORT, a)
	}
	if zone := ap.Addr().Zone(); zone != "" {
		if _, known := zoneIndex(zone); !known {
			return n, true, fmt.Errorf("no interface %q for address %s", zone, a)
		}
	}
	return unmapped(ap), true, nil
}

func nilAddress(a net.Addr) error {
	return fmt.Errorf("an address is needed, not a nil %T", a)
}

func netIP(n Name, stream bool) net.Addr {
	a := TCPAddr(n.AddrPort)
	if stream {
		return a
	}
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

// mapped is an IPv4 address in the form that an IPv6 socket talks to.
func mapped(n Name) (Name, bool) {
	if !n.AddrPort.Addr().Is4() {
		return n, false
	}
	n.AddrPort = netip.AddrPortFrom(netip.AddrFrom16(n.AddrPort.Addr().As16()), n.AddrPort.Port())
	return n, true
}

func put4(b []byte, n Name) int {
	a := n.AddrPort.Addr().As4()
	binary.NativeEndian.PutUint16(b, syscall.AF_INET)
	binary.BigEndian.PutUint16(b[2:], n.AddrPort.Port())
	copy(b[4:8], a[:])
	clear(b[8:size4])
	return size4
}

func take4(b []byte) Name {
	if len(b) < size4 {
		return Name{}
	}
	return Name{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))}
}

func put6(e *encoder, b []byte, n Name) int {
	a := n.AddrPort.Addr().As16()
	binary.NativeEndian.PutUint16(b, syscall.AF_INET6)
	binary.BigEndian.PutUint16(b[2:], n.AddrPort.Port())
	clear(b[4:8])
	copy(b[8:24], a[:])
	binary.NativeEndian.PutUint32(b[24:], e.scope(n))
	return size6
}

func take6(b []byte) Name {
	if len(b) < size6 {
		return Name{}
	}
	ip := zoned([16]byte(b[8:24]), binary.NativeEndian.Uint32(b[24:]))
	return Name{AddrPort: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[2:]))}
}

// scope is the number of the zone of n. Why kept: it costs a look at the interfaces.
func (e *encoder) scope(n Name) uint32 {
	zone := n.AddrPort.Addr().Zone()
	if zone == "" {
		return 0
	}
	if n != e.zone {
		e.zone = n
		e.index, _ = zoneIndex(zone)
	}
	return e.index
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

// zoneIndex is the number of a zone that is a name or a number.
func zoneIndex(zone string) (index uint32, known bool) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), true
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, false
	}
	return uint32(i.Index), true
}
