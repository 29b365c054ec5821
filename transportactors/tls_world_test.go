package transportactors

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// serveTLS is serve with TLS.
func serveTLS(ctx context.Context, p *probe, opts ...ServerOption) (*Server, error) {
	return serve(ctx, p, append([]ServerOption{WithTLS(theTLSWorld().serverConfig())}, opts...)...)
}

// tlsPeer is a client made with packages net and crypto/tls, over held.
func tlsPeer(s *Server) (*tls.Conn, error) {
	c, err := peer(s)
	if err != nil {
		return nil, err
	}
	cfg := theTLSWorld().clientConfig()
	cfg.ServerName = "localhost"
	return tls.Client(&held{TCPConn: c}, cfg), nil
}

// raw is the socket under a tlsPeer.
func raw(c *tls.Conn) *held { return c.NetConn().(*held) }

// held is a socket that can hold back what is written and send it at once.
type held struct {
	*net.TCPConn
	mu      sync.Mutex
	holding bool
	kept    []byte
}

func (h *held) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holding {
		h.kept = append(h.kept, p...)
		return len(p), nil
	}
	return h.TCPConn.Write(p)
}

// SetWriteDeadline does nothing: crypto/tls sets one behind its goodbye.
func (h *held) SetWriteDeadline(time.Time) error { return nil }

// hold keeps what is written from here on.
func (h *held) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = true
}

// release sends it in one piece.
func (h *held) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = false
	_, err := h.TCPConn.Write(h.kept)
	h.kept = nil
	return err
}

// script runs fn as a client of s that has handshakeDone hands.
func script(ctx context.Context, s *Server, fn func(c *tls.Conn) error) error {
	_, err := aside(ctx, func() (int, error) {
		c, err := tlsPeer(s)
		if err != nil {
			return 0, err
		}
		err = c.Handshake()
		if err == nil {
			err = fn(c)
		}
		_ = c.NetConn().Close()
		return 0, err
	})
	return err
}

// withScript is a TLS server of ours with p, and a client that runs fn.
func withScript(t *testing.T, prepare func(ctx context.Context, p *probe), fn func(c *tls.Conn) error, check func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error, opts ...ServerOption) {
	t.Helper()
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		p := newProbe(ctx)
		prepare(ctx, p)
		s, err := serveTLS(ctx, p, opts...)
		if err != nil {
			return err
		}
		err = script(ctx, s, fn)
		if err == nil {
			err = check(ctx, p, *told)
		}
		s.Close()
		s.AbortClients()
		return errors.Join(err, s.WaitClosed(ctx))
	})
}

// nothing prepares nothing.
func nothing(context.Context, *probe) {}

// listenOnce is a server made with package net for one client.
func listenOnce(t *testing.T, handle func(c *net.TCPConn) error) (address string, outcome func() (int, error)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	// goroutine: owner: the test; ends when its only client is served.
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			err = handle(c.(*net.TCPConn))
			_ = c.Close()
		}
		ended <- errors.Join(err, ln.Close())
	}()
	return ln.Addr().String(), func() (int, error) { return 0, <-ended }
}

// listenTLS is listenOnce with crypto/tls.
func listenTLS(t *testing.T, cfg *tls.Config, handle func(c *tls.Conn) error) (address string, outcome func() (int, error)) {
	t.Helper()
	return listenOnce(t, func(c *net.TCPConn) error {
		tc := tls.Server(&held{TCPConn: c}, cfg)
		return errors.Join(handle(tc), tc.Close())
	})
}

// dialTLS connects p to address, with the test's authority known.
func dialTLS(ctx context.Context, p *probe, address string, opts ...ConnectOption) (Transport, error) {
	t, _, err := CreateConnection(ctx, func() *probe { return p }, "tcp", address,
		append([]ConnectOption{WithTLS(theTLSWorld().clientConfig())}, opts...)...)
	return t, err
}

// withinTLS is within, encrypted.
func withinTLS(t *testing.T, fn func(ctx context.Context, here, there *probe) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		here, there := newProbe(ctx), newProbe(ctx)
		s, err := serveTLS(ctx, there)
		if err != nil {
			return err
		}
		if _, err = dialTLS(ctx, here, s.Addrs()[0].String()); err != nil {
			return err
		}
		if err = eventually(ctx, func() bool { return there.t != nil }); err == nil {
			err = fn(ctx, here, there)
		}
		s.Close()
		here.t.Abort()
		s.AbortClients()
		return errors.Join(err, s.WaitClosed(ctx))
	})
}

// eventually lets the loop turn until cond holds.
func eventually(ctx context.Context, cond func() bool) error {
	for !cond() {
		if err := loopnode.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// aWhile lets the loop turn for a while, for what must not happen.
func aWhile(ctx context.Context) error { return loopnode.Sleep(ctx, 30*time.Millisecond) }
