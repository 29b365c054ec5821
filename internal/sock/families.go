package sock

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Family is a kind of addresses. The zero Family is unknown.
type Family uint8

// The families.
const (
	IPv4 Family = iota + 1
	IPv6
	Unix
)

// families are the kinds of addresses that this module knows, and the only place
// that says how they differ: a new one is a number above and a row here, and a row
// of the table of networks in package transportactors. All other code asks the row.
// An address or a socket of a family without a row is an error.
//
// An address has three forms. Name is the one that datagrams carry: a comparable
// value that costs no object. A net.Addr is what users give and see. The kernel's
// form is bytes that begin with the domain.
var families = [...]family{
	IPv4 - 1: {
		text: "IPv4", domain: syscall.AF_INET, parse: parseIP, fromNet: fromIP, toNet: netIP,
		ports: true, bursts: true,
		multicastTTL:      sockOption{syscall.IPPROTO_IP, syscall.IP_MULTICAST_TTL},
		multicastLoopback: sockOption{syscall.IPPROTO_IP, syscall.IP_MULTICAST_LOOP},
	},
	IPv6 - 1: {
		text: "IPv6", domain: syscall.AF_INET6, parse: parseIP, fromNet: fromIP, toNet: netIP, adapt: mapped,
		ports: true, bursts: true,
		listening:         []sockOption{{syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY}},
		multicastTTL:      sockOption{syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_HOPS},
		multicastLoopback: sockOption{syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_LOOP},
	},
	Unix - 1: {
		text: "UNIX", domain: syscall.AF_UNIX, parse: parsePath, fromNet: fromUnix, toNet: netUnix, check: checkPath,
		paths: true,
	},
}

// family is one row. The functions change the form of an address.
type family struct {
	text   string // what errors call it
	domain int    // AF_…

	parse   func(text string) (Name, error)                 // without asking anybody
	fromNet func(a net.Addr) (n Name, mine bool, err error) // mine: a is of this row; err: but no socket can have it
	toNet   func(n Name, stream bool) net.Addr              // as package net shows it
	adapt   func(n Name) (Name, bool)                       // an address of another family in the form that these sockets talk to; nil: none
	check   func(n Name) error                              // of a name that somebody made; nil: all are good

	paths  bool // an address is the path of a file, unless it is abstract
	ports  bool // SO_REUSEADDR, SO_REUSEPORT and SO_KEEPALIVE mean something to a listener
	bursts bool // datagrams have at most MaxUDP bytes, names rawio.NameSize: many travel with one call

	listening                       []sockOption // set on every listener
	multicastTTL, multicastLoopback sockOption   // zero: it has no multicast
}

type sockOption struct{ level, name int }

// Name is where a datagram socket is. Comparable; the zero Name is nowhere, which is
// also the name of a UNIX socket that was not bound.
type Name struct {
	AddrPort netip.AddrPort // of IPv4 and IPv6
	Text     string         // of every other family: the address as it is written
	Other    Family         // the family of Text
}

// IsZero reports whether it names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// Family is the family of the address, 0 for the zero Name.
func (n Name) Family() Family {
	switch ip := n.AddrPort.Addr(); {
	case n.Other != 0:
		return n.Other
	case ip.Is4():
		return IPv4
	case ip.Is6():
		return IPv6
	}
	return 0
}

// String is "host:port", or the text of another family.
func (n Name) String() string {
	if n.AddrPort.IsValid() {
		return n.AddrPort.String()
	}
	return n.Text
}

// Path is the path of a UNIX socket, "" for any other address.
func (n Name) Path() string {
	if n.Other == Unix {
		return n.Text
	}
	return ""
}

// PathName is the Name of a path, with '@' in front of an abstract one.
func PathName(path string) Name { return Name{Text: path, Other: Unix} }

// Stream is the address of a stream socket as package net shows it.
func (n Name) Stream() net.Addr { return n.net(true) }

// net is nil for the zero Name.
func (n Name) net(stream bool) net.Addr {
	if row := n.Family().row(); row != nil {
		return row.toNet(n, stream)
	}
	return nil
}

// row is nil for an unknown family.
func (f Family) row() *family {
	if f == 0 || int(f) > len(families) {
		return nil
	}
	return &families[f-1]
}

// Domain is AF_…, 0 (AF_UNSPEC) for an unknown family.
func (f Family) Domain() int {
	if row := f.row(); row != nil {
		return row.domain
	}
	return 0
}

// Paths reports whether addresses of f may be paths of files.
func (f Family) Paths() bool {
	row := f.row()
	return row != nil && row.paths
}

// Bursts reports whether datagrams of f can be received by an Inbox and sent by an
// Outbox.
func (f Family) Bursts() bool {
	row := f.row()
	return row != nil && row.bursts
}

// Parse makes a Name of text, and looks nothing up.
func (f Family) Parse(text string) (Name, error) {
	if row := f.row(); row != nil {
		return row.parse(text)
	}
	return Name{}, unknownFamily(0)
}

// Reaches is n in the form that sockets of family f talk to. false: they cannot.
func (f Family) Reaches(n Name) (Name, bool) {
	if n.Family() == f {
		return n, true
	}
	if row := f.row(); row != nil && row.adapt != nil {
		return row.adapt(n)
	}
	return n, false
}

// Check refuses a name that somebody made and the kernel could not even be told.
func (n Name) Check() error {
	if row := n.Family().row(); row != nil && row.check != nil {
		return row.check(n)
	}
	return nil
}

// NameOf is a as a Name. An error says why no socket can have it; it is EAFNOSUPPORT
// for an address of a type that no row takes.
func NameOf(a net.Addr) (Name, error) {
	for i := range families {
		if n, mine, err := families[i].fromNet(a); mine || err != nil {
			return n, err
		}
	}
	return Name{}, fmt.Errorf("%w: no socket has an address of type %T; use a *net.TCPAddr, *net.UDPAddr or *net.UnixAddr", syscall.EAFNOSUPPORT, a)
}

// FamilyOf is the family of a, 0 when it is none of those known here.
func FamilyOf(a net.Addr) Family {
	n, err := NameOf(a)
	if err != nil {
		return 0
	}
	return n.Family()
}

// familyOfDomain is the family of AF_…
func familyOfDomain(domain int) (Family, error) {
	for i := range families {
		if families[i].domain == domain {
			return Family(i + 1), nil
		}
	}
	return 0, unknownFamily(domain)
}

// unknownFamily is the error for what is of no row of the table.
func unknownFamily(domain int) error {
	known := make([]string, len(families))
	for i, f := range families {
		known[i] = f.text
	}
	return fmt.Errorf("%w: address family %d; known are %s", syscall.EAFNOSUPPORT, domain, strings.Join(known, ", "))
}

// encoder writes names in the kernel's form. Owned by one goroutine.
type encoder struct {
	zone  Name // the last name with a zone that was looked up …
	index uint32
}

// maxName is how long the kernel's form of an address can be (sockaddr_storage).
const maxName = 128

// encode writes n into b, which has maxName bytes (rawio.NameSize for a family of
// bursts), and returns how long that is: 0 for an address that cannot be written.
//
// Why encode and decode are no fields of the row: what is handed to a call through a
// field leaves the stack, and each accepted connection would cost an object.
func (e *encoder) encode(b []byte, n Name) int {
	switch n.Family() {
	case IPv4:
		return put4(b, n)
	case IPv6:
		return put6(e, b, n)
	case Unix:
		return putPath(b, n)
	}
	return 0
}

// decode is an address of family f in the kernel's form as a Name.
func decode(f Family, b []byte) Name {
	switch f {
	case IPv4:
		return take4(b)
	case IPv6:
		return take6(b)
	case Unix:
		return takePath(b)
	}
	return Name{}
}

// Lost reports whether err means that the descriptor is no socket any more.
func Lost(err error) bool { return isLost(err) }
