package transportactors

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// cup is a BufferedProtocol with little room.
type cup struct {
	*probe
	room     [16]byte
	asked    int
	onUpdate func()
}

func (c *cup) GetBuffer(int) []byte { c.asked++; return c.room[:] }
func (c *cup) BufferUpdated(n int) {
	c.DataReceived(c.room[:n])
	if c.onUpdate != nil {
		c.onUpdate()
	}
}

func TestTLSFlow(t *testing.T) {
	t.Run("TLS-08 what a TLS connection can tell about itself", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			cs, _ := here.t.ExtraInfo("ssl_object").(tls.ConnectionState)
			cipher, _ := here.t.ExtraInfo("cipher").(Cipher)
			if cipher.Name != tls.CipherSuiteName(cs.CipherSuite) || cipher.Protocol != "TLS 1.3" || cipher.Bits < 128 {
				return fmt.Errorf("cipher %+v", cipher)
			}
			if here.t.ExtraInfo("peercert") != cs.PeerCertificates[0] || there.t.ExtraInfo("peercert") != nil {
				return errors.New("the server's certificate is verified, the client gave none")
			}
			cfg, _ := there.t.ExtraInfo("sslcontext").(*tls.Config)
			if cfg == nil || cfg.MinVersion != tls.VersionTLS12 || here.t.ExtraInfo("compression") != nil || here.t.ExtraInfo("nonsense") != nil {
				return fmt.Errorf("context %v", cfg)
			}
			socket, _ := here.t.ExtraInfo("socket").(*Socket)
			if socket == nil || socket.FD() < 0 || fmt.Sprint(here.t.ExtraInfo("sockname")) != fmt.Sprint(there.t.ExtraInfo("peername")) {
				return fmt.Errorf("socket %v, addresses %v and %v", socket, here.t.ExtraInfo("sockname"), there.t.ExtraInfo("peername"))
			}
			return nil
		})
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			// The context is there from the start, the rest behind the handshake.
			var early *tlsTransport
			client := theTLSWorld().clientConfig()
			l, err := loopnode.Running(ctx)
			must(t, err)
			client.VerifyConnection = func(tls.ConnectionState) error {
				for _, name := range []string{"ssl_object", "cipher", "peercert"} {
					if early.ExtraInfo(name) != nil {
						return errors.New(name + " is there in the handshake")
					}
				}
				if early.ExtraInfo("sslcontext") == nil || early.ExtraInfo("peername") == nil {
					return errors.New("no context in the handshake")
				}
				return nil
			}
			s, err := serveTLS(ctx, newProbe(ctx))
			must(t, err)
			here := newProbe(ctx)
			tr, _, err := CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String())
			must(t, err)
			setup, err := startSetup(client, false, []StartTLSOption{WithServerHostname("localhost")})
			must(t, err)
			early = newTLS(l, setup, here)
			tr.SetProtocol(early)
			early.attach(tr.(tlsLower))
			must(t, early.doHandshake(ctx))
			early.Abort()
			s.Close()
			s.AbortClients()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("TLS-09 the output cannot end alone; the wish to keep the connection is noted and not granted", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			if err := here.t.WriteEOF(); here.t.CanWriteEOF() || !errors.Is(err, ErrNoWriteEOF) {
				return fmt.Errorf("WriteEOF gave %w", err)
			}
			return nil
		})
		var noted bytes.Buffer
		l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &noted})})
		must(t, err)
		defer l.Close()
		_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			here, there := newProbe(ctx), newProbe(ctx)
			there.onEOF = func() bool { return true }
			s, err := serveTLS(ctx, there)
			if err != nil {
				return 0, err
			}
			defer s.Close()
			if _, err = dialTLS(ctx, here, s.Addrs()[0].String()); err != nil {
				return 0, err
			}
			here.t.Close()
			return 0, errors.Join(here.wait(ctx), there.wait(ctx))
		}))
		must(t, err)
		if !bytes.Contains(noted.Bytes(), []byte("returning true from EOFReceived has no effect on TLS")) {
			t.Errorf("the log has %q", noted.String())
		}
	})
	t.Run("TLS-10 the marks are eight times the plain ones and the high one is inclusive", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, _ *probe) error {
			for _, c := range []struct{ high, low, wantHigh, wantLow int }{
				{-1, -1, 512 << 10, 128 << 10}, {4000, -1, 4000, 1000}, {-1, 1000, 4000, 1000}, {10, 10, 10, 10}, {0, 0, 0, 0},
			} {
				err := here.t.SetWriteBufferLimits(c.high, c.low)
				if high, low := here.t.WriteBufferLimits(); err != nil || low != c.wantLow || high != c.wantHigh {
					return fmt.Errorf("%d and %d became %d and %d, %w", c.high, c.low, high, low, err)
				}
			}
			if err := here.t.SetWriteBufferLimits(1, 2); !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("low above high gave %w", err)
			}
			return nil
		})
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			// A transport that takes nothing: what is written is what is queued.
			lower := &sink{loop: mustLoop(ctx)}
			p := newProbe(ctx)
			client, server := overSink(t, ctx, lower, p)
			defer server()
			const high = 100_000
			must(t, client.SetWriteBufferLimits(high, 1000))
			lower.stuck = true
			must(t, client.Write(make([]byte, 1000)))
			lower.queue(high - 1 - lower.WriteBufferSize())
			if client.WriteBufferSize() != high-1 || slices.Contains(p.log, "pause") {
				return fmt.Errorf("%d bytes queued, log %v", client.WriteBufferSize(), p.log)
			}
			lower.queue(1)
			if client.WriteBufferSize() != high || !slices.Contains(p.log, "pause") {
				return fmt.Errorf("at the mark %d bytes queued, log %v", client.WriteBufferSize(), p.log)
			}
			lower.drain(1001)
			if slices.Contains(p.log, "resume") {
				return fmt.Errorf("above the low mark: log %v", p.log)
			}
			lower.drain(1000)
			return logged(p, "made", "pause", "resume")
		})
	})
	t.Run("TLS-11 the size counts what waits below: a large write from idle is seen and pauses", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			_ = there.t.PauseReading()
			_ = here.t.Write(pattern(8 << 20))
			if size := here.t.WriteBufferSize(); size < 512<<10 || !slices.Contains(here.log, "pause") {
				return fmt.Errorf("%d bytes queued, log %v", size, here.log)
			}
			_ = there.t.ResumeReading()
			if err := eventually(ctx, func() bool { return len(there.data) == 8<<20 }); err != nil {
				return err
			}
			if !bytes.Equal(there.data, pattern(8<<20)) || here.t.WriteBufferSize() != 0 {
				return errors.New("the bytes changed on the way")
			}
			return logged(here, "made", "pause", "resume")
		})
	})
	t.Run("what a protocol writes when it is paused comes behind the write that paused it", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			_ = there.t.PauseReading()
			here.onPause = func() { _ = here.t.Write([]byte("inside")) }
			_ = here.t.Writelines([][]byte{pattern(4 << 20), pattern(4 << 20)})
			_ = there.t.ResumeReading()
			want := slices.Concat(pattern(4<<20), pattern(4<<20), []byte("inside"))
			if err := eventually(ctx, func() bool { return len(there.data) == len(want) }); err != nil {
				return err
			}
			if !bytes.Equal(there.data, want) {
				return errors.New("the order changed")
			}
			return nil
		})
	})
	t.Run("TLS-20 a pause holds back what is decrypted already; resuming delivers it later", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there, here := &cup{probe: newProbe(ctx)}, newProbe(ctx)
			there.onUpdate = func() { _ = there.t.PauseReading() }
			s, err := CreateServer(ctx, func() Protocol { return there }, "tcp", "127.0.0.1:0", WithTLS(theTLSWorld().serverConfig()))
			must(t, err)
			_, err = dialTLS(ctx, here, s.Addrs()[0].String())
			must(t, err)
			must(t, here.t.Write(pattern(100)))
			must(t, eventually(ctx, func() bool { return len(there.data) > 0 }))
			must(t, aWhile(ctx))
			if len(there.data) != 16 || there.t.IsReading() {
				return fmt.Errorf("%d bytes came while paused", len(there.data))
			}
			must(t, there.t.ResumeReading())
			if len(there.data) != 16 {
				return errors.New("delivered inside ResumeReading")
			}
			must(t, eventually(ctx, func() bool { return len(there.data) == 32 }))
			here.t.Close() // its goodbye waits behind what is not read
			must(t, aWhile(ctx))
			if slices.Contains(there.log, "eof") {
				return fmt.Errorf("log %v", there.log)
			}
			there.t.Close() // while paused
			s.Close()
			if err := errors.Join(here.wait(ctx), there.wait(ctx), s.WaitClosed(ctx)); err != nil {
				return err
			}
			if len(there.data) != 32 {
				return fmt.Errorf("%d bytes came behind Close", len(there.data))
			}
			return nil
		})
	})
	t.Run("TLS-20 while reading is paused a peer's reset is not told; it is once reading is resumed", func(t *testing.T) {
		pause := func(_ context.Context, p *probe) { p.onMade = func(tr Transport) { _ = tr.PauseReading() } }
		reset := func(c *tls.Conn) error {
			if err := raw(c).SetLinger(0); err != nil {
				return err
			}
			return raw(c).TCPConn.Close()
		}
		withScript(t, pause, reset, func(ctx context.Context, p *probe, _ []loopnode.ExceptionContext) error {
			must(t, eventually(ctx, func() bool { return len(p.log) > 0 }))
			must(t, aWhile(ctx))
			if len(p.log) != 1 || p.t.IsClosing() {
				return fmt.Errorf("while paused: %v", p.log)
			}
			must(t, p.t.ResumeReading())
			if err := p.wait(ctx); !errors.Is(err, syscall.ECONNRESET) {
				return fmt.Errorf("the reason is %w", err)
			}
			return nil
		})
		// What bounds it: nothing moves on a dead connection.
		withScript(t, pause, reset, func(ctx context.Context, p *probe, _ []loopnode.ExceptionContext) error {
			if err := p.wait(ctx); !errors.Is(err, loopnode.ErrTimeout) {
				return fmt.Errorf("the reason is %w", err)
			}
			return nil
		}, WithIdleTimeout(200*time.Millisecond))
	})
	t.Run("TLS-21 the records of one read come as one; a small buffer is filled again and again", func(t *testing.T) {
		send := func(c *tls.Conn) error {
			raw(c).hold()
			for range 5 {
				if _, err := io.WriteString(c, "a record of its own."); err != nil {
					return err
				}
			}
			if err := raw(c).release(); err != nil {
				return err
			}
			_, err := io.ReadAll(c)
			return err
		}
		withScript(t, func(_ context.Context, p *probe) {
			p.onData = func(b []byte) { p.t.Close() }
		}, send, func(ctx context.Context, p *probe, _ []loopnode.ExceptionContext) error {
			if len(p.data) != 100 {
				return fmt.Errorf("%q came as one", p.data)
			}
			return nil
		})
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := &cup{probe: newProbe(ctx)}
			there.onUpdate = func() {
				if len(there.data) == 100 {
					there.t.Close()
				}
			}
			s, err := CreateServer(ctx, func() Protocol { return there }, "tcp", "127.0.0.1:0", WithTLS(theTLSWorld().serverConfig()))
			must(t, err)
			must(t, script(ctx, s, send))
			_ = there.wait(ctx) // the client hung up
			if there.asked < 7 || len(there.data) != 100 {
				t.Errorf("asked %d times for %d bytes", there.asked, len(there.data))
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("a TLS transport has a Ref and can be found by it", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			ref := here.t.Ref()
			found, ok := Lookup(ref.Address())
			if !ok || found != ref {
				return errors.New("not found")
			}
			if _, err := aside(ctx, func() (int, error) { return 0, found.Write([]byte("from afar")) }); err != nil {
				return err
			}
			if err := eventually(ctx, func() bool { return string(there.data) == "from afar" }); err != nil {
				return err
			}
			if _, err := aside(ctx, func() (int, error) { return 0, ref.Close() }); err != nil {
				return err
			}
			if err := here.wait(ctx); err != nil {
				return err
			}
			if _, ok := Lookup(ref.Address()); ok || !errors.Is(ref.Write(nil), ErrClosed) {
				return errors.New("found after the end")
			}
			return nil
		})
	})
}

func mustLoop(ctx context.Context) *loopnode.Loop {
	l, err := loopnode.Running(ctx)
	if err != nil {
		panic(err)
	}
	return l
}
