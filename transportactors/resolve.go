package transportactors

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/loopmesh/loopmesh/loopnode"
)

// resolve makes socket addresses of network and address, in the resolver's
// order. A numeric address is not looked up; a name is, in the loop's executor.
// An empty host is every interface.
func resolve(ctx context.Context, network, address string) ([]net.Addr, error) {
	switch network {
	case "unix":
		if address == "" {
			return nil, invalid("the path of the UNIX socket is empty")
		}
		return []net.Addr{&net.UnixAddr{Name: address, Net: "unix"}}, nil
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, invalid("network %q: use tcp, tcp4, tcp6 or unix", network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, invalid("address %q: %v", address, err)
	}
	port, err := portOf(ctx, network, service)
	if err != nil {
		return nil, err
	}
	ips, err := hostsOf(ctx, network, host)
	if err != nil {
		return nil, err
	}
	var out []net.Addr
	for _, ip := range ips {
		if fits(network, ip) {
			out = append(out, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), port)))
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no address of network " + network, Name: host, IsNotFound: true}
	}
	return out, nil
}

func fits(network string, ip netip.Addr) bool {
	four := ip.Unmap().Is4()
	return network == "tcp" || four == (network == "tcp4")
}

func portOf(ctx context.Context, network, service string) (uint16, error) {
	if service == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(service); err == nil {
		if n < 0 || n > 65535 {
			return 0, invalid("port %d is not between 0 and 65535", n)
		}
		return uint16(n), nil
	}
	n, err := loopnode.RunInExecutor(ctx, nil, func() (int, error) {
		return net.DefaultResolver.LookupPort(context.Background(), network, service)
	}).Await(ctx)
	return uint16(n), err
}

func hostsOf(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if host == "" {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	lookup, stop := context.WithCancel(context.Background())
	defer stop() // a cancelled caller ends the look-up too
	ips, err := loopnode.RunInExecutor(ctx, nil, func() ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(lookup, "ip", host)
	}).Await(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking up host %q for %s: %w", host, network, err)
	}
	return ips, nil
}
