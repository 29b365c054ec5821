package lookup

import (
	"context"
	"net"
)

// HostPort is an address "host:port" whose host may be a name.
// loopnode.SockConnect looks it up for the kind of socket that it connects.
type HostPort string

// Network is "host:port": which one it is depends on the socket.
func (HostPort) Network() string { return "host:port" }

// String is the address as it was given.
func (h HostPort) String() string { return string(h) }

// Resolve is the first address of h for a socket of this family, type and
// protocol, as in Hints. Waiting and errors as with Getaddrinfo, and
// loopnode.ErrInvalidArgument for what is not "host:port".
func (h HostPort) Resolve(ctx context.Context, family, kind, proto int) (net.Addr, error) {
	host, port, err := net.SplitHostPort(string(h))
	if err != nil {
		return nil, invalid("address %q: %v", string(h), err)
	}
	list, err := Getaddrinfo(ctx, host, port, Hints{Family: family, Type: kind, Proto: proto})
	if err != nil {
		return nil, err
	}
	return list[0].NetAddr(), nil
}
