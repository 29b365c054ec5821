package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// CreateConnection connects to address ("host:port" for tcp, tcp4 and tcp6, a
// path for unix), trying what a name resolves to in order, and returns after
// ConnectionMade ran. factory is called once, when the socket is connected. It
// waits: call it in a task; cancelling the task or ending ctx closes what was
// begun. Errors: the kernel's (errors.Is(err, syscall.ECONNREFUSED)), those of
// every address together when they differ, *net.DNSError,
// loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop, the *loopnode.Panic of
// factory. asyncio: loop.create_connection.
func CreateConnection[P Protocol](ctx context.Context, factory func() P, network, address string, opts ...ConnectOption) (Transport, P, error) {
	var p P
	if factory == nil {
		return nil, p, invalid("CreateConnection needs a factory, not nil")
	}
	o, err := collect(opts)
	if err != nil {
		return nil, p, err
	}
	if err := o.fits(network); err != nil {
		return nil, p, err
	}
	secure, err := o.tls.client(hostOf(network, address))
	if err != nil {
		return nil, p, err
	}
	fd, err := dial(ctx, network, address, o)
	if err != nil {
		return nil, p, err
	}
	if o.keepAlive {
		_ = sock.SetKeepAlive(fd) // a socket without it works, too
	}
	t, err := announce(ctx, fd, secure, o.bounds, func() Protocol { p = factory(); return p })
	return t, p, err
}

// ConnectAcceptedSocket makes a transport of a connected stream socket that was
// accepted elsewhere, and owns the descriptor from here on, also when it fails
// — except with loopnode.ErrInvalidArgument and loopnode.ErrWrongGoroutine,
// when it stays the caller's. It returns after ConnectionMade ran; call it in a
// task. With WithTLS it is the server of the handshake. asyncio: loop.connect_accepted_socket.
func ConnectAcceptedSocket[P Protocol](ctx context.Context, factory func() P, fd int, opts ...ConnOption) (Transport, P, error) {
	var p P
	if factory == nil {
		return nil, p, invalid("ConnectAcceptedSocket needs a factory, not nil")
	}
	o, err := collect(opts)
	if err != nil {
		return nil, p, err
	}
	secure, err := o.tls.server()
	if err != nil {
		return nil, p, err
	}
	l, err := base.Home(ctx)
	if err != nil {
		return nil, p, err
	}
	if err := adopt(l, fd); err != nil {
		return nil, p, err
	}
	if o.keepAlive {
		_ = sock.SetKeepAlive(fd) // a socket without it works, too
	}
	t, err := announce(ctx, fd, secure, o.bounds, func() Protocol { p = factory(); return p })
	return t, p, err
}

// adopt makes a descriptor of the caller's usable here.
func adopt(l *loopnode.Loop, fd int) error {
	if err := loopaccess.Of(l).Watched(fd); err != nil {
		return fmt.Errorf("%w: %w", loopnode.ErrInvalidArgument, err)
	}
	if err := sock.Adopt(fd); err != nil {
		return invalid("descriptor %d: a stream socket was expected: %v", fd, err)
	}
	return nil
}

// announce makes the transport of a connected socket and waits for
// ConnectionMade, behind the handshake if there is one.
func announce(ctx context.Context, fd int, secure *tlsSetup, b bounds, factory func() Protocol) (Transport, error) {
	l, err := base.Home(ctx)
	if err != nil {
		return nil, errors.Join(err, sock.Close(fd))
	}
	handed := false // to newConn
	defer func() {  // also when the factory leaves by Goexit
		if !handed {
			_ = sock.Close(fd)
		}
	}()
	p, err := base.FromFactory(factory, func() {})
	if err != nil {
		return nil, err
	}
	handed = true
	wrapped := secure.wrap(l, p)
	c, err := newConn(l, client{fd: fd}, wrapped, b)
	if err != nil {
		return nil, err
	}
	c.SetContext(l, ctx)
	t, err := c.announced(ctx)
	if tt, ok := wrapped.(*tlsTransport); ok && secure != nil && err == nil {
		return tt.announce(ctx)
	}
	return t, err
}

// announced waits until ConnectionMade ran.
func (c *conn) announced(ctx context.Context) (Transport, error) {
	if err := base.Announce(ctx, c.loop, c.start); err != nil {
		c.Abort()
		return nil, err
	}
	if err := c.notAnnounced(); err != nil {
		return nil, err
	}
	return c, nil
}

// dial looks up where to connect to and from, and connects.
func dial(ctx context.Context, network, address string, o options) (int, error) {
	l, err := base.Home(ctx)
	if err != nil {
		return -1, err
	}
	if o.socket >= 0 {
		if err := o.checkOnlySocket(network, address); err != nil {
			return -1, err
		}
		return o.socket, adopt(l, o.socket)
	}
	remote, err := resolve(ctx, network, address)
	if err != nil {
		return -1, err
	}
	var local []net.Addr
	if o.local != "" {
		if local, err = resolve(ctx, network, o.local); err != nil {
			return -1, err
		}
	}
	return connectFirst(ctx, l, remote, local, o)
}

// connectFirst connects to the first of remote that answers.
func connectFirst(ctx context.Context, l *loopnode.Loop, remote, local []net.Addr, o options) (int, error) {
	remote = interleave(remote, o)
	tries := make([]attempt, len(remote))
	for i, a := range remote {
		tries[i] = func(ctx context.Context) (int, error) { return connectFrom(ctx, l, a, local) }
	}
	run := inTurn
	if o.delay > 0 {
		run = race
	}
	fd, failed, err := run(ctx, o.delay, tries, func(fd int) { _ = sock.Close(fd) })
	switch {
	case err != nil:
		return -1, err
	case fd >= 0:
		return fd, nil
	case o.allErrors && len(failed) > 0:
		return -1, group("create_connection failed: ", failed)
	}
	return -1, together(failed)
}

// endsCaller reports whether err is the caller's end and not an address's.
func endsCaller(err error) bool {
	return errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrTimeout) || errors.Is(err, loopnode.ErrLoopClosed)
}

// connectFrom connects to a from the first of local that fits and can be bound.
func connectFrom(ctx context.Context, l *loopnode.Loop, a net.Addr, local []net.Addr) (int, error) {
	if local == nil {
		return connect(ctx, l, a, nil)
	}
	err := invalid("connecting to %s: no local address of its family was given", a)
	for _, from := range local {
		if sock.FamilyOf(from) != sock.FamilyOf(a) {
			continue
		}
		var fd int
		if fd, err = connect(ctx, l, a, from); err == nil || endsCaller(err) {
			return fd, err
		}
	}
	return -1, err
}

// connect makes one attempt. What it opened it closes, unless it returns it.
func connect(ctx context.Context, l *loopnode.Loop, a, from net.Addr) (int, error) {
	fd, done, err := dialRetrying(ctx, a, from)
	if err == nil && !done {
		if err = established(ctx, l, fd); err != nil {
			_ = sock.Close(fd)
		}
	}
	switch {
	case err == nil:
		return fd, nil
	case endsCaller(err):
		return -1, err
	case from != nil:
		return -1, fmt.Errorf("connect call failed (%s from %s): %w", a, from, err)
	}
	return -1, fmt.Errorf("connect call failed (%s): %w", a, err)
}

// established waits until the connect that was begun on fd is decided.
func established(ctx context.Context, l *loopnode.Loop, fd int) error {
	decided := loopnode.NewFuture[error](l)
	w, err := loopaccess.Of(l).Watch(fd, func() {}, func() {
		if !decided.Done() {
			_ = decided.SetResult(sock.Failure(fd))
		}
	})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Set(false, true); err != nil {
		return err
	}
	failure, err := decided.Await(ctx)
	return errors.Join(err, failure)
}

// together is one error for all attempts: itself when they say the same.
func together(errs []error) error {
	if len(errs) == 0 {
		return fmt.Errorf("%w: create_connection failed: no attempt said why", loopnode.ErrTimeout)
	}
	for _, err := range errs {
		if err.Error() != errs[0].Error() {
			return group("multiple exceptions: ", errs)
		}
	}
	return errs[0]
}

func group(text string, errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return &attempts{text + strings.Join(texts, ", "), errs}
}

type attempts struct {
	text string
	errs []error
}

func (a *attempts) Error() string   { return a.text }
func (a *attempts) Unwrap() []error { return a.errs }
