package lookup

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Hints narrows what Getaddrinfo answers; the zero value asks for everything.
type Hints struct {
	Family int // syscall.AF_INET, AF_INET6, or 0 for both
	Type   int // syscall.SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, or 0 for all
	Proto  int // syscall.IPPROTO_TCP, IPPROTO_UDP, or 0 for the type's own
	Flags  AIFlags
}

// AIFlags are the flags of Getaddrinfo, with the C library's numbers.
type AIFlags int

// asyncio: socket.AI_*.
const (
	AIPassive     AIFlags = 1 << iota // no host: every interface, to listen on
	AICanonName                       // the first answer carries the canonical name
	AINumericHost                     // the host is an address: look nothing up
	AIV4Mapped                        // for AF_INET6: IPv4 addresses as ::ffff:a.b.c.d when there is no other
	AIAll                             // with AIV4Mapped: both
	AIAddrConfig                      // only families this machine has an address of, beside loopback

	AINumericServ AIFlags = 0x400 // the service is a number: look nothing up

	aiKnown = AIPassive | AICanonName | AINumericHost | AIV4Mapped | AIAll | AIAddrConfig | AINumericServ
)

// AddrInfo is one address that a socket can be made for and connected or bound to.
type AddrInfo struct {
	Family, Type, Proto int // as in Hints, never 0 except the Proto of SOCK_RAW
	// CanonName is set in the first answer when AICanonName was asked for.
	CanonName string
	Addr      netip.AddrPort
	// ScopeID is the number of the interface that the address's zone names.
	ScopeID uint32
}

// NetAddr is the address as package net has it: *net.TCPAddr for SOCK_STREAM,
// *net.UDPAddr for SOCK_DGRAM, *net.IPAddr for SOCK_RAW.
func (a AddrInfo) NetAddr() net.Addr {
	switch a.Type {
	case syscall.SOCK_STREAM:
		return net.TCPAddrFromAddrPort(a.Addr)
	case syscall.SOCK_DGRAM:
		return net.UDPAddrFromAddrPort(a.Addr)
	}
	return &net.IPAddr{IP: a.Addr.Addr().AsSlice(), Zone: a.Addr.Addr().Zone()}
}

// Getaddrinfo is the addresses of host and service, in the order they should be
// tried. host is a name, an IPv4 address (also in the old spellings "127.1",
// "0x7f.1"), an IPv6 address with or without zone, "<broadcast>", or empty:
// loopback, or every interface with AIPassive. service is a number, a name like
// "https", or empty for port 0. Without a socket type each address comes once
// for each type.
//
// Numbers are answered at once, from any goroutine; anything else asks the
// loop's Resolver, in a task on goroutines of the loop's own without holding the
// loop, in a goroutine without a task by blocking it. Cancelling the task or
// ending ctx ends the wait and the look-up.
//
// Errors: *Error with the C library's code (EAINoName, EAIService, …);
// a port or host that cannot exist is also ErrInvalidArgument; ErrWouldBlock in
// a callback; CancelledError, ErrTimeout, ErrShutdown. asyncio: loop.getaddrinfo.
func Getaddrinfo(ctx context.Context, host, service string, hints Hints) ([]AddrInfo, error) {
	q := &query{host: host, service: service, hints: hints}
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.answered() {
		return q.answers(), nil
	}
	q.from = resolverOf(ctx)
	defer timed(ctx, host, service)()
	return offLoop(ctx, q.ask)
}

// query is one call of Getaddrinfo on its way.
type query struct {
	host, service string
	hints         Hints
	from          loopnode.Resolver
	kinds         []kind       // the socket types asked for, with their ports
	addrs         []netip.Addr // what the host stands for
	zoned         bool         // addrs has a zone whose interface is not known yet
	canon         string
	scope         uint32
}

func (q *query) fail(code EAI, err error) error {
	return &Error{Code: code, Host: q.host, Service: q.service, Err: err}
}

// check refuses what is wrong in itself and reads the numbers, in the C
// library's order.
func (q *query) check() error {
	f := q.hints.Flags
	switch {
	case f&^aiKnown != 0:
		return q.fail(EAIBadFlags, invalid("flags %#x are not known", int(f&^aiKnown)))
	case q.host == "" && q.service == "":
		return q.fail(EAINoName, invalid("neither host nor service is given"))
	case f&AICanonName != 0 && q.host == "":
		return q.fail(EAIBadFlags, invalid("AICanonName needs a host"))
	}
	switch q.hints.Family {
	case syscall.AF_UNSPEC, syscall.AF_INET, syscall.AF_INET6:
	default:
		return q.fail(EAIFamily, invalid("family %d: use AF_INET, AF_INET6 or 0", q.hints.Family))
	}
	if err := q.services(); err != nil {
		return err
	}
	return q.numericHost()
}

// answered reports whether nothing is left to ask.
func (q *query) answered() bool {
	return q.addrs != nil && !q.zoned && (len(q.kinds) == 0 || q.kinds[0].known)
}

// ask looks up what is not a number. It blocks.
func (q *query) ask(ctx context.Context) ([]AddrInfo, error) {
	if err := q.lookupPorts(ctx); err != nil {
		return nil, err
	}
	if q.zoned {
		if err := q.findScope(); err != nil {
			return nil, err
		}
	}
	if q.addrs == nil {
		if err := q.lookupHost(ctx); err != nil {
			return nil, err
		}
	}
	return q.answers(), nil
}

// answers is every address once for each socket type.
func (q *query) answers() []AddrInfo {
	out := make([]AddrInfo, 0, len(q.addrs)*len(q.kinds))
	for _, a := range q.addrs {
		family := syscall.AF_INET6
		if a.Is4() {
			family = syscall.AF_INET
		}
		for _, k := range q.kinds {
			out = append(out, AddrInfo{
				Family: family, Type: k.kind, Proto: k.proto,
				Addr: netip.AddrPortFrom(a, k.port), ScopeID: q.scope,
			})
		}
	}
	if q.hints.Flags&AICanonName != 0 && len(out) > 0 {
		out[0].CanonName = q.canon
	}
	return out
}
