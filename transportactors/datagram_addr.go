package transportactors

import (
	"net"
	"net/netip"
	"strings"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// Addr is where a datagram comes from or goes to: an IP address and port, or
// the path of a UNIX socket ('@' first for an abstract one). It is a small
// comparable value, so a packet costs no address object and an Addr can be the
// key of a map. The zero Addr is nowhere: the sender of a UNIX datagram whose
// socket has no path, and for SendTo the endpoint's remote address. It is a
// net.Addr.
type Addr struct{ name sock.Name }

// UDPAddr is the Addr of an IP address and port.
func UDPAddr(a netip.AddrPort) Addr { return Addr{sock.Name{AddrPort: a}} }

// UnixAddr is the Addr of a UNIX datagram socket. A leading NUL or '@' makes the
// name abstract: no file has it.
func UnixAddr(path string) Addr { return Addr{sock.Name{Path: abstract(path)}} }

// AddrPort is the IP address and port, not valid for a UNIX socket.
func (a Addr) AddrPort() netip.AddrPort { return a.name.AddrPort }

// Path is the path of a UNIX socket, "" otherwise.
func (a Addr) Path() string { return a.name.Path }

// IsValid reports whether it names anything.
func (a Addr) IsValid() bool { return a.name.Family() != 0 }

// Network is "udp" or "unixgram".
func (a Addr) Network() string {
	if a.name.AddrPort.IsValid() {
		return udpName
	}
	return unixgramName
}

// String is "host:port" or the path.
func (a Addr) String() string {
	if a.name.AddrPort.IsValid() {
		return a.name.AddrPort.String()
	}
	return a.name.Path
}

// ParseAddr makes the Addr of a numeric "host:port" for udp, udp4 and udp6, or
// of a path for unixgram. Names are not looked up: CreateDatagramEndpoint and
// lookup.Getaddrinfo do that. loopnode.ErrInvalidArgument.
func ParseAddr(network, address string) (Addr, error) {
	n, err := networkNamed(network, true)
	if err != nil {
		return Addr{}, err
	}
	return n.parse(n, address)
}

// abstract writes the two forms of an abstract name in one way.
func abstract(path string) string {
	if strings.HasPrefix(path, "\x00") {
		return "@" + path[1:]
	}
	return path
}

// maxPath is how many bytes the kernel keeps of a path (sun_path without its NUL).
const maxPath = 107

// checkPath refuses what cannot be the path of a UNIX socket.
func checkPath(path string) error {
	switch {
	case path == "":
		return invalid("the path of the UNIX socket is empty")
	case len(path) > maxPath:
		return invalid("the UNIX path %.20q… has %d bytes; the limit is %d: use a shorter directory", path, len(path), maxPath)
	case strings.ContainsRune(path[1:], 0):
		return invalid("the UNIX path %q has a NUL in it", path)
	}
	return nil
}

var _ net.Addr = Addr{}
