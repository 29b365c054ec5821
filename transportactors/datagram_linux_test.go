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

func TestDatagramEndpoint(t *testing.T) {
	for _, c := range []struct{ network, a, b string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1:0"},
		{"udp6", "[::1]:0", "[::1]:0"},
		{"unixgram", place(t, "a"), place(t, "b")},
		{"unixgram", "@loopmesh-test-a", "\x00loopmesh-test-b"},
	} {
		t.Run("UDP-01 the endpoint is made when it comes back, and talks with a local and a remote address together: "+c.network+" "+c.a[:1], func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				server, sc, err := at(ctx, c.network, c.a, "")
				if err != nil {
					return err
				}
				if sc.t != server || len(sc.log) != 1 {
					t.Errorf("not made yet: %q", sc.log)
				}
				client, cc, err := at(ctx, c.network, c.b, here(server).String())
				if err != nil {
					return err
				}
				sc.onData = func(b []byte, from Addr) { must(t, server.SendTo(append([]byte("re "), b...), from)) }
				must(t, client.SendTo([]byte("one"), Addr{}))
				must(t, client.SendTo([]byte("two"), here(server)))
				err = errors.Join(sc.wants(ctx, "made", "got one", "got two"), cc.wants(ctx, "made", "got re one", "got re two"))
				if sc.from[0] != here(client) || cc.from[1] != here(server) || client.ExtraInfo("peername") != here(server) || server.ExtraInfo("peername") != nil || server.ExtraInfo("bytes_read") != nil {
					t.Errorf("senders %v, %v; peers %v, %v", sc.from, cc.from, client.ExtraInfo("peername"), server.ExtraInfo("peername"))
				}
				client.Close()
				server.Close()
				return errors.Join(err, cc.wait(ctx), sc.wait(ctx))
			})
		})
	}
	t.Run("UDP-01 one end of a pair of UNIX sockets has no sender", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
			must(t, err)
			defer sock.Close(fds[1])
			d, c, err := at(ctx, "", "", "", WithSocket(fds[0]))
			if err != nil {
				return err
			}
			must(t, sock.Send(fds[1], []byte("hello")))
			err = c.wants(ctx, "made", "got hello")
			if c.from[0].IsValid() {
				t.Errorf("sender %q", c.from[0])
			}
			must(t, d.SendTo([]byte("back"), Addr{}))
			buf := make([]byte, 10)
			if n, err := sock.Read(fds[1], buf); err != nil || string(buf[:n]) != "back" {
				t.Errorf("%q, %v", buf[:n], err)
			}
			if err := d.SendTo(nil, UnixAddr("/somewhere")); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("sending elsewhere: %v", err)
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
}

// wait waits for ConnectionLost and gives its reason.
func (c *catcher) wait(ctx context.Context) error {
	reason, err := c.lost.Await(ctx)
	return errors.Join(err, reason)
}

func TestDatagramSends(t *testing.T) {
	t.Run("DGT-02 empty datagrams are sent and received", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			must(t, client.SendTo(nil, Addr{}))
			must(t, client.SendTo([]byte("x"), Addr{}))
			if err := sc.wants(ctx, "made", "got ", "got x"); err != nil {
				return err
			}
			must(t, server.SendTo([]byte{}, here(client)))
			err = cc.wants(ctx, "made", "got ")
			server.Abort()
			client.Abort()
			return errors.Join(err, sc.wait(ctx), cc.wait(ctx))
		})
	})
	t.Run("DGT-03 with a remote address any other is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			other := closedPort(t)
			if err := client.SendTo([]byte("x"), other); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("%v", err)
			}
			must(t, client.SendTo([]byte("y"), here(server)))
			err = sc.wants(ctx, "made", "got y")
			if len(cc.errs) > 0 || client.IsClosing() {
				t.Errorf("%v", cc.errs)
			}
			server.Close()
			client.Close()
			return errors.Join(err, sc.wait(ctx), cc.wait(ctx))
		})
	})
	t.Run("DGT-04 a send without an address is an error and ends nothing", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			if err := server.SendTo([]byte("x"), Addr{}); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("%v", err)
			}
			must(t, server.SendTo([]byte("z"), here(client)))
			err = cc.wants(ctx, "made", "got z")
			if len(*told) > 0 || server.IsClosing() || len(sc.log) != 1 {
				t.Errorf("told %v, log %q", *told, sc.log)
			}
			server.Close()
			client.Close()
			return errors.Join(err, sc.wait(ctx), cc.wait(ctx))
		})
	})
	t.Run("DGT-05 an address of another family is refused, an IPv4 one serves an IPv6 socket", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			four, c4, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			six, c6, err := at(ctx, "udp6", "[::]:0", "")
			if err != nil {
				return err
			}
			for _, bad := range []Addr{here(six), UnixAddr("/tmp/x")} {
				if err := four.SendTo(nil, bad); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%s: %v", bad, err)
				}
			}
			must(t, six.SendTo([]byte("mapped"), here(four)))
			err = c4.wants(ctx, "made", "got mapped")
			four.Close()
			six.Close()
			return errors.Join(err, c4.wait(ctx), c6.wait(ctx))
		})
	})
}

func TestDatagramErrors(t *testing.T) {
	t.Run("DGT-06 a refusal by the system is told and the endpoint goes on", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			dead := closedPort(t)
			d, c, err := at(ctx, "udp4", "", dead.String())
			if err != nil {
				return err
			}
			must(t, d.SendTo([]byte("1"), Addr{}))
			if err := c.wants(ctx, "made", "error"); err != nil {
				return err
			}
			if !errors.Is(c.errs[0], syscall.ECONNREFUSED) || d.IsClosing() {
				t.Errorf("%v", c.errs)
			}
			alive, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(dead.AddrPort()))
			must(t, err)
			defer alive.Close()
			must(t, d.SendTo([]byte("2"), Addr{}))
			b := make([]byte, 10)
			n, err := aside(ctx, func() (int, error) { n, _, err := alive.ReadFromUDP(b); return n, err })
			if string(b[:n]) != "2" {
				t.Errorf("%q", b[:n])
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
	t.Run("DPR-02 an error may come from inside SendTo, and the datagram too long is one", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			if err := client.SendTo(make([]byte, 70_000), Addr{}); err != nil {
				t.Errorf("%v", err)
			}
			if len(cc.errs) != 1 || !errors.Is(cc.errs[0], syscall.EMSGSIZE) {
				t.Errorf("%v", cc.errs)
			}
			must(t, client.SendTo([]byte("fits"), Addr{}))
			err = sc.wants(ctx, "made", "got fits")
			server.Close()
			client.Close()
			return errors.Join(err, sc.wait(ctx), cc.wait(ctx))
		})
	})
	t.Run("DGT-08 what makes the descriptor useless is reported and ends the endpoint", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			must(t, err)
			must(t, syscall.Dup3(null, client.socket.FD(), syscall.O_CLOEXEC))
			must(t, sock.Close(null))
			if err := client.SendTo([]byte("x"), Addr{}); !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.ENOTSOCK) {
				t.Errorf("%v", err)
			}
			if err := cc.wait(ctx); !errors.Is(err, syscall.ENOTSOCK) {
				t.Errorf("%v", err)
			}
			if len(*told) != 1 || !errors.Is((*told)[0].Exception, syscall.ENOTSOCK) {
				t.Errorf("%v", *told)
			}
			server.Close()
			return sc.wait(ctx)
		})
	})
	t.Run("DGT-11 a panic in DatagramReceived costs that datagram alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			boom := errors.New("boom")
			sc.onData = func(b []byte, _ Addr) {
				if string(b) == "bad" {
					panic(boom)
				}
			}
			for _, s := range []string{"a", "bad", "b"} {
				must(t, client.SendTo([]byte(s), Addr{}))
			}
			err = sc.wants(ctx, "made", "got a", "got bad", "got b")
			if len(*told) != 1 || !errors.Is((*told)[0].Exception, boom) || server.IsClosing() {
				t.Errorf("%v", *told)
			}
			server.Close()
			client.Close()
			return errors.Join(err, sc.wait(ctx), cc.wait(ctx))
		})
	})
}

func TestDatagramsReceived(t *testing.T) {
	t.Run("DPR-01 datagrams come whole, in order and with their senders", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, sc, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			one, a := plain(t)
			two, b := plain(t)
			to := net.UDPAddrFromAddrPort(here(server).AddrPort())
			want := []string{"made"}
			for i := range 2*burst + 1 {
				text, from := fmt.Sprint("n", i), one
				if i%2 == 1 {
					from = two
				}
				_, err := from.WriteToUDP([]byte(text), to)
				must(t, err)
				want = append(want, "got "+text)
			}
			if err := sc.wants(ctx, want...); err != nil { // Why now: the kernel's buffer would not hold both
				return err
			}
			_, err = two.WriteToUDP(make([]byte, 60_000), to)
			must(t, err)
			err = sc.wants(ctx, append(want, "got 60000 bytes")...)
			for i, from := range sc.from {
				if from != [2]Addr{a, b}[i%2] {
					t.Fatalf("datagram %d comes from %s", i, from)
				}
			}
			server.Close()
			return errors.Join(err, sc.wait(ctx))
		})
	})
	t.Run("what waits when an endpoint is connected keeps its true sender", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd, err := sock.OpenDatagram(sock.IPv4)
			must(t, err)
			stranger, from := plain(t)
			friend, to := plain(t)
			must(t, sock.Bind(fd, sock.Name{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}))
			own := net.UDPAddrFromAddrPort(sock.LocalName(fd).AddrPort)
			_, err = stranger.WriteToUDP([]byte("early"), own)
			must(t, err)
			must(t, sock.ConnectDatagram(fd, to.name))
			d, c, err := at(ctx, "udp4", "", "", WithSocket(fd))
			if err != nil {
				return err
			}
			if err := c.wants(ctx, "made", "got early"); err != nil {
				return err
			}
			_, err = friend.WriteToUDP([]byte("late"), own)
			must(t, err)
			err = c.wants(ctx, "made", "got early", "got late")
			if c.from[0] != from || c.from[1] != to {
				t.Errorf("senders %v, not %v and %v", c.from, from, to)
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
}

func TestDatagramOfAnotherGoroutine(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
		if err != nil {
			return err
		}
		d.loop.SetDebug(true)
		for name, call := range map[string]func() error{
			"SendTo": func() error { return d.SendTo(nil, Addr{}) }, "SetWriteBufferLimits": func() error { return d.SetWriteBufferLimits(1, 1) },
		} {
			_, err := aside(ctx, func() (int, error) { return 0, call() })
			if !errors.Is(err, loopnode.ErrWrongGoroutine) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err = aside(ctx, func() (int, error) { d.Close(); d.Abort(); return 0, nil })
		if d.IsClosing() {
			t.Error("another goroutine closed it")
		}
		d.Close()
		return errors.Join(err, c.wait(ctx))
	})
}

func TestDatagramRef(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		server, client, sc, cc, err := both(ctx)
		if err != nil {
			return err
		}
		ref := client.Ref()
		if found, ok := Lookup(ref.Address()); !ok || found != ref || client.Ref() != ref {
			t.Errorf("%v is found as %v, %v", ref, found, ok)
		}
		_, err = aside(ctx, func() (int, error) { return 0, ref.Write([]byte("from elsewhere")) })
		if err := errors.Join(err, sc.wants(ctx, "made", "got from elsewhere")); err != nil {
			return err
		}
		_, err = aside(ctx, func() (int, error) { return 0, ref.Close() })
		if err := errors.Join(err, cc.wait(ctx)); err != nil {
			return err
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if err := ref.Write(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		server.Close()
		return sc.wait(ctx)
	})
}
