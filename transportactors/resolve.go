package transportactors

import (
	"context"
	"net"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// families is the address family of each network by name.
var families = map[string]int{
	"tcp": syscall.AF_UNSPEC, "tcp4": syscall.AF_INET, "tcp6": syscall.AF_INET6,
}

// resolve makes socket addresses of network and address, in the resolver's
// order. An empty host is every interface. It waits as lookup.Getaddrinfo
// does: not at all for numbers.
func resolve(ctx context.Context, network, address string) ([]net.Addr, error) {
	if network == "unix" {
		if err := checkPath(address); err != nil {
			return nil, err
		}
		return []net.Addr{&net.UnixAddr{Name: abstract(address), Net: "unix"}}, nil
	}
	family, ok := families[network]
	if !ok {
		return nil, invalid("network %q: use tcp, tcp4, tcp6 or unix", network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, invalid("address %q: %v", address, err)
	}
	if service == "" {
		service = "0"
	}
	list, err := lookup.Getaddrinfo(ctx, host, service, lookup.Hints{
		Family: family, Type: syscall.SOCK_STREAM, Flags: lookup.AIPassive,
	})
	if err != nil {
		return nil, err
	}
	out := make([]net.Addr, len(list))
	for i, a := range list {
		out[i] = a.NetAddr()
	}
	return out, nil
}
