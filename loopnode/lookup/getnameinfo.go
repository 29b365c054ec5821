package lookup

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/loopmesh/loopmesh/loopnode"
)

// NIFlags are the flags of Getnameinfo, with the C library's numbers.
type NIFlags int

// asyncio: socket.NI_*.
const (
	NINumericHost NIFlags = 1 << iota // the address itself: look nothing up
	NINumericServ                     // the port's number
	NINoFQDN                          // no domain behind the names of this machine's domain
	NINameReqd                        // an address without a name is EAINoName
	NIDgram                           // the service is UDP's, not TCP's

	niKnown = NINumericHost | NINumericServ | NINoFQDN | NINameReqd | NIDgram
)

// Getnameinfo is the name of an address and of the service behind its port; what
// has no name stays a number. Where it waits and what ends that is as with
// Getaddrinfo; with NINumericHost and NINumericServ nothing is looked up.
// Errors: *Error (EAINoName with NINameReqd, EAIAgain, EAIFamily for the
// zero address, EAIBadFlags). asyncio: loop.getnameinfo.
func Getnameinfo(ctx context.Context, addr netip.AddrPort, flags NIFlags) (host, service string, err error) {
	n := &naming{addr: addr, flags: flags, from: resolverOf(ctx)}
	switch {
	case flags&^niKnown != 0:
		return "", "", n.fail(EAIBadFlags, invalid("flags %#x are not known", int(flags&^niKnown)))
	case flags&NINumericHost != 0 && flags&NINameReqd != 0:
		return "", "", n.fail(EAINoName, invalid("NINumericHost and NINameReqd exclude each other"))
	case !addr.IsValid():
		return "", "", n.fail(EAIFamily, invalid("the address is empty"))
	case flags&NINumericHost != 0 && flags&NINumericServ != 0:
		return addr.Addr().String(), n.number(), nil
	}
	names, err := offLoop(ctx, n.ask)
	return names[0], names[1], err
}

// naming is one call of Getnameinfo on its way.
type naming struct {
	addr  netip.AddrPort
	flags NIFlags
	from  loopnode.Resolver
}

func (n *naming) fail(code EAI, err error) error {
	return &Error{Code: code, Host: n.addr.Addr().String(), Service: n.number(), Err: err}
}

func (n *naming) number() string { return strconv.Itoa(int(n.addr.Port())) }

// ask is host and service. It blocks.
func (n *naming) ask(ctx context.Context) (names [2]string, err error) {
	names[0], names[1] = n.addr.Addr().String(), n.number()
	if n.flags&NINumericHost == 0 {
		if names[0], err = n.host(ctx); err != nil {
			return [2]string{}, err
		}
	}
	if n.flags&NINumericServ == 0 {
		names[1] = n.service()
	}
	return names, nil
}

func (n *naming) host(ctx context.Context) (string, error) {
	numeric := n.addr.Addr().String()
	found, err := n.from.LookupAddr(ctx, numeric)
	switch {
	case err == nil && len(found) > 0:
		return n.short(strings.TrimSuffix(found[0], ".")), nil
	case err != nil && code(err, EAINoName) == EAIAgain:
		return "", n.fail(EAIAgain, err)
	case n.flags&NINameReqd != 0:
		return "", n.fail(EAINoName, err)
	}
	return numeric, nil
}

// short drops this machine's own domain when that is asked for.
func (n *naming) short(name string) string {
	self, err := os.Hostname()
	_, domain, ok := strings.Cut(self, ".")
	if n.flags&NINoFQDN == 0 || err != nil || !ok {
		return name
	}
	return strings.TrimSuffix(name, "."+domain)
}

func (n *naming) service() string {
	network := "tcp"
	if n.flags&NIDgram != 0 {
		network = "udp"
	}
	f, err := os.Open(servicesFile)
	if err != nil {
		return n.number() // a machine without the list knows no names
	}
	defer f.Close()
	if name := serviceName(f, n.number()+"/"+network); name != "" {
		return name
	}
	return n.number()
}

const servicesFile = "/etc/services"

// serviceName finds who has port ("80/tcp") in the format of services(5).
func serviceName(list io.Reader, port string) string {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if f := strings.Fields(line); len(f) > 1 && f[1] == port {
			return f[0]
		}
	}
	return ""
}
