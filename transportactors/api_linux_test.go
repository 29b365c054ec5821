package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestTypedAccessors(t *testing.T) {
	serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
		tr, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String(), WithKeepAlive(true))
		if err != nil {
			return err
		}
		if tr.RemoteAddr().String() != s.Addrs()[0].String() || tr.LocalAddr().String() == "" {
			t.Errorf("from %v to %v", tr.LocalAddr(), tr.RemoteAddr())
		}
		if _, ok := tr.TLS(); ok {
			t.Error("a plain connection has a TLS state")
		}
		option := func(level, name int) int {
			raw, err := tr.Socket().SyscallConn()
			must(t, err)
			var n int
			must(t, raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), level, name) }))
			must(t, err)
			return n
		}
		if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 1 {
			t.Error("WithKeepAlive did nothing on a client")
		}
		must(t, tr.Socket().SetKeepAlive(net.KeepAliveConfig{Enable: true, Idle: 7 * time.Second, Interval: 1500 * time.Millisecond, Count: 4}))
		if a, b, c := option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT); a != 7 || b != 2 || c != 4 {
			t.Error("keep-alive", a, b, c)
		}
		must(t, tr.Socket().SetNoDelay(false))
		if option(unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0 {
			t.Error("no delay stays")
		}
		must(t, tr.Socket().SetReadBuffer(32<<10))
		must(t, tr.Socket().SetWriteBuffer(48<<10))
		if r, w := option(unix.SOL_SOCKET, unix.SO_RCVBUF), option(unix.SOL_SOCKET, unix.SO_SNDBUF); r != 64<<10 || w != 96<<10 { // the kernel doubles
			t.Error("buffers", r, w)
		}
		must(t, tr.SetWriteBufferLimits(1000, 10))
		must(t, tr.SetWriteBufferLimits(tr.WriteBufferLimits()))
		if high, low := tr.WriteBufferLimits(); high != 1000 || low != 10 {
			t.Error(high, low)
		}
		must(t, tr.WriteEOF())
		if err := tr.Write([]byte("x")); !errors.Is(err, ErrWriteEOF) {
			t.Error("behind WriteEOF:", err)
		}
		tr.Close()
		if err := tr.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Error("behind WriteEOF and Close:", err)
		}
		if _, err := Sendfile(ctx, tr, notAFile{}, 0, 1); !errors.Is(err, ErrClosed) {
			t.Error("a file behind WriteEOF and Close:", err)
		}
		must(t, until(ctx, func() bool { return tr.Socket().FD() < 0 }))
		if err := tr.Socket().SetNoDelay(true); !errors.Is(err, net.ErrClosed) {
			t.Error("an option of a closed socket:", err)
		}
		return nil
	})
}

func TestMulticast(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		d, _, err := CreateDatagramEndpoint(ctx, func() *catcher { return newCatcher(ctx) }, "udp4", "127.0.0.1:0", "")
		must(t, err)
		lo, err := net.InterfaceByName("lo")
		must(t, err)
		group := netip.MustParseAddr("239.1.2.3")
		must(t, d.Socket().JoinGroup(group, lo))
		if err := d.Socket().JoinGroup(group, lo); !errors.Is(err, unix.EADDRINUSE) {
			t.Error("joined twice:", err)
		}
		must(t, d.Socket().LeaveGroup(group, lo))
		must(t, d.Socket().SetMulticastTTL(3))
		must(t, d.Socket().SetMulticastLoopback(false))
		if n, err := unix.GetsockoptInt(d.Socket().FD(), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL); n != 3 || err != nil {
			t.Error("TTL", n, err)
		}
		if err := d.Socket().JoinGroup(netip.MustParseAddr("10.0.0.1"), nil); !errors.Is(err, unix.EINVAL) {
			t.Error("an address that is no group:", err)
		}
		if !d.LocalAddr().IsValid() || d.RemoteAddr().IsValid() {
			t.Error(d.LocalAddr(), d.RemoteAddr())
		}
		d.Close()
		return until(ctx, func() bool { return d.Socket().FD() < 0 })
	})
}

func TestAGivenUnixSocketsFile(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("UNX-05 the file of a given socket is removed at Close unless it is to stay: ", keep), func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				path := filepath.Join(t.TempDir(), "s")
				fd, err := sock.OpenListener(&net.UnixAddr{Name: path, Net: "unix"}, sock.ListenOptions{})
				must(t, err)
				s, err := CreateUnixServer(ctx, func() *probe { return newProbe(ctx) }, "", WithSocket(fd), WithCleanupSocket(!keep))
				must(t, err)
				s.Close()
				if _, err := os.Stat(path); keep != (err == nil) {
					t.Error(err)
				}
				return s.WaitClosed(ctx)
			})
		})
	}
}

func TestOptionsThatDoNotFitTheNetwork(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		for what, start := range map[string]func() error{
			"a mode for tcp":      func() error { _, err := serve(ctx, newProbe(ctx), WithMode(0o600)); return err },
			"a take-over for tcp": func() error { _, err := serve(ctx, newProbe(ctx), WithTakeOver(true)); return err },
			"a stream limit":      func() error { _, err := serve(ctx, newProbe(ctx), WithLimit(10)); return err },
			"a client's limit": func() error {
				_, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", "127.0.0.1:1", WithLimit(10))
				return err
			},
			"a file mode for udp4": func() error {
				_, _, err := CreateDatagramEndpoint(ctx, func() *catcher { return nil }, "udp4", "127.0.0.1:0", "", WithMode(0o600))
				return err
			},
		} {
			if err := start(); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
}

func TestDebugModeChecksServers(t *testing.T) {
	serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
		s.Loop().SetDebug(true)
		_, err := aside(ctx, func() (int, error) {
			s.Close()
			s.AbortClients()
			if got := Servers(s.Loop()); got != nil {
				return 0, fmt.Errorf("another goroutine got %v", got)
			}
			if got := Transports(s.Loop()); got != nil {
				return 0, fmt.Errorf("another goroutine got %v", got)
			}
			if err := s.StartServing(); !errors.Is(err, loopnode.ErrWrongGoroutine) {
				return 0, fmt.Errorf("StartServing: %v", err)
			}
			return 0, nil
		})
		if err == nil && !s.IsServing() {
			err = errors.New("Close from another goroutine closed the server")
		}
		return err
	})
}

// misspelt has optional methods that nobody calls.
type misspelt struct{ *probe }

func (misspelt) EofReceived() bool { return true }
func (misspelt) Pausewriting()     {}

func TestMisspeltMethods(t *testing.T) {
	got := misspeltMethods(misspelt{})
	if len(got) != 2 || got[0] != "EofReceived (EOFReceived)" || got[1] != "Pausewriting (PauseWriting)" {
		t.Errorf("%q", got)
	}
	if got := misspeltMethods(&wrongShape{}); len(got) != 1 || got[0] != "EOFReceived (EOFReceived)" {
		t.Errorf("%q", got)
	}
	if got := misspeltMethods(&probe{}); got != nil {
		t.Errorf("%q", got)
	}
}

type wrongShape struct{}

func (*wrongShape) EOFReceived() {}
