package loopnode

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenSocket makes a listening socket on loopback.
func listenSocket(t *testing.T) (fd int, at *net.TCPAddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 10))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	return fd, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port}
}

func openSocket(t *testing.T, family, kind int) int {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fd
}

// named is an address by name: of an IPv4 stream socket, at, or unknown.
type named struct{ at *net.TCPAddr }

func (named) Network() string { return "name" }
func (named) String() string  { return "name" }

func (n named) Resolve(_ context.Context, family, kind, _ int) (net.Addr, error) {
	if n.at == nil || family != unix.AF_INET || kind != unix.SOCK_STREAM {
		return nil, errBoom
	}
	return n.at, nil
}

func TestSockConnect(t *testing.T) {
	t.Run("SOK-08 connecting resolves, waits, and names the address in its error", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			ln, at := listenSocket(t)
			c := openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			must(t, SockConnect(ctx, c, named{at}))
			s, _, err := SockAccept(ctx, ln)
			must(t, err)
			must(t, SockSendall(ctx, c, []byte("hi")))
			getText(t, ctx, s, 10, "hi")
			for _, fd := range []int{s, c, ln} {
				must(t, unix.Close(fd))
			}
			c = openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			err = SockConnect(ctx, c, at) // nobody listens any more
			if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "connect call failed ("+at.String()+")") {
				t.Error(err)
			}
			if err := SockConnect(ctx, c, named{nil}); !errors.Is(err, errBoom) {
				t.Error(err)
			}
			must(t, unix.Close(c))
		})
	})
	t.Run("SOK-08 all operations work on UNIX sockets", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
			ln, c := openSocket(t, unix.AF_UNIX, unix.SOCK_STREAM), openSocket(t, unix.AF_UNIX, unix.SOCK_STREAM)
			must(t, unix.Bind(ln, &unix.SockaddrUnix{Name: at.Name}))
			must(t, unix.Listen(ln, 1))
			must(t, SockConnect(ctx, c, at))
			s, _, err := SockAccept(ctx, ln)
			must(t, err)
			must(t, SockSendall(ctx, s, []byte("unix")))
			getText(t, ctx, c, 10, "unix")
			for _, fd := range []int{s, c, ln} {
				must(t, unix.Close(fd))
			}
		})
	})
	t.Run("SOK-08 a connect that cannot end is cancelled and lets go", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			ln, at := listenSocket(t)
			must(t, unix.Listen(ln, 0))
			var waiting []int
			stuck := false
			for range 20 { // the backlog fills, then a connect waits
				c := openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
				waiting = append(waiting, c)
				limit, stop := context.WithTimeout(ctx, 50*time.Millisecond)
				err := SockConnect(limit, c, at)
				stop()
				if stuck = errors.Is(err, ErrTimeout); stuck {
					break
				}
				must(t, err)
			}
			for _, fd := range append(waiting, ln) {
				must(t, unix.Close(fd))
			}
			t.Log("a connect had to wait:", stuck) // sandboxed kernels complete it
		})
	})
}

func TestSockAccept(t *testing.T) {
	t.Run("SOK-09 an accepted connection is non-blocking and known by its address; cancelling frees the listener", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			ln, at := listenSocket(t)
			k := CreateTask(ctx, "accept", func(ctx context.Context) (int, error) {
				fd, _, err := SockAccept(ctx, ln)
				return fd, err
			})
			must(t, Sleep(ctx, 0))
			k.Cancel()
			if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
			c := openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			must(t, SockConnect(ctx, c, at))
			s, from, err := SockAccept(ctx, ln)
			must(t, err)
			flags, err := unix.FcntlInt(uintptr(s), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Error("blocking", flags, err)
			}
			sa, err := unix.Getsockname(c)
			must(t, err)
			if got := from.(*net.TCPAddr).Port; got != sa.(*unix.SockaddrInet4).Port {
				t.Error(from)
			}
			for _, fd := range []int{s, c, ln} {
				must(t, unix.Close(fd))
			}
		})
	})
}

func TestSockDatagrams(t *testing.T) {
	udp := func(t *testing.T) (int, *net.UDPAddr) {
		fd := openSocket(t, unix.AF_INET, unix.SOCK_DGRAM)
		must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		sa, err := unix.Getsockname(fd)
		must(t, err)
		return fd, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*unix.SockaddrInet4).Port)))
	}
	t.Run("SOK-10 datagrams come with their address, cut to the room there is", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			u, atU := udp(t)
			v, atV := udp(t)
			if n, err := SockSendto(ctx, v, []byte("abcdef"), atU); n != 6 || err != nil {
				t.Error(n, err)
			}
			p, from, err := SockRecvfrom(ctx, u, 3)
			if string(p) != "abc" || err != nil || from.String() != atV.String() {
				t.Error(string(p), from, err)
			}
			k := CreateTask(ctx, "into", func(ctx context.Context) (string, error) {
				buf := make([]byte, 8)
				n, from, err := SockRecvfromInto(ctx, u, buf)
				if err == nil && from.String() != atV.String() {
					t.Error(from)
				}
				return string(buf[:n]), err
			})
			must(t, Sleep(ctx, 0))
			_, err = SockSendto(ctx, v, []byte("12"), atU)
			must(t, err)
			if got, err := k.Await(ctx); got != "12" || err != nil {
				t.Error(got, err)
			}
			_, err = SockSendto(ctx, v, nil, atU)
			must(t, err)
			if p, _, err = SockRecvfrom(ctx, u, 100<<20); len(p) != 0 || err != nil {
				t.Error(p, err)
			}
			if _, err := SockSendto(ctx, v, make([]byte, 70000), atU); !errors.Is(err, syscall.EMSGSIZE) {
				t.Error(err)
			}
			if _, _, err := SockRecvfrom(ctx, u, -1); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			must(t, unix.Close(u))
			must(t, unix.Close(v))
		})
	})
	t.Run("SOK-10 a send waits for room", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			dir := t.TempDir()
			at := &net.UnixAddr{Name: filepath.Join(dir, "to"), Net: "unixgram"}
			u, v := openSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM), openSocket(t, unix.AF_UNIX, unix.SOCK_DGRAM)
			must(t, unix.Bind(u, &unix.SockaddrUnix{Name: at.Name}))
			const count = 500
			k := CreateTask(ctx, "send", func(ctx context.Context) (int, error) {
				for i := range count {
					if _, err := SockSendto(ctx, v, []byte(strconv.Itoa(i)), at); err != nil {
						return i, err
					}
				}
				return count, nil
			})
			for i := range count {
				p, from, err := SockRecvfrom(ctx, u, 10)
				if err != nil || string(p) != strconv.Itoa(i) || from != nil {
					t.Fatal(string(p), from, err)
				}
			}
			if n, err := k.Await(ctx); n != count || err != nil {
				t.Error(n, err)
			}
			must(t, unix.Close(u))
			must(t, unix.Close(v))
		})
	})
}

func TestSockOutside(t *testing.T) {
	t.Run("a goroutine without a task blocks until the loop has done it", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			outside := l.Context(context.Background())
			limit, cancel := context.WithCancel(outside)
			got, err := RunInExecutor(ctx, nil, func() ([]string, error) {
				var got []string
				if err := SockSendall(outside, a, []byte("from aside")); err != nil {
					return nil, err
				}
				p, err := SockRecv(outside, b, 100)
				got = append(got, string(p), errText(err))
				l.Ref().CallSoonThreadsafe(cancel)
				_, err = SockRecv(limit, b, 100)
				got = append(got, strconv.FormatBool(errors.Is(err, ErrCancelled)))
				if err = SockSendall(outside, a, []byte("again")); err != nil {
					return nil, err
				}
				p, err = SockRecv(outside, b, 100) // nothing is in its way
				return append(got, string(p), errText(err)), nil
			}).Await(ctx)
			if want := []string{"from aside", "", "true", "again", ""}; err != nil || !slices.Equal(got, want) {
				t.Error(got, err)
			}
		})
	})
	t.Run("a callback and a ctx without a loop are refused", func(t *testing.T) {
		l, _ := newLoop(t)
		a, _ := pair(t)
		var err error
		l.CallSoon(func() { _, err = SockRecv(l.Context(context.Background()), a, 1) })
		runTurns(t, l, 1)
		if !errors.Is(err, ErrWouldBlock) {
			t.Error(err)
		}
		if _, err = SockRecv(context.Background(), a, 1); !errors.Is(err, ErrNoRunningLoop) {
			t.Error(err)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
