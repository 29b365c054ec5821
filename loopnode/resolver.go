package loopnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Resolver answers what Getaddrinfo and Getnameinfo cannot answer by
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

// resolverOf is the resolver of ctx's loop.
func resolverOf(ctx context.Context) Resolver {
	if l := loopOf(ctx); l != nil {
		return l.resolver
	}
	return net.DefaultResolver
}

// offLoop runs fn where it may block: for a task on the default executor, for
// a goroutine without a task in place. The ctx fn gets ends with the wait.
func offLoop[T any](ctx context.Context, fn func(context.Context) (T, error)) (v T, err error) {
	t := taskOf(ctx)
	switch {
	case t != nil:
		if err := t.owned(); err != nil {
			return v, err
		}
		lookup, stop := context.WithCancel(context.Background())
		defer stop() // who was cancelled wants no answer
		return RunInExecutor(ctx, nil, func() (T, error) { return fn(lookup) }).Await(ctx)
	case onLoop():
		return v, fmt.Errorf("%w: look names up in a task", ErrWouldBlock)
	}
	v, err = fn(ctx)
	if err != nil && ctx.Err() != nil {
		return v, contextError(ctx)
	}
	return v, err
}

// lookupCode is the EAI code of a resolver's failure; unknown is for a name
// that does not exist.
func lookupCode(err error, unknown EAI) EAI {
	var d *net.DNSError
	var a *net.AddrError
	switch {
	case errors.As(err, &a):
		return unknown // the name has addresses, but none of the family
	case !errors.As(err, &d):
		return EAIFail
	case d.IsNotFound:
		return unknown
	case d.IsTemporary, d.IsTimeout:
		return EAIAgain
	}
	return EAIFail
}
