package lookup

import (
	"context"
	"strconv"
	"syscall"
)

// kind is one type of socket, with the port its service has there.
type kind struct {
	kind, proto int
	name        string // as the list of services calls the protocol; "" has none
	port        uint16
	known       bool // port is final
}

// kindTable is what an address is given for, in the C library's order.
var kindTable = []kind{
	{kind: syscall.SOCK_STREAM, proto: syscall.IPPROTO_TCP, name: "tcp"},
	{kind: syscall.SOCK_DGRAM, proto: syscall.IPPROTO_UDP, name: "udp"},
	{kind: syscall.SOCK_RAW},
}

// services chooses the socket types and reads a numeric port.
func (q *query) services() error {
	port, number, err := q.port()
	if err != nil {
		return err
	}
	if err := q.chooseKinds(!number); err != nil {
		return err
	}
	for i := range q.kinds {
		q.kinds[i].port, q.kinds[i].known = port, number
	}
	return nil
}

// port reads the service when it is a number or empty.
func (q *query) port() (n uint16, number bool, err error) {
	if q.service == "" {
		return 0, true, nil
	}
	digits := 0
	for digits < len(q.service) && '0' <= q.service[digits] && q.service[digits] <= '9' {
		digits++
	}
	if digits < len(q.service) {
		if i, err := strconv.Atoi(q.service); err == nil { // a sign and a number
			return 0, false, q.fail(EAIService, invalid("port %d is not between 0 and 65535", i))
		}
		if q.hints.Flags&AINumericServ != 0 {
			return 0, false, q.fail(EAINoName, invalid("service %q is not a number", q.service))
		}
		return 0, false, nil
	}
	u, err := strconv.ParseUint(q.service, 10, 16)
	if err != nil {
		return 0, false, q.fail(EAIService, invalid("port %s is not between 0 and 65535", q.service))
	}
	return uint16(u), true, nil
}

// chooseKinds takes from the table what the hints ask for; a type that was
// asked for by name must be able to have a service.
func (q *query) chooseKinds(named bool) error {
	h := q.hints
	if h.Type == 0 && h.Proto == 0 {
		for _, k := range kindTable {
			if !named || k.name != "" {
				q.kinds = append(q.kinds, k)
			}
		}
		return nil
	}
	for _, k := range kindTable {
		if h.Type != 0 && h.Type != k.kind || h.Proto != 0 && h.Proto != k.proto && k.name != "" {
			continue
		}
		if k.name == "" && q.service != "" {
			return q.fail(EAIService, invalid("a raw socket has no service or port"))
		}
		if k.name == "" {
			k.proto = h.Proto
		}
		q.kinds = []kind{k}
		return nil
	}
	if h.Type != 0 {
		return q.fail(EAISockType, invalid("socket type %d with protocol %d", h.Type, h.Proto))
	}
	return q.fail(EAIService, invalid("protocol %d", h.Proto))
}

// lookupPorts asks for the ports of a named service and drops the types that
// do not have it.
func (q *query) lookupPorts(ctx context.Context) error {
	var missing error
	kept := q.kinds[:0]
	for _, k := range q.kinds {
		if !k.known {
			n, err := q.from.LookupPort(ctx, k.name, q.service)
			if err != nil {
				missing = err
				continue
			}
			k.port, k.known = uint16(n), true
		}
		kept = append(kept, k)
	}
	if q.kinds = kept; len(kept) == 0 {
		return q.fail(code(missing, EAIService), missing)
	}
	return nil
}
