package transportactors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// serveTLS is serve with TLS.
func serveTLS(ctx context.Context, p *probe, opts ...Option) (*Server, error) {
	return serve(ctx, p, append([]Option{WithTLS(theTLSWorld().serverConfig())}, opts...)...)
}

// tlsPeer is a client made with packages net and crypto/tls.
func tlsPeer(s *Server) (*tls.Conn, error) {
	c, err := peer(s)
	if err != nil {
		return nil, err
	}
	cfg := theTLSWorld().clientConfig()
	cfg.ServerName = "localhost"
	tc := tls.Client(c, cfg)
	return tc, tc.Handshake()
}

// tlsListener is a server made with packages net and crypto/tls; each client is
// given to handle, whose error the returned function tells.
func tlsListener(t *testing.T, cfg *tls.Config, handle func(c *tls.Conn) error) (address string, outcome func() (int, error)) {
	t.Helper()
	return plainListener(t, func(c *net.TCPConn) error {
		tc := tls.Server(c, cfg)
		return errors.Join(handle(tc), tc.Close())
	})
}

func plainListener(t *testing.T, handle func(c *net.TCPConn) error) (address string, outcome func() (int, error)) {
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

func connectTLS(ctx context.Context, p *probe, address string, opts ...Option) (Transport, error) {
	t, _, err := CreateConnection(ctx, func() *probe { return p }, "tcp", address,
		append([]Option{WithTLS(theTLSWorld().clientConfig())}, opts...)...)
	return t, err
}

func TestTLSServer(t *testing.T) {
	t.Run("TLS-01 a protocol hears of a connection behind the handshake", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			var secured bool
			p.onMade = func(t Transport) { secured = t.ExtraInfo("ssl_object").(tls.ConnectionState).HandshakeComplete }
			p.onData = func(b []byte) { must(t, p.t.Write(append([]byte("echo "), b...))) }
			s, err := serveTLS(ctx, p)
			must(t, err)
			got, err := aside(ctx, func() (string, error) {
				c, err := tlsPeer(s)
				if err != nil {
					return "", err
				}
				defer c.Close()
				if _, err := io.WriteString(c, "hello"); err != nil {
					return "", err
				}
				buf := make([]byte, 10)
				n, err := io.ReadFull(c, buf)
				return string(buf[:n]), err
			})
			must(t, err)
			if got != "echo hello" || !secured {
				t.Errorf("got %q, secured %v", got, secured)
			}
			must(t, p.wait(ctx))
			if want := []string{"made", "data", "eof", "lost"}; !slices.Equal(p.log, want) {
				t.Errorf("log %v", p.log)
			}
			s.Close()
			must(t, s.WaitClosed(ctx))
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return nil
		})
	})
}

func TestTLSClient(t *testing.T) {
	t.Run("CON-17 the host is the name that is asked for; the connection works", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var asked string
			address, outcome := tlsListener(t, theTLSWorld().serverConfig(), func(c *tls.Conn) error {
				if _, err := io.WriteString(c, "welcome"); err != nil {
					return err
				}
				asked = c.ConnectionState().ServerName
				_, err := io.Copy(c, c)
				return err
			})
			_, port, _ := net.SplitHostPort(address)
			p := newProbe(ctx)
			enough := loopnode.NewFuture[int](p.lost.Loop())
			p.onData = func([]byte) {
				if len(p.data) == len("welcome")+1<<20 {
					_ = enough.SetResult(0)
				}
			}
			tr, err := connectTLS(ctx, p, net.JoinHostPort("localhost", port))
			must(t, err)
			big := []byte(strings.Repeat("x", 1<<20))
			must(t, tr.Write(big))
			_, err = enough.Await(ctx)
			must(t, err)
			tr.Close()
			must(t, p.wait(ctx))
			_, err = aside(ctx, outcome)
			must(t, err)
			if asked != "localhost" {
				t.Errorf("asked for %q", asked)
			}
			return nil
		})
	})
	t.Run("TLS-03 an unknown authority and a wrong name are errors of the call", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serveTLS(ctx, p)
			must(t, err)
			stranger := func(cfg *tls.Config, opts ...Option) error {
				q := newProbe(ctx)
				_, _, err := CreateConnection(ctx, func() *probe { return q }, "tcp", s.Addrs()[0].String(),
					append([]Option{WithTLS(cfg)}, opts...)...)
				if err != nil && len(q.log) != 0 {
					t.Errorf("the client's protocol heard %v", q.log)
				}
				return err
			}
			var unknown x509.UnknownAuthorityError
			if err := stranger(&tls.Config{}); !errors.As(err, &unknown) {
				t.Errorf("unknown authority: %v", err)
			}
			var name x509.HostnameError
			if err := stranger(theTLSWorld().clientConfig(), WithServerHostname("other.test")); !errors.As(err, &name) {
				t.Errorf("wrong name: %v", err)
			}
			if len(p.log) != 0 {
				t.Errorf("the server's protocol heard %v", p.log)
			}
			must(t, stranger(theTLSWorld().clientConfig(), WithServerHostname(""))) // and the server still serves
			s.Close()
			s.AbortClients()
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return nil
		})
	})
}
