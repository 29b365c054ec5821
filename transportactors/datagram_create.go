package transportactors

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// CreateDatagramEndpoint makes a datagram endpoint for udp, udp4, udp6 or
// unixgram and returns after ConnectionMade ran. local is the address it has,
// remote the only one it talks to ("host:port", or a path); both may be empty
// when network names one family. A remote address connects the socket, so that
// the system's errors about it come back, except WithBroadcast. A name is looked
// up and its addresses are tried in order; with both, a local and a remote one
// of the same family. A dead socket file at a local path is removed first.
//
// It waits: call it in a task; cancelling the task closes what was opened.
// Errors: the kernel's (EADDRINUSE, …), *net.DNSError,
// loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop, the *loopnode.Panic of
// factory or of ConnectionMade. asyncio: loop.create_datagram_endpoint.
//
// WithSocket takes a datagram socket instead, and then neither addresses nor
// WithReusePort nor WithBroadcast; network is empty or that of the socket.
// SO_REUSEADDR is never set: it would let others share the port.
func CreateDatagramEndpoint[P DatagramProtocol](ctx context.Context, factory func() P, network, local, remote string, opts ...DatagramOption) (DatagramTransport, P, error) {
	var p P
	if factory == nil {
		return nil, p, invalid("CreateDatagramEndpoint needs a factory, not nil")
	}
	o, err := collect(opts)
	if err != nil {
		return nil, p, err
	}
	if err := o.fits(network); err != nil {
		return nil, p, err
	}
	l, err := base.Home(ctx)
	if err != nil {
		return nil, p, err
	}
	s, err := openDatagram(ctx, l, network, local, remote, o)
	if err != nil {
		return nil, p, err
	}
	if p, err = base.FromFactory(factory, s.close); err != nil {
		s.close()
		return nil, p, err
	}
	t, err := announceDatagram(ctx, s, p, o.bounds.writeLimit)
	return t, p, err
}

// WithBroadcast lets a datagram endpoint send to broadcast addresses. Its remote
// address is then only remembered, not connected. asyncio: allow_broadcast.
func WithBroadcast(on bool) DatagramOption {
	return option(func(o *options) { o.broadcast = on })
}

// datagramSocket is what a datagram endpoint is made of.
type datagramSocket struct {
	loop      *loopnode.Loop
	fd        int
	family    sock.Family
	remote    sock.Name
	connected bool
	file      *socketFile
}

// close gives up a socket that no endpoint owns yet.
func (s *datagramSocket) close() {
	s.file.remove(s.loop)
	_ = sock.Close(s.fd)
}

func announceDatagram(ctx context.Context, s datagramSocket, p DatagramProtocol, writeLimit int) (DatagramTransport, error) {
	d, err := newDatagram(s, p)
	if err != nil {
		return nil, err
	}
	d.hard = writeLimit
	d.SetContext(s.loop, ctx)
	if err := base.Announce(ctx, s.loop, d.start); err != nil {
		d.Abort()
		return nil, err
	}
	if err := d.notAnnounced(); err != nil {
		return nil, err
	}
	return d, nil
}

func openDatagram(ctx context.Context, l *loopnode.Loop, network, local, remote string, o options) (datagramSocket, error) {
	if o.socket >= 0 {
		return givenDatagram(l, network, local, remote, o)
	}
	if local == "" && remote == "" {
		return unboundDatagram(l, network, o)
	}
	from, err := datagramNames(ctx, network, local, lookup.AIPassive)
	if err != nil {
		return datagramSocket{}, err
	}
	to, err := datagramNames(ctx, network, remote, 0)
	if err != nil {
		return datagramSocket{}, err
	}
	return firstDatagram(l, from, to, o)
}

// unboundDatagram has no address yet; the kernel gives it one when it sends.
func unboundDatagram(l *loopnode.Loop, name string, o options) (datagramSocket, error) {
	n, err := networkNamed(name, true)
	if err != nil {
		return datagramSocket{}, err
	}
	if n.family() == 0 {
		return datagramSocket{}, invalid("unexpected address family: network %q without an address may be of several; name udp4, udp6 or unixgram", name)
	}
	return makeDatagram(l, n.family(), sock.Name{}, sock.Name{}, o)
}

// datagramNames are the addresses to try; one zero Name when none was given.
func datagramNames(ctx context.Context, name, address string, flags lookup.AIFlags) ([]sock.Name, error) {
	if address == "" {
		return []sock.Name{{}}, nil
	}
	n, err := networkNamed(name, true)
	if err != nil {
		return nil, err
	}
	list, err := n.resolve(ctx, n, address, flags)
	if err != nil {
		return nil, err
	}
	out := make([]sock.Name, len(list))
	for i, a := range list {
		out[i] = a.(Addr).name
	}
	return out, nil
}

// firstDatagram opens the first pair of addresses that works.
func firstDatagram(l *loopnode.Loop, from, to []sock.Name, o options) (datagramSocket, error) {
	var first error
	for _, local := range from {
		for _, remote := range to {
			f := max(local.Family(), remote.Family())
			if !local.IsZero() && !remote.IsZero() && local.Family() != remote.Family() {
				continue
			}
			s, err := makeDatagram(l, f, local, remote, o)
			if err == nil {
				return s, nil
			}
			if first == nil {
				first = err
			}
		}
	}
	if first == nil {
		first = invalid("can not get address information: no family has both a local and a remote address")
	}
	return datagramSocket{}, first
}

// makeDatagram opens, binds and connects. What it opened it closes, unless it
// returns it.
func makeDatagram(l *loopnode.Loop, f sock.Family, local, remote sock.Name, o options) (datagramSocket, error) {
	fd, err := sock.OpenDatagram(f)
	if err != nil {
		return datagramSocket{}, fmt.Errorf("opening a datagram socket: %w", err)
	}
	s := datagramSocket{loop: l, fd: fd, family: f, remote: remote}
	if err := s.set(local, o); err != nil {
		s.close()
		return s, err
	}
	return s, nil
}

func (s *datagramSocket) set(local sock.Name, o options) error {
	if o.reusePort {
		if err := sock.SetReusePort(s.fd); err != nil {
			return invalid("reuse_port is not supported for this socket: %v", err)
		}
	}
	if o.broadcast {
		if err := sock.SetBroadcast(s.fd); err != nil {
			return fmt.Errorf("allowing broadcast: %w", err)
		}
	}
	if !local.IsZero() {
		if err := s.bind(local, o); err != nil {
			return fmt.Errorf("error while attempting to bind on address %s: %w", Addr{local}, err)
		}
	}
	if s.remote.IsZero() || o.broadcast {
		return nil
	}
	if err := sock.ConnectDatagram(s.fd, s.remote); err != nil {
		return fmt.Errorf("connect call failed (%s): %w", Addr{s.remote}, err)
	}
	s.connected = true
	return nil
}

func (s *datagramSocket) bind(local sock.Name, o options) (err error) {
	if !s.family.Paths() {
		return sock.Bind(s.fd, local)
	}
	s.file, err = bindPath(s.loop, local.Path(), o.file, func() error {
		if o.file.mode != nil {
			if err := sock.SetMode(s.fd, *o.file.mode); err != nil {
				return err
			}
		}
		return sock.Bind(s.fd, local)
	})
	return err
}

// givenDatagram takes the caller's socket.
func givenDatagram(l *loopnode.Loop, network, local, remote string, o options) (datagramSocket, error) {
	var extra []string
	for _, arg := range []struct {
		given bool
		name  string
	}{{local != "", "local"}, {remote != "", "remote"}, {o.reusePort, "WithReusePort"}, {o.broadcast, "WithBroadcast"}} {
		if arg.given {
			extra = append(extra, arg.name)
		}
	}
	if extra != nil {
		return datagramSocket{}, invalid("socket modifier arguments can not be used with WithSocket: %s", strings.Join(extra, ", "))
	}
	if err := loopaccess.Of(l).Watched(o.socket); err != nil {
		return datagramSocket{}, fmt.Errorf("%w: %w", loopnode.ErrInvalidArgument, err)
	}
	f, connected, err := sock.AdoptDatagram(o.socket)
	if err != nil {
		return datagramSocket{}, invalid("descriptor %d: a datagram socket was expected: %v", o.socket, err)
	}
	if network != "" {
		if n, err := networkNamed(network, true); err != nil || !n.has(f) {
			return datagramSocket{}, errors.Join(err, invalid("descriptor %d is not of network %q", o.socket, network))
		}
	}
	s := datagramSocket{loop: l, fd: o.socket, family: f, connected: connected}
	if connected {
		s.remote = sock.PeerName(o.socket)
	}
	return s, nil
}
