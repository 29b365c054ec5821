package transportactors

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// logged reports a protocol that heard something else than want.
func logged(p *probe, want ...string) error {
	if !slices.Equal(p.log, want) {
		return fmt.Errorf("the protocol heard %v, want %v", p.log, want)
	}
	return nil
}

func TestTLSEnd(t *testing.T) {
	t.Run("TLS-12 close sends the rest, says goodbye and waits for the peer's; both ends hear of the end", func(t *testing.T) {
		const size = 4 << 20
		withScript(t, func(_ context.Context, p *probe) {
			p.onMade = func(tr Transport) { _ = tr.Write(pattern(size)); tr.Close() }
		}, func(c *tls.Conn) error {
			back, err := io.ReadAll(c) // its end is the closing alert
			if err != nil || !bytes.Equal(back, pattern(size)) {
				return fmt.Errorf("got %d bytes, %w", len(back), err)
			}
			_ = c.NetConn().SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := raw(c).Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("the connection did not wait for our goodbye: %d, %w", n, err)
			}
			_ = c.NetConn().SetReadDeadline(time.Now().Add(patience))
			if err := c.CloseWrite(); err != nil {
				return err
			}
			_, err = raw(c).Read(make([]byte, 1))
			if err != io.EOF {
				return fmt.Errorf("behind the goodbyes came %w", err)
			}
			return nil
		}, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
			err := p.wait(ctx)
			slices.Sort(p.log)
			p.log = slices.Compact(p.log) // flow control may have spoken
			p.log = slices.DeleteFunc(p.log, func(s string) bool { return s == "pause" || s == "resume" })
			return errors.Join(err, logged(p, "eof", "lost", "made"))
		})
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			here.t.Close()
			if !here.t.IsClosing() || here.log[len(here.log)-1] == "lost" {
				return errors.New("not closing, or lost inside Close")
			}
			return errors.Join(here.wait(ctx), there.wait(ctx), logged(here, "made", "eof", "lost"), logged(there, "made", "eof", "lost"))
		})
	})
	t.Run("TLS-13 a peer that does not answer, or does not read, has its time", func(t *testing.T) {
		for _, pending := range []int{0, 8 << 20} {
			lost := make(chan struct{})
			withScript(t, func(_ context.Context, p *probe) {
				p.onMade = func(tr Transport) { _ = tr.Write(pattern(pending)); tr.Close() }
				p.onLost = func(error) { close(lost) }
			}, func(c *tls.Conn) error {
				<-lost
				return nil
			}, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
				reason := p.wait(ctx)
				if !errors.Is(reason, loopnode.ErrTimeout) || !strings.Contains(reason.Error(), "SSL shutdown timed out") || len(told) != 0 {
					return fmt.Errorf("with %d bytes pending: %w, told %v", pending, reason, told)
				}
				return nil
			}, WithShutdownTimeout(50*time.Millisecond))
		}
	})
	t.Run("TLS-14 behind the peer's goodbye its data is delivered and ours is still sent", func(t *testing.T) {
		const size = 1 << 20
		withScript(t, func(_ context.Context, p *probe) {
			p.onEOF = func() bool { _ = p.t.Write(append([]byte(string(p.data)+" "), pattern(size)...)); return false }
		}, func(c *tls.Conn) error {
			raw(c).hold()
			if _, err := io.WriteString(c, "last words"); err != nil {
				return err
			}
			if err := errors.Join(c.CloseWrite(), raw(c).release()); err != nil {
				return err
			}
			back, err := io.ReadAll(c)
			if want := append([]byte("last words "), pattern(size)...); err != nil || !bytes.Equal(back, want) {
				return fmt.Errorf("got %d bytes back, %w", len(back), err)
			}
			return nil
		}, func(ctx context.Context, p *probe, _ []loopnode.ExceptionContext) error {
			if err := p.wait(ctx); err != nil {
				return err
			}
			p.log = slices.DeleteFunc(p.log, func(s string) bool { return s == "pause" || s == "resume" })
			return logged(p, "made", "data", "eof", "lost")
		})
	})
	t.Run("TLS-15 a stream that is cut is no orderly end, unless that is asked for", func(t *testing.T) {
		cut := func(c *tls.Conn) error {
			if _, err := io.WriteString(c, "half a mess"); err != nil {
				return err
			}
			return raw(c).Close()
		}
		withScript(t, nothing, cut, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
			if reason := p.wait(ctx); !errors.Is(reason, ErrTruncated) || string(p.data) != "half a mess" || len(told) != 0 {
				return fmt.Errorf("the reason is %w, the data %q, told %v", reason, p.data, told)
			}
			return logged(p, "made", "data", "lost")
		})
		withScript(t, nothing, cut, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
			return errors.Join(p.wait(ctx), logged(p, "made", "data", "eof", "lost"))
		}, WithRaggedEOF())
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			address, outcome := listenTLS(t, theTLSWorld().serverConfig(), cut)
			s, err := OpenConnection(ctx, "tcp", address, WithTLS(theTLSWorld().clientConfig()))
			must(t, err)
			back, err := io.ReadAll(s)
			if string(back) != "half a mess" || !errors.Is(err, ErrTruncated) {
				t.Errorf("the stream read %q, %v", back, err)
			}
			_, _ = aside(ctx, outcome) // it cannot say goodbye any more
			return nil
		})
	})
	t.Run("TLS-16 what comes behind our goodbye is forgotten", func(t *testing.T) {
		withScript(t, func(_ context.Context, p *probe) {
			p.onMade = func(tr Transport) { tr.Close() }
		}, func(c *tls.Conn) error {
			if _, err := io.ReadAll(c); err != nil {
				return err
			}
			for range 64 {
				if _, err := c.Write(pattern(16 << 10)); err != nil {
					return err
				}
			}
			return c.CloseWrite()
		}, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
			if len(told) != 0 {
				return fmt.Errorf("told %v", told)
			}
			return errors.Join(p.wait(ctx), logged(p, "made", "eof", "lost"))
		})
	})
	t.Run("TLS-17 a write behind the end is an error of the call and queues nothing", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			here.t.Close()
			for range 7 {
				if err := here.t.Write([]byte("x")); !errors.Is(err, ErrClosed) {
					return fmt.Errorf("a write behind Close gave %w", err)
				}
			}
			if err := here.wait(ctx); err != nil {
				return err
			}
			if err := here.t.Write([]byte("x")); !errors.Is(err, ErrClosed) || here.t.WriteBufferSize() != 0 {
				return fmt.Errorf("a write behind the loss gave %w, %d bytes queued", err, here.t.WriteBufferSize())
			}
			if err := here.t.Writelines([][]byte{{1}, {2}}); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("many gave %w", err)
			}
			return nil
		})
	})
	t.Run("TLS-18 a connection that dies while output is pending is lost once", func(t *testing.T) {
		withScript(t, func(_ context.Context, p *probe) {
			p.onMade = func(tr Transport) { _ = tr.Write(pattern(8 << 20)) }
		}, func(c *tls.Conn) error {
			if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
				return err
			}
			return errors.Join(raw(c).SetLinger(0), raw(c).Close())
		}, func(ctx context.Context, p *probe, _ []loopnode.ExceptionContext) error {
			reason := p.wait(ctx)
			if !errors.Is(reason, syscall.ECONNRESET) && !errors.Is(reason, syscall.EPIPE) {
				return fmt.Errorf("the reason is %w", reason)
			}
			err := aWhile(ctx)
			p.log = slices.DeleteFunc(p.log, func(s string) bool { return s == "pause" })
			return errors.Join(err, logged(p, "made", "lost"))
		})
	})
	t.Run("TLS-19 garbage ends the connection: told behind the handshake, silent before it", func(t *testing.T) {
		withScript(t, nothing, func(c *tls.Conn) error {
			if _, err := io.WriteString(raw(c), "GET / HTTP/1.0\r\n\r\n"); err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, raw(c))
			return nil
		}, func(ctx context.Context, p *probe, told []loopnode.ExceptionContext) error {
			var header tls.RecordHeaderError
			if reason := p.wait(ctx); !errors.As(reason, &header) || len(told) != 1 {
				return fmt.Errorf("the reason is %w, told %v", reason, told)
			}
			return logged(p, "made", "lost")
		})
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serveTLS(ctx, p)
			must(t, err)
			_, err = aside(ctx, func() ([]byte, error) { return talk(s, "GET / HTTP/1.0\r\n\r\n") })
			if err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client got %v", err)
			}
			s.Close()
			must(t, s.WaitClosed(ctx))
			if len(*told) != 0 {
				t.Errorf("told %v", *told)
			}
			return logged(p)
		})
	})
	t.Run("TLS-22 closing twice is harmless; the protocol is the application's", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			second := newProbe(ctx)
			if here.t.Protocol() != here {
				return errors.New("the protocol is not the one that was given")
			}
			here.t.SetProtocol(second)
			if here.t.Protocol() != second {
				return errors.New("the protocol cannot be changed")
			}
			_ = there.t.Write([]byte("to the second"))
			if err := eventually(ctx, func() bool { return string(second.data) == "to the second" }); err != nil {
				return err
			}
			here.t.Close()
			here.t.Close()
			if err := second.wait(ctx); err != nil {
				return err
			}
			here.t.Close()
			here.t.Abort()
			if err := errors.Join(here.t.PauseReading(), here.t.ResumeReading(), logged(here, "made"), logged(second, "data", "eof", "lost")); err != nil {
				return err
			}
			if c, ok := here.t.ExtraInfo("cipher").(Cipher); !ok || c.Bits < 128 || here.t.ExtraInfo("peername") == nil || here.t.Protocol() != nil {
				return fmt.Errorf("after the end: %v, %v", c, here.t.Protocol())
			}
			return nil
		})
	})
	t.Run("aborting says nothing to the peer, which sees a cut", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			here.t.Abort()
			if err := here.wait(ctx); err != nil {
				return err
			}
			if err := there.wait(ctx); !errors.Is(err, ErrTruncated) {
				return fmt.Errorf("the peer heard %w", err)
			}
			return nil
		})
	})
	t.Run("a protocol that panics ends its connection with it; the loop that closes ends the rest", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			there, here := newProbe(ctx), newProbe(ctx)
			there.onData = func([]byte) { panic("bad data") }
			s, err := serveTLS(ctx, there)
			must(t, err)
			_, err = dialTLS(ctx, here, s.Addrs()[0].String())
			must(t, err)
			must(t, here.t.Write([]byte("x")))
			if reason := there.wait(ctx); reason == nil || reason.Error() != "panic: bad data" || len(*told) != 1 {
				t.Errorf("reason %v, told %v", reason, *told)
			}
			// One in the handshake, one open: the loop's close ends both.
			_, err = aside(ctx, func() (net.Conn, error) {
				c, err := peer(s)
				if err == nil {
					_, err = c.Write([]byte{22, 3, 1})
					t.Cleanup(func() { _ = c.Close() })
				}
				return c, err
			})
			must(t, err)
			there.onData = nil
			last := newProbe(ctx)
			there.lost = loopnode.NewFuture[error](s.loop)
			_, err = dialTLS(ctx, last, s.Addrs()[0].String())
			return err
		})
	})
}
