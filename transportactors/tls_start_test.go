package transportactors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// serveUpgrade is a plain server whose protocol answers the first bytes with
// "go" and then speaks TLS.
func serveUpgrade(ctx context.Context, there *probe, p Protocol, opts ...StartTLSOption) (*Server, *loopnode.Future[Transport], error) {
	upgraded := loopnode.NewFuture[Transport](there.lost.Loop())
	there.onData = func(b []byte) {
		there.onData, there.data = nil, nil
		_ = there.t.Write([]byte("go"))
		task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (Transport, error) {
			t, err := StartTLS(ctx, there.t, p, theTLSWorld().serverConfig(), true, opts...)
			there.log = append(there.log, "returned")
			return t, err
		})
		task.AddDoneCallback(func(f *loopnode.Future[Transport]) {
			if t, err := f.Result(); err != nil {
				_ = upgraded.SetException(err)
			} else {
				_ = upgraded.SetResult(t)
			}
		})
	}
	s, err := serve(ctx, there)
	return s, upgraded, err
}

// upgradePeer asks for TLS and shakes hands when told so.
func upgradePeer(s *Server, change ...func(*tls.Config)) (*tls.Conn, error) {
	c, err := peer(s)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, "STARTTLS"); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		return nil, err
	}
	cfg := theTLSWorld().clientConfig()
	cfg.ServerName = "localhost"
	for _, fn := range change {
		fn(cfg)
	}
	return tls.Client(&held{TCPConn: c}, cfg), nil
}

func TestStartTLS(t *testing.T) {
	t.Run("TLS-23 an open connection becomes TLS, on both sides, without a second ConnectionMade", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			there, here := newProbe(ctx), newProbe(ctx)
			s, upgraded, err := serveUpgrade(ctx, there, there)
			must(t, err)
			plain, _, err := CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String())
			must(t, err)
			ref := plain.Ref()
			must(t, plain.Write([]byte("STARTTLS")))
			must(t, eventually(ctx, func() bool { return string(here.data) == "go" }))
			secure, err := StartTLS(ctx, plain, here, theTLSWorld().clientConfig(), false, WithServerHostname("localhost"))
			must(t, err)
			if secure == plain || secure.Protocol() != here || secure.ExtraInfo("cipher") == nil {
				return errors.New("not a new transport of the same protocol")
			}
			other, err := upgraded.Await(ctx)
			must(t, err)
			must(t, secure.Write([]byte("secret")))
			must(t, eventually(ctx, func() bool { return string(there.data) == "secret" }))
			must(t, ref.Write([]byte(" and by the old address"))) // not in plain
			must(t, eventually(ctx, func() bool { return string(there.data) == "secret and by the old address" }))
			if found, ok := Lookup(ref.Address()); !ok || found != secure.Ref() {
				return errors.New("the old address does not lead to the new transport")
			}
			if plain.Ref() != secure.Ref() {
				return errors.New("a ref asked of the old transport goes under TLS")
			}
			if tr, err := StartTLS(ctx, plain, here, theTLSWorld().clientConfig(), false, WithServerHostname("localhost")); tr != nil || !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("the old transport was taken again: %v, %w", tr, err)
			}
			there.t = other
			s.CloseClients() // says goodbye: the server knows the new transport
			s.Close()
			if err := errors.Join(here.wait(ctx), there.wait(ctx), s.WaitClosed(ctx)); err != nil {
				return err
			}
			return errors.Join(logged(here, "made", "data", "eof", "lost"), logged(there, "made", "data", "returned", "data", "data", "eof", "lost"))
		})
	})
	t.Run("TLS-24 a protocol with its own memory can be upgraded; a handshake that a stream has read ahead is not lost", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			small := &cup{probe: newProbe(ctx)}
			s, upgraded, err := serveUpgrade(ctx, there, small)
			must(t, err)
			_, err = aside(ctx, func() (int, error) {
				c, err := upgradePeer(s)
				if err != nil {
					return 0, err
				}
				defer c.Close()
				return c.Write(pattern(100))
			})
			must(t, err)
			_, err = upgraded.Await(ctx)
			must(t, err)
			if err := small.wait(ctx); err != nil || !bytes.Equal(small.data, pattern(100)) {
				return fmt.Errorf("the small cup got %d bytes, %w", len(small.data), err)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := StartServer(ctx, func(ctx context.Context, s *Stream) error {
				if _, err := io.ReadFull(s, make([]byte, 8)); err != nil {
					return err
				}
				if _, err := io.WriteString(s, "go"); err != nil {
					return err
				}
				if err := eventually(ctx, func() bool { return len(s.unread) > 5 }); err != nil { // the client was faster
					return err
				}
				if err := s.StartTLS(theTLSWorld().serverConfig(), true); err != nil {
					return err
				}
				_, err := io.Copy(s, s)
				return err
			}, "tcp", "127.0.0.1:0")
			must(t, err)
			back, err := aside(ctx, func() (string, error) {
				c, err := upgradePeer(s)
				if err != nil {
					return "", err
				}
				defer c.Close()
				if _, err := io.WriteString(c, "hello"); err != nil {
					return "", err
				}
				buf := make([]byte, 5)
				_, err = io.ReadFull(c, buf)
				return string(buf), err
			})
			if err != nil || back != "hello" {
				return fmt.Errorf("%q came back, %w", back, err)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("plain bytes that were sent ahead are refused and stay readable", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			refused := loopnode.NewFuture[error](mustLoop(ctx))
			s, err := StartServer(ctx, func(ctx context.Context, s *Stream) error {
				lines := bufio.NewReaderSize(s, 16)
				if _, err := lines.ReadString('\n'); err != nil {
					return err
				}
				if err := eventually(ctx, func() bool { return len(s.unread) > 0 }); err != nil {
					return err
				}
				_ = refused.SetResult(s.StartTLS(theTLSWorld().serverConfig(), true))
				rest, err := io.ReadAll(lines)
				if !strings.HasPrefix(string(rest), "evil") {
					err = errors.Join(err, fmt.Errorf("the rest was %q", rest))
				}
				return err
			}, "tcp", "127.0.0.1:0")
			must(t, err)
			_, err = aside(ctx, func() ([]byte, error) { return talk(s, "STARTTLS 123456\nevil command\r\n") })
			must(t, err)
			reason, err := refused.Await(ctx)
			if !errors.Is(reason, loopnode.ErrInvalidArgument) || !strings.Contains(reason.Error(), "plain bytes are buffered; refusing StartTLS") {
				t.Errorf("StartTLS gave %v, %v", reason, err)
			}
			s.Close()
			must(t, s.WaitClosed(ctx))
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return nil
		})
	})
	t.Run("what is sent in plain behind the switch is never taken for data", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			s, upgraded, err := serveUpgrade(ctx, there, there)
			must(t, err)
			_, err = aside(ctx, func() (int, error) {
				c, err := peer(s)
				if err != nil {
					return 0, err
				}
				defer c.Close()
				if _, err := io.WriteString(c, "STARTTLS"); err != nil {
					return 0, err
				}
				if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
					return 0, err
				}
				_, err = io.WriteString(c, "evil command\r\n")
				_, _ = io.Copy(io.Discard, c)
				return 0, err
			})
			must(t, err)
			if _, err := upgraded.Await(ctx); err == nil {
				t.Error("plain bytes passed for a handshake")
			}
			if reason := there.wait(ctx); reason == nil || len(there.data) != 0 {
				t.Errorf("reason %v, data %q", reason, there.data)
			}
			s.Close()
			return errors.Join(s.WaitClosed(ctx), logged(there, "made", "data", "returned", "lost"))
		})
	})
	t.Run("TLS-25 what is no configuration and what is no stream is refused and stays as it was", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			cfg := theTLSWorld().clientConfig()
			cfg.ServerName = "localhost"
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			defer r.Close()
			defer w.Close()
			piped := newProbe(ctx)
			pipe, _, err := ConnectReadPipe(ctx, func() *probe { return piped }, r)
			if err != nil {
				return err
			}
			for name, attempt := range map[string]func() (Transport, error){
				"no configuration": func() (Transport, error) { return StartTLS(ctx, here.t, here, nil, false) },
				"no name":          func() (Transport, error) { return StartTLS(ctx, here.t, here, &tls.Config{}, false) },
				"no certificate":   func() (Transport, error) { return StartTLS(ctx, here.t, here, &tls.Config{}, true) },
				"no protocol":      func() (Transport, error) { return StartTLS(ctx, here.t, nil, cfg, false) },
				"no transport":     func() (Transport, error) { return StartTLS(ctx, nil, here, cfg, false) },
				"no time":          func() (Transport, error) { return StartTLS(ctx, here.t, here, cfg, false, WithHandshakeTimeout(0)) },
				"a pipe":           func() (Transport, error) { return StartTLS(ctx, pipe, piped, cfg, false) },
			} {
				if tr, err := attempt(); tr != nil || !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("%s gave %v, %w", name, tr, err)
				}
			}
			pipe.Abort()
			_ = here.t.Write([]byte("still plain"))
			if err := eventually(ctx, func() bool { return string(there.data) == "still plain" }); err != nil {
				return err
			}
			here.t.Close()
			if _, err := StartTLS(ctx, here.t, here, cfg, false); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("a closed transport gave %w", err)
			}
			return piped.wait(ctx)
		})
	})
	t.Run("TLS-26 data right behind the handshake comes when the caller has the transport", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			s, upgraded, err := serveUpgrade(ctx, there, there)
			must(t, err)
			_, err = aside(ctx, func() (int, error) {
				// The last flight of a TLS 1.3 client is sent when it has verified the
				// server. It and the first data leave in one piece.
				var h *held
				c, err := upgradePeer(s, func(cfg *tls.Config) {
					cfg.VerifyConnection = func(tls.ConnectionState) error { h.hold(); return nil }
				})
				if err != nil {
					return 0, err
				}
				defer c.Close()
				h = raw(c)
				if _, err := io.WriteString(c, "at once"); err != nil {
					return 0, err
				}
				return 0, h.release()
			})
			must(t, err)
			_, err = upgraded.Await(ctx)
			must(t, err)
			must(t, there.wait(ctx))
			s.Close()
			return errors.Join(s.WaitClosed(ctx), logged(there, "made", "data", "returned", "data", "eof", "lost"))
		})
	})
	t.Run("TLS-27 TLS over TLS works, and both layers say goodbye", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there, here := newProbe(ctx), newProbe(ctx)
			s, err := serveTLS(ctx, there)
			must(t, err)
			outer, err := dialTLS(ctx, here, s.Addrs()[0].String())
			must(t, err)
			must(t, eventually(ctx, func() bool { return there.t != nil }))
			accepting := loopnode.CreateTask(ctx, "", func(ctx context.Context) (Transport, error) {
				return StartTLS(ctx, there.t, there, theTLSWorld().serverConfig(), true)
			})
			inner, err := StartTLS(ctx, outer, here, theTLSWorld().clientConfig(), false, WithServerHostname("localhost"))
			must(t, err)
			there.t, err = accepting.Await(ctx)
			must(t, err)
			there.onData = func(b []byte) { _ = there.t.Write(b) }
			must(t, inner.Write(pattern(1<<20)))
			must(t, eventually(ctx, func() bool { return len(here.data) == 1<<20 }))
			if !bytes.Equal(here.data, pattern(1<<20)) {
				return errors.New("the bytes changed on the way")
			}
			inner.Close()
			return errors.Join(here.wait(ctx), there.wait(ctx))
		})
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			address, outcome := listenTLS(t, theTLSWorld().serverConfig(), func(c *tls.Conn) error {
				inner := tls.Server(c, theTLSWorld().serverConfig())
				if _, err := io.Copy(inner, inner); err != nil { // ends with the inner goodbye
					return err
				}
				if err := inner.CloseWrite(); err != nil {
					return err
				}
				_, err := io.ReadAll(c) // ends with the outer goodbye
				return err
			})
			here := newProbe(ctx)
			outer, err := dialTLS(ctx, here, address)
			must(t, err)
			inner, err := StartTLS(ctx, outer, here, theTLSWorld().clientConfig(), false, WithServerHostname("localhost"))
			must(t, err)
			must(t, inner.Write(pattern(100_000)))
			must(t, eventually(ctx, func() bool { return len(here.data) == 100_000 }))
			inner.Close()
			must(t, here.wait(ctx))
			_, err = aside(ctx, outcome)
			return err
		})
	})
	t.Run("TLS-28 cancelling StartTLS ends the connection, which the peer sees", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			cfg := theTLSWorld().clientConfig()
			cfg.ServerName = "localhost"
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (Transport, error) {
				return StartTLS(ctx, here.t, here, cfg, false)
			})
			if err := eventually(ctx, func() bool { return len(there.data) > 0 }); err != nil { // the first flight
				return err
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				return fmt.Errorf("StartTLS ended with %w", err)
			}
			return errors.Join(here.wait(ctx), there.wait(ctx), logged(here, "made", "lost"))
		})
	})
}

func TestTLSStream(t *testing.T) {
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		s, err := StartServer(ctx, func(_ context.Context, s *Stream) error {
			lines := bufio.NewScanner(s)
			for lines.Scan() {
				if _, err := fmt.Fprintf(s, "<%s>\n", lines.Text()); err != nil {
					return err
				}
			}
			return lines.Err()
		}, "tcp", "127.0.0.1:0", WithTLS(theTLSWorld().serverConfig()))
		must(t, err)
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String(), WithTLS(theTLSWorld().clientConfig()))
		must(t, err)
		back := bufio.NewReader(c)
		for range 3 {
			if _, err := io.WriteString(c, "line\n"); err != nil {
				return err
			}
			if line, err := back.ReadString('\n'); err != nil || line != "<line>\n" {
				return fmt.Errorf("got %q, %w", line, err)
			}
		}
		if err := c.CloseWrite(); !errors.Is(err, ErrNoWriteEOF) {
			t.Errorf("CloseWrite gave %v", err)
		}
		_ = c.Close()
		must(t, c.WaitClosed())
		s.Close()
		must(t, s.WaitClosed(ctx))
		if len(*told) != 0 {
			t.Errorf("told %v", *told)
		}
		return nil
	})
}
