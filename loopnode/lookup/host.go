package lookup

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// numericHost reads the host when it is empty or an address; q.addrs stays nil
// for a name.
func (q *query) numericHost() error {
	switch {
	case q.host == "":
		return q.take(q.nowhere()...)
	case q.host == "<broadcast>":
		return q.take(netip.AddrFrom4([4]byte{255, 255, 255, 255}))
	}
	if a, ok := legacyIPv4(q.host); ok {
		q.canon = q.host
		return q.take(a)
	}
	if a, err := netip.ParseAddr(q.host); err == nil {
		q.canon, q.zoned = q.host, a.Zone() != ""
		return q.take(a)
	}
	if q.hints.Flags&AINumericHost != 0 {
		return q.fail(EAINoName, invalid("host %q is not a numeric address", q.host))
	}
	if err := checkName(q.host); err != nil {
		return q.fail(EAINoName, err)
	}
	return nil
}

// nowhere is what no host means, IPv4 first.
func (q *query) nowhere() []netip.Addr {
	four, six := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	if q.hints.Flags&AIPassive != 0 {
		four, six = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	}
	switch q.hints.Family {
	case syscall.AF_INET:
		return []netip.Addr{four}
	case syscall.AF_INET6:
		return []netip.Addr{six}
	}
	return []netip.Addr{four, six}
}

// take makes numeric addresses the answer, in the family that was asked for.
func (q *query) take(addrs ...netip.Addr) error {
	for _, a := range addrs {
		switch q.hints.Family {
		case syscall.AF_INET:
			a = a.Unmap()
		case syscall.AF_INET6:
			if a.Is4() && q.hints.Flags&AIV4Mapped != 0 {
				a = netip.AddrFrom16(a.As16())
			}
		}
		if a.Is4() && q.hints.Family == syscall.AF_INET6 || a.Is6() && q.hints.Family == syscall.AF_INET {
			return q.fail(EAIAddrFamily, nil)
		}
		q.addrs = append(q.addrs, a)
	}
	return nil
}

// findScope turns the zone into the number of its interface: a name for
// link-local addresses, a number for all.
func (q *query) findScope() error {
	a := q.addrs[0]
	if a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast() {
		if i, err := net.InterfaceByName(a.Zone()); err == nil {
			q.scope = uint32(i.Index)
			return nil
		}
	}
	n, err := strconv.ParseUint(a.Zone(), 10, 32)
	if err != nil {
		return q.fail(EAINoName, invalid("no interface %q for this address", a.Zone()))
	}
	q.scope = uint32(n)
	return nil
}

// lookupHost asks the resolver for the addresses and the canonical name.
func (q *query) lookupHost(ctx context.Context) error {
	network := q.network()
	found, err := q.from.LookupNetIP(ctx, network, q.host)
	if err != nil {
		return q.fail(code(err, EAINoName), err)
	}
	q.addrs = q.ofFamily(found)
	if len(q.addrs) == 0 {
		err := &net.DNSError{Err: "no address of network " + network, Name: q.host, IsNotFound: true}
		return q.fail(EAINoName, err)
	}
	if q.hints.Flags&AICanonName != 0 {
		q.canon = q.host
		if name, err := q.from.LookupCNAME(ctx, q.host); err == nil && name != "" {
			q.canon = strings.TrimSuffix(name, ".")
		}
	}
	return nil
}

// network is what to ask the resolver for.
func (q *query) network() string {
	h := q.hints
	switch {
	case h.Family == syscall.AF_INET:
		return "ip4"
	case h.Family == syscall.AF_INET6 && h.Flags&AIV4Mapped == 0:
		return "ip6"
	case h.Family == syscall.AF_UNSPEC && h.Flags&AIAddrConfig != 0:
		return configured(net.InterfaceAddrs())
	}
	return "ip"
}

// configured is the network of the families that addrs has beside loopback.
func configured(addrs []net.Addr, err error) string {
	var four, six bool
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			four = four || n.IP.To4() != nil
			six = six || n.IP.To4() == nil
		}
	}
	switch {
	case err != nil || four == six:
		return "ip"
	case four:
		return "ip4"
	}
	return "ip6"
}

// ofFamily keeps what fits, in order, repeats included.
func (q *query) ofFamily(found []netip.Addr) []netip.Addr {
	out := slices.Clone(found)
	for i := range out {
		out[i] = out[i].Unmap()
	}
	switch q.hints.Family {
	case syscall.AF_INET:
		return slices.DeleteFunc(out, netip.Addr.Is6)
	case syscall.AF_INET6:
	default:
		return out
	}
	six := slices.DeleteFunc(slices.Clone(out), netip.Addr.Is4)
	if f := q.hints.Flags; f&AIV4Mapped == 0 || len(six) > 0 && f&AIAll == 0 {
		return six
	}
	for i := range out {
		out[i] = netip.AddrFrom16(out[i].As16())
	}
	return out
}

// legacyIPv4 reads the spellings of inet_aton(3): one to four numbers, decimal,
// octal or hexadecimal, the last one filling the bytes that are left.
func legacyIPv4(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, p := range parts {
		n, ok := legacyNumber(p)
		last := i == len(parts)-1
		left := 8 * uint(4-i) // bits from this number on
		if !ok || last && n>>left != 0 || !last && n > 255 {
			return netip.Addr{}, false
		}
		if !last {
			n <<= left - 8
		}
		value |= n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

func legacyNumber(s string) (uint64, bool) {
	base := 10
	switch {
	case len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	if strings.ContainsAny(s, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 32)
	return n, err == nil
}

const (
	maxName  = 253
	maxLabel = 63
)

// checkName refuses what no name can be, before anybody is asked.
func checkName(host string) error {
	for _, r := range host {
		switch {
		case r > 127:
			return invalid("host %q is not ASCII: give it in its xn-- form", host)
		case r <= ' ' || r == 127:
			return invalid("host %q has an illegal character", host)
		}
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > maxName {
		return invalid("a host name of %d bytes is too long; the limit is %d", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return fmt.Errorf("host %q: %w", host, invalid("a label of %d bytes; it must have 1 to %d", len(label), maxLabel))
		}
	}
	return nil
}
