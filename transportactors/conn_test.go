package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestEcho(t *testing.T) {
	t.Run("PRO-03 the end of the stream closes behind what was written", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			p.onData = func(b []byte) { _ = p.t.Write(b) }
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			back, err := aside(ctx, func() ([]byte, error) { return talk(s, "hello") })
			if err != nil {
				return err
			}
			if string(back) != "hello" {
				return fmt.Errorf("got %q back", back)
			}
			if err := p.wait(ctx); err != nil {
				return err
			}
			if want := []string{"made", "data", "eof", "lost"}; !slices.Equal(p.log, want) {
				return fmt.Errorf("got %v, want %v", p.log, want)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
}

func TestOrder(t *testing.T) {
	t.Run("CON-02 the await returns after ConnectionMade; data comes behind it", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			there.onMade = func(t Transport) { _ = t.Write([]byte("welcome")) }
			s, err := serve(ctx, there)
			if err != nil {
				return err
			}
			defer s.Close()
			tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if !slices.Equal(here.log, []string{"made"}) && !slices.Equal(here.log, []string{"made", "data"}) {
				return fmt.Errorf("at return: %v", here.log)
			}
			if here.t != tr || tr.Protocol() != any(here) {
				return errors.New("transport and protocol do not know each other")
			}
			there.t.Close()
			if err := here.wait(ctx); err != nil {
				return err
			}
			if want := []string{"made", "data", "eof", "lost"}; !slices.Equal(here.log, want) || string(here.data) != "welcome" {
				return fmt.Errorf("got %v %q", here.log, here.data)
			}
			return nil
		})
	})
}

// pattern is n bytes that tell where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestWriteThenClose(t *testing.T) {
	t.Run("TRN-01 8 MiB written before Close arrive whole, the loss comes behind", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			big := pattern(8 << 20)
			p := newProbe(ctx)
			inside, late := false, error(nil)
			p.onLost = func(error) {
				if inside {
					panic("the loss came inside Close")
				}
			}
			p.onMade = func(t Transport) {
				mine := slices.Clone(big)
				_ = t.Write(mine)
				clear(mine) // WRT-03: what waits is a copy
				inside = true
				t.Close()
				inside = false
				late = t.Write([]byte("late"))
			}
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			defer s.Close()
			got, err := aside(ctx, func() ([]byte, error) {
				c, err := peer(s)
				if err != nil {
					return nil, err
				}
				defer c.Close()
				return io.ReadAll(c)
			})
			if err != nil {
				return err
			}
			if !bytes.Equal(got, big) {
				return fmt.Errorf("got %d bytes, not the %d sent", len(got), len(big))
			}
			if !errors.Is(late, ErrClosed) {
				return fmt.Errorf("a write after close gave %v", late)
			}
			if err := p.wait(ctx); err != nil {
				return fmt.Errorf("the reason is %w", err)
			}
			return nil
		})
	})
}

func TestReset(t *testing.T) {
	t.Run("TRN-06 a reset is the reason of the loss", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = aside(ctx, func() (int, error) {
				c, err := peer(s)
				if err != nil {
					return 0, err
				}
				return 0, errors.Join(c.SetLinger(0), c.Close())
			})
			if err != nil {
				return err
			}
			if reason := p.wait(ctx); !errors.Is(reason, syscall.ECONNRESET) {
				return fmt.Errorf("the reason is %v", reason)
			}
			if len(*told) != 0 {
				return fmt.Errorf("the exception handler heard %v", *told)
			}
			if err := p.t.Write([]byte("x")); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("a write after the loss gave %v", err)
			}
			return nil
		})
	})
}

func TestPanics(t *testing.T) {
	for name, plant := range map[string]func(p *probe){
		"ConnectionMade": func(p *probe) { p.onMade = func(Transport) { panic("planted") } },
		"DataReceived":   func(p *probe) { p.onData = func([]byte) { panic("planted") } },
		"EOFReceived":    func(p *probe) { p.onEOF = func() bool { panic("planted") } },
		"PauseWriting": func(p *probe) {
			p.onPause = func() { panic("planted") }
			p.onData = func([]byte) { _ = p.t.SetWriteBufferLimits(0, 0); _ = p.t.Write(make([]byte, 32<<20)) }
		},
		"ResumeWriting": func(p *probe) {
			p.onResume = func() { panic("planted") }
			p.onData = func([]byte) { _ = p.t.Write(make([]byte, 8<<20)) }
		},
		"ConnectionLost": func(p *probe) { p.onLost = func(error) { panic("planted") } },
	} {
		t.Run(name+" costs its own connection only", func(t *testing.T) {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				bad, good := newProbe(ctx), newProbe(ctx)
				plant(bad)
				good.onData = func(b []byte) { _ = good.t.Write(b) }
				next := []*probe{bad, good}
				s, err := CreateServer(ctx, func() Protocol { p := next[0]; next = next[1:]; return p }, "tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				// A reset while the client still reads is as good an end as any.
				if _, err := aside(ctx, func() (int, error) { _, err := talk(s, "bad"); return 0, reset(err) }); err != nil {
					return err
				}
				reason, err := bad.lost.Await(ctx)
				if err != nil {
					return err
				}
				var p *guard.Panic
				if name != "ConnectionLost" && !(errors.As(reason, &p) && p.Value == "planted") {
					return fmt.Errorf("the reason is %v", reason)
				}
				back, err := aside(ctx, func() ([]byte, error) { return talk(s, "good") })
				if err != nil || string(back) != "good" {
					return fmt.Errorf("the other connection: %q, %v", back, err)
				}
				s.Close()
				if err := s.WaitClosed(ctx); err != nil {
					return err
				}
				if n := len(*told); n != 1 || !errors.As((*told)[0].Exception, &p) {
					return fmt.Errorf("the exception handler heard %v", *told)
				}
				if got := bad.t.ExtraInfo("socket").(*Socket).FD(); got != -1 {
					return fmt.Errorf("the descriptor %d is open", got)
				}
				return nil
			})
		})
	}
}

func reset(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}

func TestHalfClose(t *testing.T) {
	t.Run("PRO-04 a kept connection can still write; WRT-13 its WriteEOF comes behind the queue", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			big := pattern(4 << 20)
			p := newProbe(ctx)
			var after error
			p.onEOF = func() bool {
				_ = p.t.Write(big)
				_ = p.t.WriteEOF()
				after = p.t.Write([]byte("x"))
				return true
			}
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			defer s.Close()
			got, err := aside(ctx, func() ([]byte, error) { return talk(s, "question") })
			if err != nil {
				return err
			}
			if !bytes.Equal(got, big) || string(p.data) != "question" {
				return fmt.Errorf("got %d bytes for %q", len(got), p.data)
			}
			if !errors.Is(after, ErrWriteEOF) {
				return fmt.Errorf("a write after WriteEOF gave %v", after)
			}
			if p.t.IsClosing() {
				return errors.New("the connection was not kept")
			}
			p.t.Close()
			return p.wait(ctx)
		})
	})
}

func TestExtraInfo(t *testing.T) {
	t.Run("TRN-09 facts are kept beyond the end", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			defer s.Close()
			tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if fd := tr.ExtraInfo("socket").(*Socket).FD(); fd < 0 {
				return fmt.Errorf("descriptor %d", fd)
			}
			tr.Abort()
			if err := here.wait(ctx); err != nil {
				return err
			}
			if got := tr.ExtraInfo("peername").(*net.TCPAddr).String(); got != s.Addrs()[len(s.Addrs())-1].String() {
				return fmt.Errorf("peername %s", got)
			}
			if tr.ExtraInfo("sockname") == nil || tr.ExtraInfo("nothing") != nil {
				return errors.New("sockname or an unknown name")
			}
			return nil
		})
	})
}
