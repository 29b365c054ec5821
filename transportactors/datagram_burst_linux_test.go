package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// arrived takes what has arrived at a socket of package net, without waiting.
func arrived(t *testing.T, c *net.UDPConn) (texts []string) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now()))
	raw, err := c.SyscallConn()
	must(t, err)
	buf := make([]byte, 1<<16)
	must(t, raw.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			texts = append(texts, string(buf[:n]))
		}
	}))
	return texts
}

// storm sends texts to an endpoint in one burst of its.
func storm(t *testing.T, from *net.UDPConn, to *datagram, texts ...string) {
	t.Helper()
	for _, s := range texts {
		_, err := from.WriteToUDPAddrPort([]byte(s), here(to).AddrPort())
		must(t, err)
	}
}

func numbers(n int) (texts []string) {
	for i := range n {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

func TestDatagramBurst(t *testing.T) {
	t.Run("DGT-01 answers of one burst leave whole, in order, to their peers", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			one, a := plain(t)
			two, b := plain(t)
			// Sizes that make segments, a short last one, a longer one behind, empty ones.
			sizes := []int{7, 7, 7, 3, 7, 9, 0, 0, 9, 9, 1200, 1200, 400, 1}
			var toA, toB []string
			c.onData = func(p []byte, _ Addr) {
				n, _ := strconv.Atoi(string(p))
				for i, size := range sizes {
					text := bytes.Repeat([]byte{byte('a' + i), byte('0' + n)}, size)[:size]
					must(t, d.SendTo(text, a))
					toA = append(toA, string(text))
					clear(text) // it is ours again
					if i%3 == 0 {
						must(t, d.SendTo(p, b))
						toB = append(toB, string(p))
					}
				}
			}
			storm(t, one, d, numbers(9)...)
			if err := c.until(ctx, 10); err != nil {
				return err
			}
			if got := arrived(t, one); !slices.Equal(got, toA) {
				t.Errorf("%.40q\nnot %.40q", got, toA)
			}
			if got := arrived(t, two); !slices.Equal(got, toB) {
				t.Errorf("%q\nnot %q", got, toB)
			}
			d.Close()
			return c.wait(ctx)
		})
	})
	t.Run("what is alone leaves at once, what is not behind the last callback of its burst", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			peer, a := plain(t)
			var seen []int
			c.onData = func(p []byte, _ Addr) {
				must(t, d.SendTo(p, a))
				seen = append(seen, len(arrived(t, peer)))
			}
			storm(t, peer, d, "a")
			if err := c.until(ctx, 2); err != nil {
				return err
			}
			storm(t, peer, d, "b", "c", "d")
			if err := c.until(ctx, 5); err != nil {
				return err
			}
			if want := []int{1, 0, 0, 0}; !slices.Equal(seen, want) {
				t.Errorf("arrived inside the callbacks: %v, want %v", seen, want)
			}
			if got := arrived(t, peer); !slices.Equal(got, []string{"b", "c", "d"}) {
				t.Errorf("%q", got)
			}
			d.Close()
			return c.wait(ctx)
		})
	})
	for name, act := range map[string]func(*datagram){
		"Close":                func(d *datagram) { d.Close() },
		"Abort":                func(d *datagram) { d.Abort() },
		"WriteBufferSize":      func(d *datagram) { _ = d.WriteBufferSize() },
		"SetWriteBufferLimits": func(d *datagram) { _ = d.SetWriteBufferLimits(1000, 10) },
		"SetProtocol":          func(d *datagram) { d.SetProtocol(d.Protocol()) },
		"an option":            func(d *datagram) { _ = d.Socket().SetMulticastTTL(3) },
		"Control": func(d *datagram) {
			raw, _ := d.Socket().SyscallConn()
			_ = raw.Control(func(uintptr) {})
		},
		"a datagram too large to gather": func(d *datagram) { _ = d.SendTo(make([]byte, 65_200), d.proto.value.(*catcher).from[0]) },
	} {
		t.Run("DGT-10 what was sent before leaves before: "+name, func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
				if err != nil {
					return err
				}
				peer, _ := plain(t)
				other, b := plain(t)
				c.onData = func(p []byte, _ Addr) {
					if string(p) != "0" {
						return
					}
					must(t, d.SendTo([]byte("early"), b))
					if got := arrived(t, other); got != nil {
						t.Errorf("before: %q", got)
					}
					act(d)
					if got := arrived(t, other); !slices.Equal(got, []string{"early"}) {
						t.Errorf("after: %q", got)
					}
				}
				storm(t, peer, d, numbers(3)...)
				if err := c.until(ctx, 2); err != nil {
					return err
				}
				d.Abort()
				return c.wait(ctx)
			})
		})
	}
	t.Run("DGT-06 each datagram that the system refuses is one error, and the others leave", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			peer, a := plain(t)
			nobody, err := ParseAddr("udp4", "255.255.255.255:9") // Why refused: EACCES without SO_BROADCAST
			must(t, err)
			c.onError = func(error) { // the endpoint works inside ErrorReceived
				must(t, d.SendTo([]byte("told"), a))
			}
			c.onData = func(p []byte, _ Addr) {
				for _, to := range []Addr{a, nobody, nobody, a} {
					must(t, d.SendTo(p, to))
				}
			}
			storm(t, peer, d, "1", "2")
			if err := c.wants(ctx, "made", "got 1", "got 2", "error", "error", "error", "error"); err != nil {
				return err
			}
			for _, err := range c.errs {
				if !errors.Is(err, syscall.EACCES) {
					t.Error(err)
				}
			}
			if got, want := arrived(t, peer), []string{"1", "1", "2", "2", "told", "told", "told", "told"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			d.Close()
			return c.wait(ctx)
		})
	})
	t.Run("DGT-06 an earlier error of a connected peer costs one datagram of the burst", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, client, err := unread(ctx, t)
			if err != nil {
				return err
			}
			// A peer that ends is an error of the next send and none behind it.
			c.onData = func(p []byte, _ Addr) {
				if client >= 0 {
					must(t, sock.Close(client))
					client = -1
				}
				must(t, d.SendTo(p, Addr{}))
			}
			d.onReadable()
			if len(c.errs) != 3 {
				t.Errorf("%v", c.errs)
			}
			d.Close()
			return c.wait(ctx)
		})
	})
	t.Run("DGT-01 what the kernel does not take of a burst waits, in order, and counts", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, client, err := unread(ctx, t)
			if err != nil {
				return err
			}
			defer sock.Close(client)
			must(t, d.SetWriteBufferLimits(3000, 10))
			var want []string
			c.onData = func([]byte, Addr) {
				for i := range 30 {
					text := fmt.Sprint(len(want), "-", i)
					want = append(want, text)
					must(t, d.SendTo([]byte(text), Addr{}))
				}
			}
			d.onReadable()
			if d.WriteBufferSize() == 0 || d.memory.out.Len() != 0 {
				t.Fatalf("%d bytes wait, %d datagrams are gathered", d.WriteBufferSize(), d.memory.out.Len())
			}
			must(t, d.SendTo([]byte("last"), Addr{}))
			got, err := drain(ctx, client, len(want)+1)
			if want = append(want, "last"); !slices.Equal(got, want) {
				t.Errorf("%q, not %q", got, want)
			}
			d.Close()
			return errors.Join(err, c.wait(ctx))
		})
	})
	t.Run("DGT-09 with low marks nothing is gathered that the queue would refuse", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, client, err := unread(ctx, t)
			if err != nil {
				return err
			}
			defer sock.Close(client)
			must(t, d.SetWriteBufferLimits(100, 0))
			d.hard = 100
			sent, refused := 0, 0
			c.onData = func([]byte, Addr) {
				for range 30 {
					switch err := d.SendTo(make([]byte, 20), Addr{}); {
					case err == nil:
						sent++
					case errors.Is(err, ErrWriteLimit):
						refused++
					default:
						t.Error(err)
					}
				}
			}
			d.onReadable()
			if size := d.WriteBufferSize(); size > 100+28 || refused == 0 || !slices.Contains(c.log, "pause") {
				t.Errorf("%d bytes wait, %d sent, %d refused, %q", size, sent, refused, c.log)
			}
			_, err = drain(ctx, client, sent)
			d.Abort()
			return errors.Join(err, c.wait(ctx))
		})
	})
	t.Run("DGT-11 a panic, and runtime.Goexit, cost their datagram alone", func(t *testing.T) {
		for name, leave := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
				if err != nil {
					return err
				}
				peer, a := plain(t)
				c.onData = func(p []byte, _ Addr) {
					must(t, d.SendTo(p, a))
					if n, _ := strconv.Atoi(string(p)); n%3 == 1 {
						leave()
					}
				}
				want := []string{"made"}
				for _, s := range numbers(9) {
					want = append(want, "got "+s)
				}
				storm(t, peer, d, numbers(9)...)
				if err := c.wants(ctx, want...); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if got := arrived(t, peer); !slices.Equal(got, numbers(9)) {
					t.Errorf("%s: %q", name, got)
				}
				if len(*told) != 3 {
					t.Errorf("%s: %v", name, *told)
				}
				for _, from := range c.from {
					if from != a {
						t.Errorf("%s: from %v, want %v", name, from, a)
					}
				}
				d.Close()
				return c.wait(ctx)
			})
		}
	})
	t.Run("closing in the middle of a burst ends it", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			peer, _ := plain(t)
			c.onData = func(p []byte, _ Addr) {
				if string(p) == "1" {
					d.Close()
				}
			}
			storm(t, peer, d, numbers(5)...)
			return errors.Join(c.wait(ctx), c.wants(ctx, "made", "got 0", "got 1", "lost"))
		})
	})
	t.Run("where the way is too narrow for segments the datagrams travel alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			d, c, err := at(ctx, "udp6", "[::1]:0", "")
			if err != nil {
				return err
			}
			peer, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
			must(t, err)
			defer peer.Close()
			must(t, unix.SetsockoptInt(d.socket.FD(), unix.IPPROTO_IPV6, unix.IPV6_MTU, 1280))
			a := UDPAddr(peer.LocalAddr().(*net.UDPAddr).AddrPort())
			var want []string
			c.onData = func(p []byte, _ Addr) {
				for _, size := range []int{2000, 2000, 100, 100} {
					text := bytes.Repeat(p, size)
					must(t, d.SendTo(text, a))
					want = append(want, string(text))
				}
			}
			storm(t, peer, d, numbers(4)...)
			if err := c.until(ctx, 5); err != nil {
				return err
			}
			if got := arrived(t, peer); !slices.Equal(got, want) {
				t.Errorf("%d arrived, want %d", len(got), len(want))
			}
			if c.errs != nil || d.segment != 2000 {
				t.Errorf("errors %v; segments below %d, want 2000", c.errs, d.segment)
			}
			d.Close()
			return c.wait(ctx)
		})
	})
}

// unread is an endpoint with a burst of three datagrams to read, whose peer takes only a
// few: UNIX sockets that are treated as UDP, because UDP over loopback never says EAGAIN.
func unread(ctx context.Context, t *testing.T) (d *datagram, c *catcher, peer int, err error) {
	peer, err = sock.OpenDatagram(sock.Unix)
	must(t, err)
	theirs, ours := place(t, "peer"), place(t, "d")
	must(t, sock.Bind(peer, sock.PathName(theirs)))
	if d, c, err = at(ctx, "unixgram", ours, theirs); err != nil {
		return
	}
	d.bursts = true
	for range 3 {
		must(t, (&sock.Sender{}).SendTo(peer, []byte("x"), sock.PathName(ours)))
	}
	return d, c, peer, nil
}
