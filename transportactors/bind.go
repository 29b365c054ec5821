package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// openListeners gets the server its listening sockets: the one it was given, or one
// for each address.
func (s *Server) openListeners(ctx context.Context, network, address string, o options) error {
	if o.socket >= 0 {
		if err := o.checkOnlySocket(network, address); err != nil {
			return err
		}
		if err := adopt(s.loop, o.socket); err != nil {
			return err
		}
		ln := newListener(s, o.socket)
		ln.file = o.file.ofSocket(ln.addr)
		s.listeners = append(s.listeners, ln)
		return nil
	}
	var at []net.Addr
	for _, a := range append([]string{address}, o.addresses...) {
		found, err := resolve(ctx, network, a)
		if err != nil {
			return err
		}
		at = append(at, found...)
	}
	return s.bind(distinct(at), o)
}

// distinct leaves out repetitions.
func distinct(all []net.Addr) (out []net.Addr) {
	seen := map[string]bool{}
	for _, a := range all {
		if !seen[a.String()] {
			seen[a.String()] = true
			out = append(out, a)
		}
	}
	return out
}

// bind opens every address this machine has; all or none.
func (s *Server) bind(at []net.Addr, o options) error {
	var missing error
	for _, a := range at {
		ln, err := s.listenerAt(a, o)
		switch {
		case err == nil:
			s.listeners = append(s.listeners, ln)
		case sock.Unavailable(err):
			missing = errors.Join(missing, fmt.Errorf("%s: %w", a, err))
		default:
			s.closeListeners()
			return fmt.Errorf("error while attempting to bind on address %s: %w", a, err)
		}
	}
	if len(s.listeners) == 0 {
		return fmt.Errorf("could not bind on any address: %w", missing)
	}
	return nil
}

func (s *Server) listenerAt(a net.Addr, o options) (*listener, error) {
	if networkOf(a).usesPaths() {
		return s.bindUnix(a, o)
	}
	fd, err := sock.OpenListener(a, sock.ListenOptions{ReuseAddress: o.reuseAddress, ReusePort: o.reusePort, KeepAlive: o.keepAlive})
	if err != nil {
		return nil, err
	}
	return newListener(s, fd), nil
}
