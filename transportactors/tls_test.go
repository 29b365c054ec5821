package transportactors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestTLSHandshake(t *testing.T) {
	world := theTLSWorld()
	t.Run("TLS-01 a protocol hears of a connection behind the handshake, and nothing of one that failed", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			here, there := newProbe(ctx), newProbe(ctx)
			secured := func(t Transport) {
				if !t.ExtraInfo("ssl_object").(tls.ConnectionState).HandshakeComplete {
					panic("announced before the handshake")
				}
			}
			here.onMade, there.onMade = secured, secured
			s, err := serveTLS(ctx, there)
			must(t, err)
			defer s.Close()
			at := s.Addrs()[0].String()
			for _, bad := range []ConnectOption{WithTLS(&tls.Config{}), WithServerHostname("other.test")} {
				p := newProbe(ctx)
				if tr, err := dialTLS(ctx, p, at, bad); err == nil || tr != nil {
					return fmt.Errorf("connected: %v, %w", tr, err)
				}
				if err := aWhile(ctx); err != nil || len(p.log)+len(there.log) != 0 {
					return fmt.Errorf("after a failed handshake %v and %v, %w", p.log, there.log, err)
				}
			}
			tr, err := dialTLS(ctx, here, at)
			must(t, err)
			if here.t != tr || !slices.Equal(here.log, []string{"made"}) {
				return fmt.Errorf("returned before ConnectionMade: %v", here.log)
			}
			there.onData = func(b []byte) { _ = there.t.Write(append([]byte("echo "), b...)) }
			must(t, tr.Write([]byte("hello")))
			must(t, eventually(ctx, func() bool { return string(here.data) == "echo hello" }))
			tr.Close()
			return errors.Join(here.wait(ctx), there.wait(ctx))
		})
	})
	t.Run("TLS-02 an empty configuration is a safe one; names can be left out, chains cannot", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serveTLS(ctx, newProbe(ctx))
			must(t, err)
			defer s.Close()
			at := s.Addrs()[0].String()
			var unknown x509.UnknownAuthorityError
			for _, name := range []string{"localhost", ""} {
				if _, err := dialTLS(ctx, newProbe(ctx), at, WithTLS(&tls.Config{}), WithServerHostname(name)); !errors.As(err, &unknown) {
					t.Errorf("an unknown authority gave %v", err)
				}
			}
			p := newProbe(ctx)
			tr, err := dialTLS(ctx, p, at, WithServerHostname(""))
			must(t, err)
			if cs := tr.ExtraInfo("ssl_object").(tls.ConnectionState); cs.Version < tls.VersionTLS12 || cs.ServerName != "" {
				t.Errorf("version %x, name %q", cs.Version, cs.ServerName)
			}
			tr.Close()
			for _, cfg := range []*tls.Config{nil, {}, {MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{world.server}}} {
				if _, err := CreateServer(ctx, func() Protocol { return p }, "tcp", "127.0.0.1:0", WithTLS(cfg)); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("a server took %v: %v", cfg, err)
				}
			}
			if _, err := dialTLS(ctx, p, at, WithTLS(nil)); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("a client took no configuration: %v", err)
			}
			return p.wait(ctx)
		})
	})
	t.Run("TLS-03 an unknown authority and a wrong name are errors of the call; the server serves on", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			s, err := serveTLS(ctx, there)
			must(t, err)
			at := s.Addrs()[0].String()
			var unknown x509.UnknownAuthorityError
			if _, err := dialTLS(ctx, newProbe(ctx), at, WithTLS(&tls.Config{})); !errors.As(err, &unknown) {
				t.Errorf("unknown authority: %v", err)
			}
			var name x509.HostnameError
			if _, err := dialTLS(ctx, newProbe(ctx), at, WithServerHostname("other.test")); !errors.As(err, &name) {
				t.Errorf("wrong name: %v", err)
			}
			must(t, aWhile(ctx))
			if len(there.log)+len(*told) != 0 {
				t.Errorf("the server's protocol heard %v, the handler %v", there.log, *told)
			}
			here := newProbe(ctx)
			_, err = dialTLS(ctx, here, at)
			must(t, err)
			here.t.Close()
			s.Close()
			return errors.Join(here.wait(ctx), s.WaitClosed(ctx))
		})
	})
	t.Run("a client's certificate is asked for and verified", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			cfg := world.serverConfig()
			cfg.ClientAuth = tls.RequireAndVerifyClientCert
			s, err := serveTLS(ctx, there, WithTLS(cfg))
			must(t, err)
			defer s.Close()
			here, nobody := newProbe(ctx), newProbe(ctx)
			_, err = dialTLS(ctx, here, s.Addrs()[0].String())
			must(t, err)
			must(t, eventually(ctx, func() bool { return there.t != nil }))
			if cert, _ := there.t.ExtraInfo("peercert").(*x509.Certificate); cert == nil || cert.Subject.CommonName != "client.test" {
				t.Errorf("peercert %v", cert)
			}
			here.t.Close()
			must(t, here.wait(ctx))
			// In TLS 1.3 the client hears of its refusal behind its own handshake.
			_, err = dialTLS(ctx, nobody, s.Addrs()[0].String(), WithTLS(&tls.Config{RootCAs: world.pool}))
			if err == nil {
				err = nobody.wait(ctx)
			}
			if err == nil || !strings.Contains(err.Error(), "certificate required") {
				t.Errorf("without a certificate: %v", err)
			}
			return there.wait(ctx)
		})
	})
	t.Run("protocols are negotiated, sessions resumed", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, client := world.serverConfig(), world.clientConfig()
			server.NextProtos, client.NextProtos = []string{"loop/2", "loop/1"}, []string{"loop/1"}
			client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			there := newProbe(ctx)
			there.onMade = func(t Transport) { _ = t.Write([]byte("x")) } // behind it the ticket has arrived
			s, err := serveTLS(ctx, there, WithTLS(server))
			must(t, err)
			for i := range 2 {
				there.lost = loopnode.NewFuture[error](s.loop)
				p := newProbe(ctx)
				tr, err := dialTLS(ctx, p, s.Addrs()[0].String(), WithTLS(client))
				must(t, err)
				must(t, eventually(ctx, func() bool { return len(p.data) == 1 }))
				cs := tr.ExtraInfo("ssl_object").(tls.ConnectionState)
				if cs.NegotiatedProtocol != "loop/1" || cs.DidResume != (i == 1) {
					t.Errorf("connection %d: %q, resumed %v", i, cs.NegotiatedProtocol, cs.DidResume)
				}
				tr.Close()
				must(t, p.wait(ctx))
				must(t, there.wait(ctx))
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("a callback of the configuration may wait, and one that panics costs its connection only", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			cfg := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName == "panic.test" {
					panic("no such name")
				}
				err := loopnode.Sleep(hello.Context(), time.Millisecond)
				return &world.server, err
			}}
			there := newProbe(ctx)
			s, err := serveTLS(ctx, there, WithTLS(cfg))
			must(t, err)
			if _, err := dialTLS(ctx, newProbe(ctx), s.Addrs()[0].String(), WithServerHostname("panic.test")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client of the panic got %v", err)
			}
			p := newProbe(ctx)
			client := world.clientConfig()
			client.VerifyConnection = func(tls.ConnectionState) error { panic("not this one") }
			_, err = dialTLS(ctx, p, s.Addrs()[0].String(), WithTLS(client), WithServerHostname("localhost"))
			var fault *guard.Panic
			if !errors.As(err, &fault) || fault.Value != "not this one" {
				t.Errorf("the panic came back as %v", err)
			}
			_, err = dialTLS(ctx, p, s.Addrs()[0].String(), WithServerHostname("localhost"))
			must(t, err)
			p.t.Close()
			s.Close()
			return errors.Join(p.wait(ctx), s.WaitClosed(ctx))
		})
	})
}

func TestTLSHandshakeThatFails(t *testing.T) {
	t.Run("TLS-04 a handshake has its time, a minute unless said, in both roles", func(t *testing.T) {
		o := tlsOptions{wanted: true, config: theTLSWorld().serverConfig()}
		setup, err := o.server()
		must(t, err)
		if setup.handshakeLimit != time.Minute || setup.shutdown != 30*time.Second {
			t.Errorf("the defaults are %s and %s", setup.handshakeLimit, setup.shutdown)
		}
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serveTLS(ctx, p, WithHandshakeTimeout(30*time.Millisecond))
			must(t, err)
			for _, sent := range []string{"", "\x16\x03\x01"} { // silent, and slow
				back, err := aside(ctx, func() ([]byte, error) {
					c, err := peer(s)
					if err != nil {
						return nil, err
					}
					defer c.Close()
					if _, err := io.WriteString(c, sent); err != nil {
						return nil, err
					}
					return io.ReadAll(c)
				})
				if err != nil || len(back) != 0 {
					t.Errorf("the silent client got %q, %v", back, err)
				}
			}
			s.Close()
			must(t, s.WaitClosed(ctx))
			address, outcome := listenOnce(t, func(c *net.TCPConn) error { _, err := io.Copy(io.Discard, c); return err })
			_, err = dialTLS(ctx, p, address, WithHandshakeTimeout(30*time.Millisecond))
			if !errors.Is(err, syscall.ECONNABORTED) || !errors.Is(err, loopnode.ErrTimeout) ||
				!strings.Contains(err.Error(), "SSL handshake is taking longer than 0.03 seconds: aborting the connection") {
				t.Errorf("the client got %v", err)
			}
			_, err = aside(ctx, outcome)
			if len(p.log)+len(*told) != 0 {
				t.Errorf("protocol %v, handler %v", p.log, *told)
			}
			return err
		})
	})
	t.Run("TLS-05 cancelling the wait aborts the connection and is told to nobody else", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			handshake := loopnode.NewFuture[int](p.lost.Loop())
			l := p.lost.Loop()
			address, outcome := listenOnce(t, func(c *net.TCPConn) error {
				if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
					return err
				}
				_ = l.Ref().CallSoonThreadsafe(func() { _ = handshake.SetResult(0) })
				_, err := io.Copy(io.Discard, c)
				return err
			})
			task := loopnode.CreateTask(ctx, "connect", func(ctx context.Context) (int, error) {
				_, err := dialTLS(ctx, p, address)
				return 0, err
			})
			_, err := handshake.Await(ctx)
			must(t, err)
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				t.Errorf("the call ended with %v", err)
			}
			_, err = aside(ctx, outcome) // saw the end of the stream
			if len(p.log)+len(*told) != 0 {
				t.Errorf("protocol %v, handler %v", p.log, *told)
			}
			return err
		})
	})
	t.Run("TLS-06 the end of the stream in a handshake is a reset, a loss is its own error", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, linger := range []int{-1, 0} { // an orderly end, a reset
				address, outcome := listenOnce(t, func(c *net.TCPConn) error {
					_, err := io.ReadFull(c, make([]byte, 5))
					return errors.Join(err, c.SetLinger(linger))
				})
				p := newProbe(ctx)
				if _, err := dialTLS(ctx, p, address); !errors.Is(err, syscall.ECONNRESET) || len(p.log) != 0 {
					t.Errorf("linger %d: %v, protocol %v", linger, err, p.log)
				}
				if _, err := aside(ctx, outcome); err != nil {
					return err
				}
			}
			return nil
		})
	})
	t.Run("handshakes that arrive together take turns, and the loop has turns between them", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			hello := firstFlight(t)
			l, turn, over := mustLoop(ctx), 0, false
			var tick func()
			tick = func() {
				if turn++; !over {
					l.CallSoon(tick)
				}
			}
			tick()
			var at []int
			cfg := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				at = append(at, turn)
				return &theTLSWorld().server, nil
			}}
			s, err := serveTLS(ctx, newProbe(ctx), WithTLS(cfg))
			must(t, err)
			const clients = 12
			for range clients { // nothing is read before all have written
				c, err := peer(s)
				must(t, err)
				defer c.Close()
				_, err = c.Write(hello)
				must(t, err)
			}
			must(t, eventually(ctx, func() bool { return len(at) == clients }))
			over = true
			if len(slices.Compact(slices.Clone(at))) != clients {
				t.Errorf("the handshakes ran in turns %v", at)
			}
			s.Close()
			s.AbortClients()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("a peer that speaks something else is named as such", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			address, outcome := listenOnce(t, func(c *net.TCPConn) error {
				_, err := io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
				_, _ = io.Copy(io.Discard, c) // until we hang up
				return err
			})
			_, err := dialTLS(ctx, newProbe(ctx), address)
			if err == nil || !strings.Contains(err.Error(), `does not speak TLS (it began with "HTTP/")`) {
				t.Errorf("got %v", err)
			}
			_, err = aside(ctx, outcome)
			return err
		})
	})
	t.Run("DBG-09 a failed handshake of a client is told in debug mode only", func(t *testing.T) {
		for _, debug := range []bool{false, true} {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				p := newProbe(ctx)
				p.lost.Loop().SetDebug(debug)
				s, err := serveTLS(ctx, p)
				must(t, err)
				_, _ = dialTLS(ctx, newProbe(ctx), s.Addrs()[0].String(), WithTLS(&tls.Config{}))
				must(t, eventually(ctx, func() bool { return s.count == 0 }))
				heard := len(*told) == 1 && (*told)[0].Message == "Error on transport creation for incoming connection"
				if heard != debug || len(*told) > 1 {
					t.Errorf("debug %v: told %v", debug, *told)
				}
				s.Close()
				return nil
			})
		}
	})
	t.Run("TLS-07 nothing is left of a handshake or a shutdown but what is collected", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var left []weak.Pointer[tlsTransport]
			s, err := serveTLS(ctx, newProbe(ctx))
			must(t, err)
			good, bad := newProbe(ctx), newProbe(ctx)
			good.onMade = func(tr Transport) { left = append(left, weak.Make(tr.(*tlsTransport))) }
			_, err = dialTLS(ctx, good, s.Addrs()[0].String())
			must(t, err)
			if timer := good.t.(*tlsTransport).timer; !timer.Cancelled() {
				t.Error("the timer of the handshake still runs")
			}
			good.t.Close()
			if timer := good.t.(*tlsTransport).timer; timer.Cancelled() {
				t.Error("no timer of the shutdown runs")
			}
			must(t, good.wait(ctx))
			if timer := good.t.(*tlsTransport).timer; !timer.Cancelled() {
				t.Error("the timer of the shutdown still runs")
			}
			good.t = nil
			client := theTLSWorld().clientConfig()
			client.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not this one") }
			gone := weak.Make(client)
			_, _ = dialTLS(ctx, bad, s.Addrs()[0].String(), WithTLS(client))
			client = nil
			s.Close()
			s.AbortClients()
			must(t, s.WaitClosed(ctx))
			return eventually(ctx, func() bool {
				runtime.GC()
				return left[0].Value() == nil && gone.Value() == nil
			})
		})
	})
}

func TestTLSArguments(t *testing.T) {
	refused := func(t *testing.T, ctx context.Context, network, address string, opts ...ConnectOption) {
		t.Helper()
		p := newProbe(ctx)
		if _, _, err := CreateConnection(ctx, func() *probe { return p }, network, address, opts...); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Errorf("a client to %s %s got %v", network, address, err)
		}
	}
	withTLS := WithTLS(theTLSWorld().clientConfig())
	t.Run("CON-16 a server's name without TLS is refused, the empty one too", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			refused(t, ctx, "tcp", "127.0.0.1:1", WithServerHostname("x"))
			refused(t, ctx, "tcp", "127.0.0.1:1", WithServerHostname(""))
			return nil
		})
	})
	t.Run("CON-17 the host is the name asked for; without one it must be said; an empty one asks for none", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for given, want := range map[string]string{"host": "localhost", "other": "localhost", "none": ""} {
				var asked string
				address, outcome := listenTLS(t, theTLSWorld().serverConfig(), func(c *tls.Conn) error {
					err := c.Handshake()
					asked = c.ConnectionState().ServerName
					return err
				})
				_, port, _ := net.SplitHostPort(address)
				opts := []ConnectOption{withTLS}
				switch given {
				case "host":
					address = net.JoinHostPort("localhost", port)
				case "other":
					opts = append(opts, WithServerHostname("localhost"))
				default:
					opts = append(opts, WithServerHostname(""))
				}
				p := newProbe(ctx)
				_, err := dialTLS(ctx, p, address, opts...)
				must(t, err)
				p.t.Close()
				if _, err := aside(ctx, outcome); err != nil || asked != want {
					t.Errorf("%s: asked for %q, %v", given, asked, err)
				}
				must(t, p.wait(ctx))
			}
			refused(t, ctx, "tcp", ":1", withTLS)
			return nil
		})
	})
	t.Run("CON-18 times without TLS, and times that are none, are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, opt := range []func(time.Duration) ConnOption{
				func(d time.Duration) ConnOption { return WithHandshakeTimeout(d) },
				func(d time.Duration) ConnOption { return WithShutdownTimeout(d) },
			} {
				refused(t, ctx, "tcp", "127.0.0.1:1", opt(time.Second))
				refused(t, ctx, "tcp", "127.0.0.1:1", withTLS, opt(0))
				refused(t, ctx, "tcp", "127.0.0.1:1", withTLS, opt(-time.Second))
				if _, err := serve(ctx, newProbe(ctx), opt(time.Second)); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("a plain server got %v", err)
				}
				if _, err := serveTLS(ctx, newProbe(ctx), opt(0)); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("a server without time got %v", err)
				}
				if _, _, err := ConnectAcceptedSocket(ctx, func() *probe { return newProbe(ctx) }, -1, opt(time.Second)); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("a plain accepted socket got %v", err)
				}
			}
			return nil
		})
	})
	t.Run("UNX-07 a path has no name to verify: it must be said", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := filepath.Join(t.TempDir(), "s")
			there, here := newProbe(ctx), newProbe(ctx)
			s, err := CreateServer(ctx, func() Protocol { return there }, "unix", path, WithTLS(theTLSWorld().serverConfig()))
			must(t, err)
			defer s.Close()
			refused(t, ctx, "unix", path, withTLS)
			refused(t, ctx, "unix", path, WithServerHostname("localhost"))
			refused(t, ctx, "unix", path, WithHandshakeTimeout(time.Second))
			if _, err := CreateServer(ctx, func() Protocol { return there }, "unix", path+"2", WithTLS(nil)); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("a server without a configuration got %v", err)
			}
			_, _, err = CreateConnection(ctx, func() *probe { return here }, "unix", path, withTLS, WithServerHostname("localhost"))
			must(t, err)
			for _, tr := range []Transport{here.t, here.t.(*tlsTransport).lower.(*conn)} {
				if err := SendFiles(tr, []byte("plain"), os.Stdin); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("files under TLS: %v", err)
				}
			}
			must(t, here.t.Write([]byte("over a path")))
			must(t, eventually(ctx, func() bool { return string(there.data) == "over a path" }))
			here.t.Close()
			return errors.Join(here.wait(ctx), there.wait(ctx))
		})
	})
	t.Run("TLS-29 a configuration that allows renegotiation is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			cfg := theTLSWorld().clientConfig()
			cfg.Renegotiation = tls.RenegotiateFreelyAsClient
			refused(t, ctx, "tcp", "127.0.0.1:1", WithTLS(cfg))
			return nil
		})
	})
}
