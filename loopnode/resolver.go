package loopnode

import (
	"context"
	"net"
	"net/netip"
)

// Resolver answers what lookup.Getaddrinfo and Getnameinfo cannot answer by
// themselves. Its methods may block and are called from several goroutines,
// never from the loop's; ctx ends when nobody wants the answer any more. A
// *net.Resolver is one. A failure that is a *net.DNSError gets the matching EAI
// code, any other one EAIFail.
type Resolver interface {
	// LookupNetIP is the addresses of a name, in the order they should be tried;
	// network is "ip", "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupPort is the port of a named service; network is "tcp" or "udp".
	LookupPort(ctx context.Context, network, service string) (int, error)
	// LookupCNAME is the canonical name of a name.
	LookupCNAME(ctx context.Context, host string) (string, error)
	// LookupAddr is the names of a numeric address.
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

var _ Resolver = (*net.Resolver)(nil)
