package sock

import "net/netip"

// Name is where a datagram socket is: an IP address and a port, or a path ('@'
// in front of an abstract one). Comparable; the zero Name is nowhere, which is
// also the name of a UNIX socket that was not bound.
type Name struct {
	AddrPort netip.AddrPort
	Path     string
}

// IsZero reports whether it names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// Family is the kind of addresses a datagram socket talks to.
type Family uint8

// The families. The zero Family is unknown.
const (
	IPv4 Family = iota + 1
	IPv6
	Unix
)

// Family is the family of the address, 0 for the zero Name.
func (n Name) Family() Family {
	switch {
	case n.Path != "":
		return Unix
	case n.AddrPort.Addr().Is4():
		return IPv4
	case n.AddrPort.Addr().Is6():
		return IPv6
	}
	return 0
}

// Lost reports whether err means that the descriptor is no socket any more.
func Lost(err error) bool { return isLost(err) }
