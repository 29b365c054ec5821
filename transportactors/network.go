package transportactors

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// network is a kind of connection or endpoint, by the name that the create functions
// take. Everything that depends on the kind is a field here, and no other file
// compares a name or looks at the type of an address; a new kind is a row of
// networks, and a row of families in package internal/sock.
type network struct {
	name     string
	datagram bool // its sockets carry packets, not a stream
	domain   int  // for a look-up: AF_UNSPEC means that the resolver decides
	// resolve makes the addresses to try, in order, of what the user wrote: for
	// streams what package sock takes, for datagrams an Addr each.
	resolve func(ctx context.Context, n *network, address string, flags lookup.AIFlags) ([]net.Addr, error)
	// parse is resolve of a datagram's address without looking anything up.
	parse func(n *network, address string) (Addr, error)
	// host is the part of an address that a TLS certificate names; nil: it has none.
	host func(address string) string

	paths     bool // addresses are paths of socket files, unless they are abstract
	ancillary bool // a connection carries files, and says who made its other end
	noDelay   bool // connections send small writes at once
	fullTells bool // connecting to a full backlog is EAGAIN, and asked again
}

const (
	unixName     = "unix"
	udpName      = "udp"
	unixgramName = "unixgram"
)

// networks are all kinds. The first row with the name that an address has in package
// net (net.Addr.Network) stands for the connections with such addresses.
var networks = []*network{
	{name: "tcp", domain: syscall.AF_UNSPEC, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: "tcp4", domain: syscall.AF_INET, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: "tcp6", domain: syscall.AF_INET6, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: unixName, domain: syscall.AF_UNIX, resolve: resolvePath, paths: true, ancillary: true, fullTells: true},

	{name: udpName, datagram: true, domain: syscall.AF_UNSPEC, resolve: resolveHost, parse: parseHost},
	{name: "udp4", datagram: true, domain: syscall.AF_INET, resolve: resolveHost, parse: parseHost},
	{name: "udp6", datagram: true, domain: syscall.AF_INET6, resolve: resolveHost, parse: parseHost},
	{name: unixgramName, datagram: true, domain: syscall.AF_UNIX, resolve: resolvePath, parse: parsePath, paths: true},
}

// networkNamed is the row of that name among the streams, or the datagrams.
func networkNamed(name string, datagram bool) (*network, error) {
	known := []string{}
	for _, n := range networks {
		switch {
		case n.datagram != datagram:
		case n.name == name:
			return n, nil
		default:
			known = append(known, n.name)
		}
	}
	list := strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
	if datagram {
		return nil, invalid("unexpected address family: network %q; use %s", name, list)
	}
	return nil, invalid("network %q: use %s", name, list)
}

var noNetwork = &network{}

// networkOf is the row of a connection by one of its addresses. For an address of no
// row, or none, it is one without any property.
func networkOf(a net.Addr) *network {
	if a != nil {
		name := a.Network()
		for _, n := range networks {
			if n.name == name {
				return n
			}
		}
	}
	return noNetwork
}

// hostOf is the name that a TLS client finds in the certificate when it connects to
// address; "" when the address has none.
func hostOf(name, address string) string {
	if n, err := networkNamed(name, false); err == nil && n.host != nil {
		return n.host(address)
	}
	return ""
}

// resolve makes addresses of a stream's network and address. It waits as
// lookup.Getaddrinfo does: not at all for numbers.
func resolve(ctx context.Context, name, address string) ([]net.Addr, error) {
	n, err := networkNamed(name, false)
	if err != nil {
		return nil, err
	}
	return n.resolve(ctx, n, address, lookup.AIPassive)
}

// resolveHost looks "host:service" up; an empty host is every interface.
func resolveHost(ctx context.Context, n *network, address string, flags lookup.AIFlags) ([]net.Addr, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, invalid("address %q: %v", address, err)
	}
	if service == "" {
		service = "0"
	}
	hints := lookup.Hints{Family: n.domain, Type: syscall.SOCK_STREAM, Flags: flags}
	if n.datagram {
		hints.Type = syscall.SOCK_DGRAM
	}
	list, err := lookup.Getaddrinfo(ctx, host, service, hints)
	if err != nil {
		return nil, err
	}
	out := make([]net.Addr, len(list))
	for i, a := range list {
		if out[i] = a.NetAddr(); n.datagram {
			out[i] = UDPAddr(a.Addr)
		}
	}
	return out, nil
}

// resolvePath takes the path of a UNIX socket.
func resolvePath(_ context.Context, n *network, address string, _ lookup.AIFlags) ([]net.Addr, error) {
	a, err := parsePath(n, address)
	switch {
	case err != nil:
		return nil, err
	case n.datagram:
		return []net.Addr{a}, nil
	}
	return []net.Addr{&net.UnixAddr{Name: a.Path(), Net: n.name}}, nil
}

func parsePath(_ *network, address string) (Addr, error) {
	if err := checkPath(address); err != nil {
		return Addr{}, err
	}
	return UnixAddr(address), nil
}

// parseHost takes a numeric "host:port".
func parseHost(n *network, address string) (Addr, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return Addr{}, invalid("address %q: %v", address, err)
	}
	a := UDPAddr(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	if !n.has(a.name.Family()) {
		return Addr{}, invalid("address %q is not of network %s", address, n.name)
	}
	return a, nil
}

func hostPart(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// has reports whether n's sockets may be of family f.
func (n *network) has(f sock.Family) bool {
	if n.domain == syscall.AF_UNSPEC {
		return f == sock.IPv4 || f == sock.IPv6
	}
	return f != 0 && f == n.family()
}

// family is the one family of n's sockets, 0 when there may be several.
func (n *network) family() sock.Family {
	switch n.domain {
	case syscall.AF_INET:
		return sock.IPv4
	case syscall.AF_INET6:
		return sock.IPv6
	case syscall.AF_UNIX:
		return sock.Unix
	}
	return 0
}

// usesPaths reports whether the addresses of the network of that name are paths.
func usesPaths(name string) bool {
	for _, n := range networks {
		if n.name == name {
			return n.paths
		}
	}
	return false
}
