package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// bound is a stream socket on loopback that does not listen yet.
func bound(t *testing.T) int {
	t.Helper()
	fd, err := sock.OpenListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sock.ListenOptions{})
	must(t, err)
	return fd
}

// packetSocket is a socket of the wrong kind.
func packetSocket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	return fd
}

// socketPair is two connected descriptors, blocking as any others'.
func socketPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fds[0], fds[1]
}

func TestGivenSocket(t *testing.T) {
	t.Run("CON-06 an address and a socket exclude each other, one is needed, ports may have names", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd := bound(t)
			defer unix.Close(fd)
			for _, c := range []struct {
				network, address string
				opts             []ConnectOption
			}{
				{"tcp", "127.0.0.1:1", []ConnectOption{WithSocket(fd)}},
				{"", "", nil},
				{"tcp", "", nil},
				{"", "", []ConnectOption{WithSocket(fd), WithLocalAddress("127.0.0.1:0")}},
			} {
				if _, err := OpenConnection(ctx, c.network, c.address, c.opts...); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("%q %q gave %v", c.network, c.address, err)
				}
			}
			for service, port := range map[string]int{"http": 80, "8080": 8080} {
				if at, err := resolve(ctx, "tcp", "127.0.0.1:"+service); err != nil || at[0].(*net.TCPAddr).Port != port {
					return fmt.Errorf("port %s is %v, %w", service, at, err)
				}
			}
			if _, err := OpenConnection(ctx, "tcp", "127.0.0.1:nosuchservice"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("an unknown service gave %v", err)
			}
			return nil
		})
	})
	t.Run("CON-07 a connected stream socket is taken over and made non-blocking; others are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			if _, err := OpenConnection(ctx, "", "", WithSocket(packetSocket(t))); !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("a datagram socket gave %v", err)
			}
			ours, theirs := socketPair(t)
			defer unix.Close(theirs)
			tr, p, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
			if err != nil {
				return err
			}
			flags, err := unix.FcntlInt(uintptr(ours), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 || tr.ExtraInfo("socket").(*Socket).FD() != ours {
				return fmt.Errorf("flags %x, %w", flags, err)
			}
			tr.Close()
			if err := p.wait(ctx); err != nil {
				return err
			}
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil {
				return fmt.Errorf("it is open: %d, %w", n, err)
			}
			return nil
		})
	})
	t.Run("SRV-08 a server wants an address or a stream socket, and only one of them", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd := bound(t)
			defer unix.Close(fd)
			for _, c := range []struct {
				network, address string
				opts             []ServerOption
			}{
				{"tcp", "127.0.0.1:0", []ServerOption{WithSocket(fd)}},
				{"", "", []ServerOption{WithSocket(fd), WithAddresses("127.0.0.1:0")}},
				{"", "", []ServerOption{WithSocket(packetSocket(t))}},
				{"", "", nil},
				{"tcp", "127.0.0.1:0", []ServerOption{WithBacklog(-1)}},
			} {
				if _, err := CreateServer(ctx, func() Protocol { return nil }, c.network, c.address, c.opts...); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("%q %q gave %v", c.network, c.address, err)
				}
			}
			return nil
		})
	})
	t.Run("SRV-09 a bound socket is served as it is and listens from then on", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd := bound(t)
			p := newProbe(ctx)
			s, err := CreateServer(ctx, func() Protocol { return p }, "", "", WithSocket(fd))
			if err != nil {
				return err
			}
			defer s.Close()
			if got := s.Sockets()[0].FD(); got != fd {
				return fmt.Errorf("descriptor %d became %d", fd, got)
			}
			if _, err := aside(ctx, func() ([]byte, error) { return talk(s, "hi") }); err != nil {
				return err
			}
			if err := p.wait(ctx); err != nil || string(p.data) != "hi" {
				return fmt.Errorf("%q, %w", p.data, err)
			}
			return nil
		})
	})
}

func TestSockets(t *testing.T) {
	t.Run("SRV-10 a server shows its sockets, none after close, and their numbers end", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx), WithAddresses("127.0.0.2:0"))
			if err != nil {
				return err
			}
			all := s.Sockets()
			if len(all) != 2 || all[0].FD() < 0 || s.Sockets()[0] != all[0] {
				return fmt.Errorf("got %v", all)
			}
			clear(s.Sockets()) // a list of the caller's own
			if s.Sockets()[0] == nil {
				return errors.New("the server's list was changed")
			}
			s.Close()
			if len(s.Sockets()) != 0 || all[0].FD() != -1 || all[1].FD() != -1 {
				return fmt.Errorf("after close: %v, %d", s.Sockets(), all[0].FD())
			}
			return nil
		})
	})
	t.Run("TRN-10 the socket of a transport can be looked at and have options set, and nothing else", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			socket := here.t.ExtraInfo("socket").(*Socket)
			if again := here.t.ExtraInfo("socket"); again != any(socket) || socket.FD() < 0 {
				return fmt.Errorf("the socket is %v, then %v", socket, again)
			}
			kind := reflect.TypeFor[*Socket]()
			for i := range kind.NumMethod() {
				name := kind.Method(i).Name
				if !strings.HasPrefix(name, "Set") && name != "FD" && name != "SyscallConn" && name != "JoinGroup" && name != "LeaveGroup" {
					return fmt.Errorf("method %s is open to all", name)
				}
			}
			if slices.ContainsFunc(reflect.VisibleFields(kind.Elem()), reflect.StructField.IsExported) {
				return errors.New("a field is open to all")
			}
			here.t.Abort()
			if err := errors.Join(here.wait(ctx), there.wait(ctx)); err != nil {
				return err
			}
			if socket.FD() != -1 || here.t.ExtraInfo("socket") != any(socket) {
				return fmt.Errorf("after the end it is %d", socket.FD())
			}
			return nil
		})
	})
}

// flag reads a boolean option of a socket.
func flag(s *Socket, level, name int) bool {
	n, err := unix.GetsockoptInt(s.FD(), level, name)
	return err == nil && n != 0
}

func TestListenOptions(t *testing.T) {
	t.Run("SRV-03 every interface of every family, or each of several addresses, repetitions once", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx), WithAddresses("127.0.0.2:0", "127.0.0.1:0", "[::1]:0"))
			if err != nil {
				return err
			}
			defer s.Close()
			var hosts []string
			for _, a := range s.Addrs() {
				hosts = append(hosts, a.(*net.TCPAddr).IP.String())
			}
			if !slices.Equal(hosts, []string{"127.0.0.1", "127.0.0.2", "::1"}) {
				return fmt.Errorf("bound to %v", hosts)
			}
			all, err := CreateServer(ctx, func() Protocol { return nil }, "tcp", ":0")
			if err != nil {
				return err
			}
			defer all.Close()
			four, six := all.Addrs()[0].(*net.TCPAddr), all.Addrs()[1].(*net.TCPAddr)
			if len(all.Addrs()) != 2 || !four.IP.Equal(net.IPv4zero) || !six.IP.Equal(net.IPv6unspecified) {
				return fmt.Errorf("an empty host is %v", all.Addrs())
			}
			return nil
		})
	})
	t.Run("SRV-04 the families share a port, each with its own socket", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			first, err := CreateServer(ctx, func() Protocol { return nil }, "tcp4", ":0")
			if err != nil {
				return err
			}
			defer first.Close()
			second, err := CreateServer(ctx, func() Protocol { return nil }, "tcp6", fmt.Sprintf(":%d", first.Addrs()[0].(*net.TCPAddr).Port))
			if err != nil {
				return err
			}
			defer second.Close()
			if !flag(second.Sockets()[0], unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) {
				return errors.New("IPV6_V6ONLY is off")
			}
			return nil
		})
	})
	t.Run("SRV-06 address reuse is on by default, port reuse and keep-alive on request, on inet sockets only", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			flags := func(network, address string, opts ...ServerOption) ([3]bool, error) {
				s, err := CreateServer(ctx, func() Protocol { return nil }, network, address, opts...)
				if err != nil {
					return [3]bool{}, err
				}
				defer s.Close()
				at := s.Sockets()[0]
				return [3]bool{
					flag(at, unix.SOL_SOCKET, unix.SO_REUSEADDR), flag(at, unix.SOL_SOCKET, unix.SO_REUSEPORT), flag(at, unix.SOL_SOCKET, unix.SO_KEEPALIVE),
				}, nil
			}
			all := []ServerOption{WithReusePort(true), WithKeepAlive(true)}
			for _, c := range []struct {
				network, address string
				opts             []ServerOption
				want             [3]bool
			}{
				{"tcp", "127.0.0.1:0", nil, [3]bool{true, false, false}},
				{"tcp", "127.0.0.1:0", []ServerOption{WithReuseAddress(false)}, [3]bool{}},
				{"tcp", "127.0.0.1:0", all, [3]bool{true, true, true}},
				{"unix", t.TempDir() + "/s", all, [3]bool{}},
			} {
				if got, err := flags(c.network, c.address, c.opts...); err != nil || got != c.want {
					return fmt.Errorf("%s: got %v, %w, want %v", c.network, got, err, c.want)
				}
			}
			return nil
		})
	})
	t.Run("SRV-11 one event accepts one more than the backlog, then the loop has its turn", func(t *testing.T) {
		for _, backlog := range []int{0, 1, 5} {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				s, err := serve(ctx, newProbe(ctx), WithBacklog(backlog))
				if err != nil {
					return err
				}
				defer s.Close()
				calls := 0
				s.factory = func() Protocol { return nil }
				s.loop.SetExceptionHandler(func(*loopnode.Loop, loopnode.ExceptionContext) {})
				s.listeners[0].accept = func(int) (int, netip.AddrPort, error) {
					calls++
					fd, err := unix.FcntlInt(uintptr(s.Sockets()[0].FD()), unix.F_DUPFD_CLOEXEC, 0)
					return fd, netip.AddrPort{}, err
				}
				s.listeners[0].onReadable()
				if calls != backlog+1 {
					return fmt.Errorf("backlog %d: %d accepts", backlog, calls)
				}
				return nil
			})
		}
		if o, err := collect[ServerOption](nil); err != nil || o.backlog != 100 {
			t.Fatalf("the default backlog is %d, %v", o.backlog, err)
		}
	})
}
