package loopnode

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxUnixPath is how many bytes the kernel keeps of the path of a socket.
const maxUnixPath = 107

// usable refuses an address that no socket can have. Why not leave it to the
// kernel: a port has 16 bits there, and 70000 would be another one.
func usable(what string, addr net.Addr) error {
	port, zone := 0, ""
	switch a := addr.(type) {
	case nil:
		return invalid("%s needs an address, not nil", what)
	case *net.TCPAddr:
		if a == nil {
			return invalid("%s needs an address, not a nil *net.TCPAddr", what)
		}
		port, zone = a.Port, a.Zone
	case *net.UDPAddr:
		if a == nil {
			return invalid("%s needs an address, not a nil *net.UDPAddr", what)
		}
		port, zone = a.Port, a.Zone
	case *net.UnixAddr:
		return usablePath(what, a)
	case namedAddr, interface{ AddrPort() netip.AddrPort }:
	default:
		return invalid("%s does not know addresses of type %T: use a *net.TCPAddr, *net.UDPAddr or *net.UnixAddr", what, addr)
	}
	if port < 0 || port > 65535 {
		return invalid("%s: port %d is not in the range 0 to 65535", what, port)
	}
	if _, err := strconv.ParseUint(zone, 10, 32); zone == "" || err == nil {
		return nil
	}
	if _, err := net.InterfaceByName(zone); err != nil {
		return invalid("%s: no interface %q for address %s", what, zone, addr)
	}
	return nil
}

func usablePath(what string, a *net.UnixAddr) error {
	switch {
	case a == nil:
		return invalid("%s needs an address, not a nil *net.UnixAddr", what)
	case len(a.Name) > maxUnixPath:
		return invalid("%s: the UNIX path %.20q… has %d bytes; the limit is %d: use a shorter directory", what, a.Name, len(a.Name), maxUnixPath)
	case len(a.Name) > 1 && strings.ContainsRune(a.Name[1:], 0):
		return invalid("%s: the UNIX path %q has a NUL in it", what, a.Name)
	}
	return nil
}
