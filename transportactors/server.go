package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Server accepts connections and makes a protocol for each. Owned by the loop's
// goroutine, as are all its methods. asyncio.Server.
type Server struct {
	loop        *loopnode.Loop
	number      uint64
	ctx         context.Context // of its connections
	factory     func() Protocol
	listeners   []*listener
	backlog     int
	tls         *tlsSetup     // nil without
	bounds      bounds        // of its connections
	serverLoops []*serverLoop // the loops that connections live on
	next        int           // of serverLoops: which gets the next connection
	serving     bool
	closed      bool
	count       int // connections on all loops, and on their way to them
	waiters     base.Waiters
	forever     *loopnode.Future[struct{}] // ServeForever waits for it
	failed      atomic.Uint64
}

// CreateServer listens on address ("host:port", an empty host for every
// interface, port 0 for any free one; a path for unix) and calls factory for
// each connection, on the connection's loop. It returns when clients can
// connect. A name is looked up first: call it in a task. With WithSocket network
// and address are empty. Errors: the kernel's (EADDRINUSE, …), *net.DNSError,
// loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop. A factory that panics
// costs its connection only. A protocol learns its loop in ConnectionMade, as
// Transport.Loop, and a loopnode.PerLoop is the state that all protocols of a loop
// share. asyncio: loop.create_server.
func CreateServer[P Protocol](ctx context.Context, factory func() P, network, address string, opts ...ServerOption) (*Server, error) {
	if factory == nil {
		return nil, invalid("CreateServer needs a factory, not nil")
	}
	o, err := collect(opts)
	if err != nil {
		return nil, err
	}
	if err := o.fits(network); err != nil {
		return nil, err
	}
	return createServer(ctx, func() Protocol { return factory() }, network, address, o)
}

func createServer(ctx context.Context, factory func() Protocol, network, address string, o options) (*Server, error) {
	secure, err := o.tls.server()
	if err != nil {
		return nil, err
	}
	l, err := base.Home(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{loop: l, ctx: loopaccess.Of(l).Detach(ctx), factory: factory, backlog: o.backlog, tls: secure, bounds: o.bounds}
	if err := s.openListeners(ctx, network, address, o); err != nil {
		return nil, err
	}
	s.number = nextServer(l)
	base.Enter(served{s})
	if err := s.begin(ctx, o); err != nil {
		s.AbortClients()
		s.Close()
		return nil, err
	}
	return s, nil
}

// serversKey is the key under which a loop keeps the number of its newest server.
type serversKey struct{}

// nextServer is the number of the next server on l. Loop goroutine.
func nextServer(l *loopnode.Loop) uint64 {
	last, _ := loopaccess.Of(l).Attached(serversKey{}).(uint64)
	loopaccess.Of(l).Attach(serversKey{}, last+1)
	return last + 1
}

// Number tells the servers of one loop apart: the first one is 1, and no number is used
// again while the loop lives. Any goroutine.
func (s *Server) Number() uint64 { return s.number }

// Failed is how many accepted connections never came to be: the factory failed,
// the transport could not be made, or the TLS handshake failed. Debug mode
// reports each. Any goroutine.
func (s *Server) Failed() uint64 { return s.failed.Load() }

// begin finds the connections' loops and lets clients in.
func (s *Server) begin(ctx context.Context, o options) error {
	if err := s.addLoops(ctx, o.loops); err != nil || o.bindOnly {
		return err
	}
	if err := s.StartServing(); err != nil {
		return err
	}
	return loopnode.Sleep(ctx, 0)
}

// StartServing lets clients in; repeating it does nothing. ErrClosed after Close.
func (s *Server) StartServing() error {
	if err := s.checkGoroutine("StartServing"); err != nil {
		return err
	}
	switch {
	case s.closed:
		return fmt.Errorf("%w: the server", ErrClosed)
	case s.serving:
		return nil
	}
	for _, ln := range s.listeners {
		if err := ln.open(); err != nil {
			return fmt.Errorf("listening on %s: %w", ln.addr, err)
		}
	}
	s.serving = true
	return nil
}

// IsServing reports whether clients are let in.
func (s *Server) IsServing() bool { return s.serving && !s.closed }

// Loop is where the server lives.
func (s *Server) Loop() *loopnode.Loop { return s.loop }

// Sockets are its listening sockets, to be looked at; none after Close.
// asyncio: Server.sockets.
func (s *Server) Sockets() []*Socket {
	var out []*Socket
	for _, ln := range s.listeners {
		out = append(out, ln.socket)
	}
	return out
}

// Addrs are the addresses it listens on; none after Close.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, ln := range s.listeners {
		out = append(out, ln.addr)
	}
	return out
}

// Close refuses new clients from here on and leaves the connections alone. A
// running ServeForever ends. Repeating it does nothing.
func (s *Server) Close() {
	if s.checkGoroutine("Close") == nil {
		s.end()
	}
}

// checkGoroutine refuses, in debug mode, a call from another goroutine than the loop's.
func (s *Server) checkGoroutine(method string) error {
	return base.CheckGoroutine(s.loop, "Server."+method, "Loop.Ref().CallSoonThreadsafe")
}

func (s *Server) end() {
	if s.closed {
		return
	}
	s.closed = true
	s.closeListeners()
	base.Leave(served{s})
	if s.forever != nil {
		s.forever.Cancel("the server was closed")
	}
	s.settle()
}

func (s *Server) closeListeners() {
	for _, ln := range s.listeners {
		ln.close()
	}
	s.listeners = nil
}

func (s *Server) loopClosed() {
	s.end()
	for _, b := range s.serverLoops {
		b.leave() // nobody counts any more
	}
}

// CloseClients closes every connection of this server; see Transport.Close.
func (s *Server) CloseClients() {
	if s.checkGoroutine("CloseClients") != nil {
		return
	}
	for _, b := range s.serverLoops {
		b.each(Transport.Close)
	}
}

// AbortClients aborts every connection of this server; see Transport.Abort.
func (s *Server) AbortClients() {
	if s.checkGoroutine("AbortClients") != nil {
		return
	}
	for _, b := range s.serverLoops {
		b.each(Transport.Abort)
	}
}

// WaitClosed waits until the server is closed and its last connection is gone.
// Call it in a task. Errors: what ended the wait early.
func (s *Server) WaitClosed(ctx context.Context) error {
	if err := base.RequireContext(ctx, "WaitClosed"); err != nil {
		return err
	}
	if s.closed && s.count == 0 {
		return nil
	}
	return s.waiters.Wait(ctx, s.loop)
}

// Scope calls fn and then closes the server and waits until its last connection is
// gone, whatever fn returned. It leaves the
// connections alone, so end them in fn (CloseClients) unless their peers do. Call it in a
// task. It returns what fn returned, joined with what ended the wait early. When fn
// panics or calls runtime.Goexit the server is closed, and nothing is waited for.
// asyncio: async with server.
func (s *Server) Scope(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := base.RequireContext(ctx, "Scope"); err != nil {
		return err
	}
	if fn == nil {
		return invalid("Scope needs a function, not nil")
	}
	defer s.Close()
	err := fn(ctx)
	s.Close()
	return errors.Join(err, s.WaitClosed(ctx))
}

// settle wakes who waits for the end of everything.
func (s *Server) settle() {
	if !s.closed || s.count > 0 {
		return
	}
	for _, b := range s.serverLoops {
		b.leave()
	}
	s.serverLoops = nil
	s.waiters.Wake()
}

// ServeForever lets clients in and waits until the task is cancelled or the
// server is closed; then it closes the server, waits for its connections, and
// returns an error that is loopnode.ErrCancelled. That wait lasts as long as the
// last client stays, and a second cancellation ends it: whoever wants the clients to
// go calls CloseClients or AbortClients, or uses Scope in place of ServeForever. ErrClosed
// on a closed server, loopnode.ErrBusy when it is called twice. asyncio:
// Server.serve_forever, which waits in the same way since 3.12.
func (s *Server) ServeForever(ctx context.Context) error {
	if err := base.RequireContext(ctx, "ServeForever"); err != nil {
		return err
	}
	if s.forever != nil {
		return fmt.Errorf("%w: ServeForever runs already", loopnode.ErrBusy)
	}
	if err := s.StartServing(); err != nil {
		return err
	}
	s.forever = loopnode.NewFuture[struct{}](s.loop)
	_, err := s.forever.Await(ctx)
	s.forever = nil
	s.Close()
	return errors.Join(err, s.WaitClosed(ctx))
}
