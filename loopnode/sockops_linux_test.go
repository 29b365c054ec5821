package loopnode

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// counting is a Backend that counts registrations.
type counting struct {
	Backend
	adds, removes int
}

func (c *counting) Add(fd int, want Events, owner any) (Token, error) {
	c.adds++
	return c.Backend.Add(fd, want, owner)
}

func (c *counting) Remove(t Token) error { c.removes++; return c.Backend.Remove(t) }

// onSockets runs fn as a task of a loop with a counting backend; afterwards
// nothing may be registered, held or open that was not before.
func onSockets(t *testing.T, fn func(ctx context.Context, l *Loop, b *counting)) {
	t.Helper()
	kernel, err := newKernel()
	must(t, err)
	b := &counting{Backend: kernel}
	pool := NewPool(2)
	l, _ := newLoop(t, func(c *Config) { c.Backend, c.Executor = b, pool })
	before := openFiles(t)
	t.Cleanup(func() { // behind those of fn
		if after := openFiles(t); after > before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
	limit, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	_, err = RunUntilComplete(l, CreateTask(l.Context(limit), "test", func(ctx context.Context) (int, error) {
		fn(ctx, l, b)
		return 0, nil
	}))
	must(t, err)
	must(t, pool.Shutdown(context.Background()))
	if b.adds != b.removes || len(l.sockOps) != 0 || l.watching != 0 {
		t.Errorf("left behind: %d registrations of %d, %d operations, %d watched", b.adds-b.removes, b.adds, len(l.sockOps), l.watching)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

// sockets makes a connected pair that fn closes itself.
func sockets(t *testing.T, kind int) (a, b int, end func()) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fds[0], fds[1], func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) }
}

func putText(t *testing.T, fd int, text string) {
	t.Helper()
	_, err := unix.Write(fd, []byte(text))
	must(t, err)
}

// receive is SockRecv in a task of its own that has begun to wait.
func receive(t *testing.T, ctx context.Context, fd int) *Task[[]byte] {
	t.Helper()
	k := CreateTask(ctx, "receive", func(ctx context.Context) ([]byte, error) { return SockRecv(ctx, fd, 100) })
	must(t, Sleep(ctx, 0))
	if k.Done() {
		_, err := k.Result()
		t.Fatal("it does not wait: ", err)
	}
	return k
}

func getText(t *testing.T, ctx context.Context, fd, n int, want string) {
	t.Helper()
	if p, err := SockRecv(ctx, fd, n); err != nil || string(p) != want {
		t.Errorf("got %q, %v; want %q", p, err, want)
	}
}

func TestSockRecv(t *testing.T) {
	t.Run("SOK-01 the system call comes first, the poller only when it must wait", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, p *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			putText(t, b, "hello")
			getText(t, ctx, a, 3, "hel")
			buf := make([]byte, 9)
			if n, err := SockRecvInto(ctx, a, buf); n != 2 || err != nil || string(buf[:n]) != "lo" {
				t.Error(n, err)
			}
			must(t, SockSendall(ctx, a, []byte("x")))
			if _, err := SockSendto(ctx, a, []byte("x"), &net.UnixAddr{Name: "/nowhere"}); !errors.Is(err, syscall.EISCONN) && !errors.Is(err, syscall.EOPNOTSUPP) {
				t.Error(err)
			}
			if p.adds != 0 {
				t.Error("the poller was asked", p.adds)
			}
			k := receive(t, ctx, a)
			if p.adds != 1 {
				t.Error("registrations:", p.adds)
			}
			putText(t, b, "late")
			if got, err := k.Await(ctx); string(got) != "late" || err != nil {
				t.Error(got, err)
			}
		})
	})
	t.Run("SOK-02 a receive gives 1 to n bytes, and nothing at the end or for n of 0", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			putText(t, b, "hello")
			getText(t, ctx, a, 0, "")
			getText(t, ctx, a, 3, "hel")
			getText(t, ctx, a, 1<<40, "lo")
			if _, err := SockRecv(ctx, a, -1); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			if n, err := SockRecvInto(ctx, a, nil); n != 0 || err != nil {
				t.Error(n, err)
			}
			must(t, unix.Shutdown(b, unix.SHUT_WR))
			getText(t, ctx, a, 10, "")
			if n, err := SockRecvInto(ctx, a, make([]byte, 4)); n != 0 || err != nil {
				t.Error(n, err)
			}
		})
	})
}

func TestSockSendall(t *testing.T) {
	t.Run("SOK-03 a full send returns when the kernel has all of it", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			must(t, SockSendall(ctx, a, nil))
			big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
			k := CreateTask(ctx, "send", func(ctx context.Context) (int, error) { return 0, SockSendall(ctx, a, big) })
			var got []byte
			for len(got) < len(big) {
				p, err := SockRecv(ctx, b, 1<<16)
				must(t, err)
				got = append(got, p...)
			}
			if _, err := k.Await(ctx); err != nil || !bytes.Equal(got, big) {
				t.Error(err, len(got))
			}
			must(t, unix.Shutdown(b, unix.SHUT_RD))
			if err := SockSendall(ctx, a, []byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Error(err)
			}
		})
	})
	t.Run("SOK-06 a cancelled send leaves a part sent and the socket free", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			const size = 1 << 22
			k := CreateTask(ctx, "send", func(ctx context.Context) (int, error) {
				return 0, SockSendall(ctx, a, make([]byte, size))
			})
			must(t, Sleep(ctx, 0))
			k.Cancel()
			if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
			n, buf := 0, make([]byte, 1<<20)
			for {
				m, err := unix.Read(b, buf)
				if err != nil {
					break
				}
				n += m
			}
			if n == 0 || n >= size {
				t.Error("sent", n)
			}
			must(t, SockSendall(ctx, a, []byte("more")))
			getText(t, ctx, b, 10, "more")
		})
	})
}

func TestSockCancel(t *testing.T) {
	t.Run("SOK-04 a cancelled receive takes nothing, also when data came in the same turn", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			k := receive(t, ctx, a)
			k.Cancel()
			if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
			putText(t, b, "keep")
			getText(t, ctx, a, 10, "keep")
			for range 50 { // the order of data, cancel and the turn does not matter
				k = receive(t, ctx, a)
				putText(t, b, "race")
				l.CallSoon(func() { k.Cancel() })
				must(t, Sleep(ctx, 0))
				k.Cancel()
				if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) {
					t.Fatal(err)
				}
				getText(t, ctx, a, 10, "race")
			}
			must(t, Sleep(ctx, 0))
			k = receive(t, ctx, a)
			putText(t, b, "woken")
			for !l.sockOps[side{fd: a}].ready.Done() { // the poller has seen it, the task has not run
				must(t, Sleep(ctx, 0))
			}
			if k.Cancel(); !k.Done() {
				if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) {
					t.Error(err)
				}
				getText(t, ctx, a, 10, "woken")
			}
		})
	})
	t.Run("SOK-04 a ctx of its own that ends does the same", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			limit, stop := context.WithTimeout(ctx, time.Millisecond)
			defer stop()
			if _, err := SockRecv(limit, a, 10); !errors.Is(err, ErrTimeout) {
				t.Error(err)
			}
			if err := Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
				_, _, err := SockAccept(ctx, a)
				return err
			}); !errors.Is(err, ErrTimeout) && !errors.Is(err, syscall.EINVAL) {
				t.Error(err)
			}
			putText(t, b, "keep")
			getText(t, ctx, a, 10, "keep")
		})
	})
	t.Run("SOK-05 the successor of a cancelled operation keeps its registration", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			for range 20 {
				old := receive(t, ctx, a)
				old.Cancel() // it has not run since
				next := receive(t, ctx, a)
				if _, err := old.Await(ctx); !errors.Is(err, ErrCancelled) {
					t.Fatal(err)
				}
				must(t, Sleep(ctx, 0))
				putText(t, b, "next")
				if got, err := next.Await(ctx); string(got) != "next" || err != nil {
					t.Fatal(got, err)
				}
			}
		})
	})
}

func TestSockBusy(t *testing.T) {
	t.Run("SOK-07 the second receive is busy and the first one gets its data", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			first := receive(t, ctx, a)
			if _, err := SockRecv(ctx, a, 10); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			if _, _, err := SockAccept(ctx, a); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			if err := l.AddReader(a, func() { t.Error("took the data") }); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			must(t, SockSendall(ctx, a, []byte("the other direction is free")))
			written := 0
			must(t, l.AddWriter(a, func() { written++ }))
			putText(t, b, "AB")
			if got, err := first.Await(ctx); string(got) != "AB" || err != nil {
				t.Error(got, err)
			}
			if written == 0 || !l.RemoveWriter(a) {
				t.Error("the writer was disturbed", written)
			}
		})
	})
	t.Run("SOK-07 a reader of the user is not displaced", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			seen := NewFuture[int](l)
			must(t, l.AddReader(a, func() { l.RemoveReader(a); _ = seen.SetResult(1) }))
			if _, err := SockRecv(ctx, a, 10); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			putText(t, b, "zz")
			if _, err := seen.Await(ctx); err != nil {
				t.Error(err)
			}
			getText(t, ctx, a, 10, "zz")
		})
	})
	t.Run("SOK-13 a transport's descriptor is refused before a byte moves", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			w, err := l.watchOwned(a, func() {}, func() {})
			must(t, err)
			putText(t, b, "x")
			if _, err := SockRecv(ctx, a, 1); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "transport") {
				t.Error(err)
			}
			if err := SockSendall(ctx, a, []byte("q")); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			if _, err := unix.Read(b, make([]byte, 1)); err != unix.EAGAIN {
				t.Error("a byte was sent", err)
			}
			w.Close()
			getText(t, ctx, a, 1, "x")
		})
	})
}

func TestSockClosed(t *testing.T) {
	t.Run("SOK-11 closed, negative, blocking descriptors and other files are refused", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, _, end := sockets(t, unix.SOCK_STREAM)
			must(t, unix.SetNonblock(a, false))
			ops := map[string]func(fd int) error{
				"recv":     func(fd int) error { _, err := SockRecv(ctx, fd, 1); return err },
				"into":     func(fd int) error { _, err := SockRecvInto(ctx, fd, make([]byte, 1)); return err },
				"from":     func(fd int) error { _, _, err := SockRecvfrom(ctx, fd, 1); return err },
				"frominto": func(fd int) error { _, _, err := SockRecvfromInto(ctx, fd, make([]byte, 1)); return err },
				"sendall":  func(fd int) error { return SockSendall(ctx, fd, []byte("x")) },
				"sendto": func(fd int) error {
					_, err := SockSendto(ctx, fd, []byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
					return err
				},
				"accept":  func(fd int) error { _, _, err := SockAccept(ctx, fd); return err },
				"connect": func(fd int) error { return SockConnect(ctx, fd, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}) },
			}
			for name, op := range ops {
				if err := op(a); !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "block") {
					t.Error(name, "blocking:", err)
				}
				if err := op(-1); !errors.Is(err, ErrInvalidArgument) {
					t.Error(name, "negative:", err)
				}
			}
			end()
			for name, op := range ops {
				if err := op(a); !errors.Is(err, syscall.EBADF) {
					t.Error(name, "closed:", err)
				}
			}
			if err := SockConnect(ctx, a, nil); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			if _, err := SockSendto(ctx, a, nil, nil); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
		})
	})
	t.Run("SOK-12 an operation goes on when its descriptor is closed and the number used again", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			k := receive(t, ctx, a)
			must(t, unix.Close(a))
			c, d, endOther := sockets(t, unix.SOCK_STREAM)
			if c != a {
				t.Fatalf("the kernel gave %d, not %d", c, a)
			}
			putText(t, d, "stranger's")
			other := CreateTask(ctx, "other", func(ctx context.Context) ([]byte, error) { return SockRecv(ctx, c, 100) })
			if got, err := other.Await(ctx); string(got) != "stranger's" || err != nil {
				t.Error(got, err)
			}
			putText(t, b, "mine")
			if got, err := k.Await(ctx); string(got) != "mine" || err != nil {
				t.Error(got, err)
			}
			endOther()
			_ = unix.Close(b)
			_ = end
		})
	})
	t.Run("SOK-12 closing the loop under an operation ends it", func(t *testing.T) {
		l, _ := newLoop(t)
		a, _ := pair(t)
		before := openFiles(t)
		var got error
		CreateTask(l.Context(context.Background()), "receive", func(ctx context.Context) (int, error) {
			_, got = SockRecv(ctx, a, 1)
			return 0, got
		})
		runTurns(t, l, 2)
		must(t, l.Close())
		if !errors.Is(got, ErrLoopClosed) {
			t.Error(got)
		}
		if after := openFiles(t); after >= before {
			t.Error("descriptors left:", before, after)
		}
	})
}
