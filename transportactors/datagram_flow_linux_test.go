package transportactors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// clogged is an endpoint whose peer does not read: a UNIX datagram socket takes
// a few and then none. texts are what the kernel took.
func clogged(ctx context.Context, t *testing.T) (d *datagram, c *catcher, peer int, texts []string, err error) {
	peer, err = sock.OpenDatagram(sock.Unix)
	must(t, err)
	t.Cleanup(func() { _ = sock.Close(peer) })
	path := place(t, "peer")
	must(t, sock.Bind(peer, sock.PathName(path)))
	if d, c, err = at(ctx, "unixgram", "", path); err != nil {
		return
	}
	for i := 0; d.WriteBufferSize() == 0; i++ {
		text := fmt.Sprint("n", i)
		must(t, d.SendTo([]byte(text), Addr{}))
		texts = append(texts, text)
	}
	return
}

// drain reads n datagrams of a plain descriptor while the loop runs.
func drain(ctx context.Context, fd, n int) (texts []string, err error) {
	buf := make([]byte, 1<<16)
	for len(texts) < n {
		n, _, err := sock.ReceiveFrom(fd, buf)
		switch {
		case err == nil:
			texts = append(texts, string(buf[:n]))
		case !sock.WouldBlock(err):
			return texts, err
		default:
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return texts, fmt.Errorf("%q and no more: %w", texts, err)
			}
		}
	}
	return texts, nil
}

func TestDatagramQueue(t *testing.T) {
	t.Run("DGT-01 what the kernel does not take waits as a copy and leaves in order", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, peer, texts, err := clogged(ctx, t)
			if err != nil {
				return err
			}
			own := []byte("mine")
			must(t, d.SendTo(own, Addr{}))
			copy(own, "XXXX")
			must(t, d.SendTo([]byte("last"), Addr{}))
			got, err := drain(ctx, peer, len(texts)+2)
			if want := append(texts, "mine", "last"); !slices.Equal(got, want) {
				t.Errorf("%q, not %q", got, want)
			}
			if d.WriteBufferSize() != 0 {
				t.Errorf("%d bytes still wait", d.WriteBufferSize())
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
	t.Run("DGT-09 the marks are those of streams and every datagram counts 8 bytes more", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, peer, texts, err := clogged(ctx, t)
			if err != nil {
				return err
			}
			if high, low := d.WriteBufferLimits(); low != 16<<10 || high != 64<<10 {
				t.Errorf("the marks are %d and %d", low, high)
			}
			if err := d.SetWriteBufferLimits(1, 2); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("%v", err)
			}
			first := d.WriteBufferSize()
			if want := len(texts[len(texts)-1]) + 8; first != want {
				t.Errorf("%d bytes wait, not %d", first, want)
			}
			must(t, d.SetWriteBufferLimits(first+16, 0))
			must(t, d.SendTo(nil, Addr{}))
			must(t, d.SendTo(nil, Addr{}))
			if slices.Contains(c.log, "pause") || d.WriteBufferSize() != first+16 {
				t.Errorf("%q at %d", c.log, d.WriteBufferSize())
			}
			must(t, d.SendTo(nil, Addr{}))
			if c.log[len(c.log)-1] != "pause" { // inside SendTo
				t.Errorf("no pause at %d: %q", d.WriteBufferSize(), c.log)
			}
			_, err = drain(ctx, peer, len(texts)+3)
			if err := c.wants(ctx, "made", "pause", "resume"); err != nil {
				return err
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
	t.Run("DGT-10 close sends what waits, a send behind it is an error", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, peer, texts, err := clogged(ctx, t)
			if err != nil {
				return err
			}
			must(t, d.SendTo([]byte("waits"), Addr{}))
			d.Close()
			d.Close()
			if err := d.SendTo([]byte("late"), Addr{}); !errors.Is(err, ErrClosed) || !d.IsClosing() {
				t.Errorf("%v", err)
			}
			if len(c.log) != 1 {
				t.Errorf("%q inside Close", c.log)
			}
			got, err := drain(ctx, peer, len(texts)+1)
			if want := append(texts, "waits"); !slices.Equal(got, want) {
				t.Errorf("%q, not %q", got, want)
			}
			err = errors.Join(err, c.wait(ctx))
			if err := d.SendTo([]byte("late"), Addr{}); !errors.Is(err, ErrClosed) {
				t.Errorf("%v", err)
			}
			server, sc, e := at(ctx, "udp4", "127.0.0.1:0", "")
			if e != nil {
				return e
			}
			server.Close()
			if e := sc.wait(ctx); e != nil {
				return e
			}
			if e := server.SendTo(nil, here(server)); !errors.Is(e, ErrClosed) {
				t.Errorf("unconnected: %v", e)
			}
			return err
		})
	})
	t.Run("DGT-10 abort drops what waits", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, peer, texts, err := clogged(ctx, t)
			if err != nil {
				return err
			}
			d.Abort()
			if d.WriteBufferSize() != 0 {
				t.Errorf("%d bytes wait", d.WriteBufferSize())
			}
			if err := c.wait(ctx); err != nil {
				return err
			}
			got, err := drain(ctx, peer, len(texts)-1)
			if _, _, e := sock.ReceiveFrom(peer, make([]byte, 9)); !sock.WouldBlock(e) || !slices.Equal(got, texts[:len(texts)-1]) {
				t.Errorf("%q, then %v", got, e)
			}
			return err
		})
	})
	t.Run("DGT-07 a flush drops the datagram that the system refuses and leaves the rest for the next event", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, peer, texts, err := clogged(ctx, t)
			if err != nil {
				return err
			}
			d.queue.add(make([]byte, 1<<20), sock.Name{}) // EMSGSIZE, which the kernel could not say before
			d.queue.add([]byte("rest"), sock.Name{})
			d.queue.add([]byte("end"), sock.Name{})
			after := -1
			c.onError = func(error) { after = len(d.queue.list) }
			got, err := drain(ctx, peer, len(texts)+2)
			if want := append(texts, "rest", "end"); !slices.Equal(got, want) {
				t.Errorf("%q, not %q", got, want)
			}
			if len(c.errs) != 1 || !errors.Is(c.errs[0], syscall.EMSGSIZE) || after != 2 {
				t.Errorf("%v, %d waited then", c.errs, after)
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
}

func TestDatagramEnd(t *testing.T) {
	t.Run("DPR-03 nothing a peer does ends an endpoint; close, abort and the end of the loop do", func(t *testing.T) {
		var last *catcher
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, client, sc, cc, err := both(ctx)
			if err != nil {
				return err
			}
			must(t, client.SendTo(nil, Addr{})) // an empty one is no end of input
			if err := sc.wants(ctx, "made", "got "); err != nil {
				return err
			}
			server.Abort()
			if err := sc.wait(ctx); err != nil {
				return err
			}
			for range 3 { // the port is closed now
				must(t, client.SendTo([]byte("x"), Addr{}))
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			if err := cc.until(ctx, 2); err != nil {
				return err
			}
			if slices.Contains(cc.log, "lost") || client.IsClosing() || !errors.Is(cc.errs[0], syscall.ECONNREFUSED) {
				t.Errorf("%q %v", cc.log, cc.errs)
			}
			if _, is := DatagramTransport(client).(interface{ PauseReading() error }); is {
				t.Error("a datagram endpoint can pause reading")
			}
			last = cc
			return nil
		})
		if !errors.Is(last.reason, loopnode.ErrLoopClosed) || last.log[len(last.log)-1] != "lost" {
			t.Errorf("%q, %v", last.log, last.reason)
		}
	})
	t.Run("a panic in ConnectionMade is the error of the call and ends the endpoint", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			boom := errors.New("boom")
			count := descriptors()
			_, c, err := CreateDatagramEndpoint(ctx, func() *catcher {
				c := newCatcher(ctx)
				c.onMade = func(DatagramTransport) { panic(boom) }
				return c
			}, "udp4", "127.0.0.1:0", "")
			if !errors.Is(err, boom) {
				t.Errorf("%v", err)
			}
			if err := c.wait(ctx); !errors.Is(err, boom) {
				t.Errorf("lost with %v", err)
			}
			for _, factory := range []func() *catcher{func() *catcher { panic(boom) }, nil} {
				if _, _, err := CreateDatagramEndpoint(ctx, factory, "udp4", "127.0.0.1:0", ""); err == nil {
					t.Error("it was made")
				}
			}
			if descriptors() != count || len(*told) != 1 {
				t.Errorf("%d descriptors before, %d after; told %v", count, descriptors(), *told)
			}
			return nil
		})
	})
	t.Run("an endpoint removes its file unless it is to stay", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, stays := range []bool{false, true} {
				path := place(t, "s")
				d, c, err := at(ctx, "unixgram", path, "", WithCleanupSocket(!stays))
				if err != nil {
					return err
				}
				d.Close()
				if err := c.wait(ctx); err != nil {
					return err
				}
				if err := unix.Access(path, 0); (err == nil) != stays {
					t.Errorf("stays %v: %v", stays, err)
				}
			}
			return nil
		})
	})
}

func TestDatagramOptions(t *testing.T) {
	t.Run("UDP-02 a given socket must be a datagram socket and excludes what it decided", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			stream := bound(t)
			defer unix.Close(stream)
			if _, _, err := at(ctx, "", "", "", WithSocket(stream)); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("a stream socket: %v", err)
			}
			fd, err := sock.OpenDatagram(sock.IPv4)
			must(t, err)
			for _, c := range []struct {
				network, local, remote string
				opts                   []DatagramOption
				names                  []string
			}{
				{"", "127.0.0.1:0", "", nil, []string{"local"}},
				{"", "", "127.0.0.1:1", nil, []string{"remote"}},
				{"", "127.0.0.1:0", "127.0.0.1:1", []DatagramOption{WithReusePort(true), WithBroadcast(true)}, []string{"local", "remote", "WithReusePort", "WithBroadcast"}},
				{"udp6", "", "", nil, []string{"udp6"}},
				{"unixgram", "", "", nil, []string{"unixgram"}},
			} {
				_, _, err := at(ctx, c.network, c.local, c.remote, append(c.opts, WithSocket(fd))...)
				if !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%v: %v", c, err)
					continue
				}
				for _, name := range c.names {
					if !strings.Contains(err.Error(), name) {
						t.Errorf("%s is not named: %v", name, err)
					}
				}
			}
			d, c, err := at(ctx, "udp", "", "", WithSocket(fd))
			if err != nil {
				return err
			}
			if _, _, err := at(ctx, "", "", "", WithSocket(fd)); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Errorf("a socket of another transport: %v", err)
			}
			if d.socket.FD() != fd {
				t.Errorf("descriptor %d became %d", fd, d.socket.FD())
			}
			d.Close()
			return c.wait(ctx)
		})
	})
	t.Run("UDP-03 malformed addresses, and none without a family, are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, c := range [][3]string{
				{"", "", ""}, {"udp", "", ""}, {"tcp", "127.0.0.1:0", ""}, {"", "127.0.0.1:0", ""},
				{"udp", "127.0.0.1", ""}, {"udp", "", "::1:5"}, {"unixgram", strings.Repeat("x", 108), ""}, {"unixgram", "a\x00b", ""},
			} {
				if _, _, err := at(ctx, c[0], c[1], c[2]); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%q: %v", c, err)
				}
			}
			if _, _, err := at(ctx, "udp", "", ""); !strings.Contains(err.Error(), "unexpected address family") {
				t.Errorf("%v", err)
			}
			for _, network := range []string{"udp4", "udp6", "unixgram"} {
				d, c, err := at(ctx, network, "", "")
				if err != nil {
					return err
				}
				d.Close()
				if err := c.wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	t.Run("UDP-04 with two addresses only a common family is tried, in order, and the first error is told", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			count := descriptors()
			if _, _, err := at(ctx, "udp", "127.0.0.1:0", "[::1]:9"); err == nil || !strings.Contains(err.Error(), "can not get address information") {
				t.Errorf("%v", err)
			}
			taken, from := plain(t)
			defer taken.Close()
			four, six := sock.Name{AddrPort: from.AddrPort()}, UDPAddr(closedPort(t).AddrPort()).name
			l, _ := loopnode.Running(ctx)
			unreachable, err := ParseAddr("udp", "[::1%5555]:7")
			must(t, err)
			_, err = firstDatagram(l, []sock.Name{four, {AddrPort: unreachable.AddrPort()}}, []sock.Name{six}, options{})
			if !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("all failed: %v", err)
			}
			s, err := firstDatagram(l, []sock.Name{four, {AddrPort: closedPort(t).AddrPort()}}, []sock.Name{{}}, options{})
			if err != nil {
				return fmt.Errorf("the second address works: %w", err)
			}
			s.close()
			_ = taken.Close()
			if descriptors() > count {
				t.Errorf("%d descriptors before, %d after", count, descriptors())
			}
			return nil
		})
	})
	t.Run("UDP-05 a remote address connects the socket, except for broadcast", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			server, sc, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			to := here(server)
			for _, broadcast := range []bool{false, true} {
				d, c, err := at(ctx, "udp4", "", to.String(), WithBroadcast(broadcast))
				if err != nil {
					return err
				}
				if connected := !sock.PeerName(d.socket.FD()).IsZero(); connected == broadcast {
					t.Errorf("broadcast %v, connected %v", broadcast, connected)
				}
				must(t, d.SendTo([]byte("x"), Addr{}))
				must(t, d.SendTo([]byte("y"), to))
				if err := d.SendTo(nil, UDPAddr(closedPort(t).AddrPort())); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("another address: %v", err)
				}
				d.Close()
				if err := c.wait(ctx); err != nil {
					return err
				}
			}
			err = sc.wants(ctx, "made", "got x", "got y", "got x", "got y")
			server.Close()
			return errors.Join(err, sc.wait(ctx))
		})
	})
	t.Run("UDP-06 only what was asked for is set, and a dead socket file is removed", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, c := range []struct {
				opts []DatagramOption
				want [3]bool
			}{
				{nil, [3]bool{}},
				{[]DatagramOption{WithReusePort(true)}, [3]bool{false, true, false}},
				{[]DatagramOption{WithBroadcast(true)}, [3]bool{false, false, true}},
			} {
				d, p, err := at(ctx, "udp4", "127.0.0.1:0", "", c.opts...)
				if err != nil {
					return err
				}
				got := [3]bool{
					flag(&d.socket, unix.SOL_SOCKET, unix.SO_REUSEADDR), flag(&d.socket, unix.SOL_SOCKET, unix.SO_REUSEPORT), flag(&d.socket, unix.SOL_SOCKET, unix.SO_BROADCAST),
				}
				if got != c.want {
					t.Errorf("%v, not %v", got, c.want)
				}
				d.Close()
				if err := p.wait(ctx); err != nil {
					return err
				}
			}
			path := place(t, "s")
			orphan(t, path)
			d, p, err := at(ctx, "unixgram", path, "")
			if err != nil {
				return err
			}
			if _, _, err := at(ctx, "unixgram", path, ""); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a living one: %v", err)
			}
			d.Close()
			return p.wait(ctx)
		})
	})
}
