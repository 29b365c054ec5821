package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestSendError(t *testing.T) {
	t.Run("WRT-08 a send error drops the buffer and is the reason, quietly", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, told *[]loopnode.ExceptionContext) error {
			p.onMade = func(t Transport) { _ = t.PauseReading() }
			client, err := aside(ctx, func() (*net.TCPConn, error) { return peer(s) })
			if err != nil {
				return err
			}
			for p.t == nil {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			_ = p.t.Write(make([]byte, 16<<20))
			if err := errors.Join(client.SetLinger(0), client.Close()); err != nil {
				return err
			}
			if reason := p.wait(ctx); reset(reason) != nil || reason == nil {
				return fmt.Errorf("the reason is %v", reason)
			}
			if err := p.t.Writelines([][]byte{{1}}); !errors.Is(err, ErrClosed) || p.t.WriteBufferSize() != 0 || len(*told) != 0 {
				return fmt.Errorf("%v, %d bytes, %v", err, p.t.WriteBufferSize(), *told)
			}
			return nil
		})
	})
}

func TestEveryInterface(t *testing.T) {
	t.Run("SRV-05 port 0 is a free one for each socket", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := CreateServer(ctx, func() Protocol { return newProbe(ctx) }, "tcp", ":0")
			if err != nil {
				return err
			}
			defer s.Close()
			for _, a := range s.Addrs() {
				a := a.(*net.TCPAddr)
				if !a.IP.IsUnspecified() || a.Port == 0 {
					return fmt.Errorf("bound to %s", a)
				}
				host := "127.0.0.1"
				if a.IP.To4() == nil {
					host = "::1"
				}
				tr, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", net.JoinHostPort(host, fmt.Sprint(a.Port)))
				if err != nil {
					return err
				}
				tr.Close()
			}
			s.CloseClients()
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
}

func TestAcceptAborted(t *testing.T) {
	t.Run("SRV-12 a client that left before it was accepted costs nothing", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, told *[]loopnode.ExceptionContext) error {
			tries := 0
			s.listeners[0].accept = func(fd int) (int, netip.AddrPort, error) {
				if tries++; tries == 1 {
					return -1, netip.AddrPort{}, syscall.ECONNABORTED
				}
				return sock.Accept(fd)
			}
			if _, err := aside(ctx, func() ([]byte, error) { return talk(s, "x") }); err != nil {
				return err
			}
			if err := p.wait(ctx); err != nil || string(p.data) != "x" || len(*told) != 0 {
				return fmt.Errorf("%q, %w, %v", p.data, err, *told)
			}
			return nil
		})
	})
}

func TestNextAddress(t *testing.T) {
	t.Run("CON-10 addresses are tried in order until one answers", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			gone, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			dead := gone.Addrs()[0]
			p := newProbe(ctx)
			s, err := serve(ctx, p)
			if err != nil {
				return err
			}
			defer s.Close()
			gone.Close()
			fd, err := connectFirst(ctx, s.loop, []net.Addr{dead, s.Addrs()[0], dead}, nil, options{})
			if err != nil {
				return err
			}
			if got := sock.PeerAddr(fd).String(); got != s.Addrs()[0].String() {
				return fmt.Errorf("connected to %s", got)
			}
			return errors.Join(sock.Close(fd), p.wait(ctx))
		})
	})
	t.Run("CON-12 a client can be bound before it connects", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			at := s.Addrs()[0].String()
			c, err := OpenConnection(ctx, "tcp", at, WithLocalAddress("127.0.0.2:0"))
			if err != nil {
				return err
			}
			_ = c.Close()
			if err := p.wait(ctx); err != nil {
				return err
			}
			if from := p.t.ExtraInfo("peername").(*net.TCPAddr); !from.IP.Equal(net.IPv4(127, 0, 0, 2)) {
				return fmt.Errorf("the client came from %s", from)
			}
			if _, err := OpenConnection(ctx, "tcp", at, WithLocalAddress("[::1]:0")); err == nil {
				return errors.New("an address of another family was taken")
			}
			return nil
		})
	})
}
