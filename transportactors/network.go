package transportactors

import (
	"context"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// network is a kind of connection or endpoint, by the name that the create functions
// take. Everything that depends on the kind is a field here, and no other file
// compares a name or looks at the type of an address; a new kind is a row of
// networks, and a row of families in package internal/sock when its addresses are of
// a new family.
type network struct {
	name     string
	datagram bool          // its sockets carry packets, not a stream
	families []sock.Family // of its sockets; of several the look-up decides
	// resolve makes the addresses to try, in order, of what the user wrote: for
	// streams what package sock takes, for datagrams an Addr each.
	resolve func(ctx context.Context, n *network, address string, flags lookup.AIFlags) ([]net.Addr, error)
	// host is the part of an address that a TLS certificate names; nil: it has none.
	host func(address string) string

	ancillary bool // a connection carries files, and says who made its other end
	noDelay   bool // connections send small writes at once
	fullTells bool // connecting to a full backlog is EAGAIN, and asked again
}

const unixName = "unix"

var (
	ip4   = []sock.Family{sock.IPv4}
	ip6   = []sock.Family{sock.IPv6}
	ip    = []sock.Family{sock.IPv4, sock.IPv6}
	paths = []sock.Family{sock.Unix}
)

// networks are all kinds. The first row with the name that an address has in package
// net (net.Addr.Network) stands for the connections with such addresses. The first row
// of datagrams with a family names the network of an Addr of it.
var networks = []*network{
	{name: "tcp", families: ip, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: "tcp4", families: ip4, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: "tcp6", families: ip6, resolve: resolveHost, host: hostPart, noDelay: true},
	{name: unixName, families: paths, resolve: resolveText, ancillary: true, fullTells: true},

	{name: "udp", datagram: true, families: ip, resolve: resolveHost},
	{name: "udp4", datagram: true, families: ip4, resolve: resolveHost},
	{name: "udp6", datagram: true, families: ip6, resolve: resolveHost},
	{name: "unixgram", datagram: true, families: paths, resolve: resolveText},
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
	hints := lookup.Hints{Family: n.family().Domain(), Type: syscall.SOCK_STREAM, Flags: flags}
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

// resolveText takes what needs no look-up: a path, for one.
func resolveText(_ context.Context, n *network, address string, _ lookup.AIFlags) ([]net.Addr, error) {
	a, err := n.parse(address)
	switch {
	case err != nil:
		return nil, err
	case n.datagram:
		return []net.Addr{a}, nil
	}
	return []net.Addr{a.name.Stream()}, nil
}

// parse makes an Addr of address without looking anything up.
func (n *network) parse(address string) (Addr, error) {
	name, err := n.families[0].Parse(address)
	switch {
	case err != nil:
		return Addr{}, invalid("%v", err)
	case !n.has(name.Family()):
		return Addr{}, invalid("address %q is not of network %s", address, n.name)
	}
	return Addr{name}, nil
}

func hostPart(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// has reports whether n's sockets may be of family f.
func (n *network) has(f sock.Family) bool { return slices.Contains(n.families, f) }

// family is the one family of n's sockets, 0 when there may be several.
func (n *network) family() sock.Family {
	if len(n.families) == 1 {
		return n.families[0]
	}
	return 0
}

// usesPaths reports whether the addresses of n are paths of socket files, unless they
// are abstract.
func (n *network) usesPaths() bool { return n.family().Paths() }

// usesPaths is that of the network of that name.
func usesPaths(name string) bool {
	return slices.ContainsFunc(networks, func(n *network) bool { return n.name == name && n.usesPaths() })
}

// packetNetwork names the network of datagrams of family f. Why the last row for an
// unknown one: it is that of the zero Addr, from which only UNIX datagrams come.
func packetNetwork(f sock.Family) string {
	for _, n := range networks {
		if n.datagram && n.has(f) {
			return n.name
		}
	}
	return networks[len(networks)-1].name
}
