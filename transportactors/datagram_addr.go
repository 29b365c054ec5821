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
func UnixAddr(path string) Addr {
	if strings.HasPrefix(path, "\x00") {
		path = "@" + path[1:]
	}
	if path == "" {
		return Addr{}
	}
	return Addr{sock.PathName(path)}
}

// AddrPort is the IP address and port, not valid for a UNIX socket.
func (a Addr) AddrPort() netip.AddrPort { return a.name.AddrPort }

// Path is the path of a UNIX socket, "" otherwise.
func (a Addr) Path() string { return a.name.Path() }

// IsValid reports whether it names anything.
func (a Addr) IsValid() bool { return a.name.Family() != 0 }

// Network is "udp" or "unixgram".
func (a Addr) Network() string { return packetNetwork(a.name.Family()) }

// String is "host:port" or the path.
func (a Addr) String() string { return a.name.String() }

// ParseAddr makes the Addr of a numeric "host:port" for udp, udp4 and udp6, or
// of a path for unixgram. Names are not looked up: CreateDatagramEndpoint and
// lookup.Getaddrinfo do that. loopnode.ErrInvalidArgument.
func ParseAddr(network, address string) (Addr, error) {
	n, err := networkNamed(network, true)
	if err != nil {
		return Addr{}, err
	}
	return n.parse(address)
}

var _ net.Addr = Addr{}
