package loopnode

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fileOf makes a file with some text, read to its end.
func fileOf(t *testing.T, text []byte) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(text)
	must(t, err)
	return f
}

func position(t *testing.T, f File) int64 {
	t.Helper()
	n, err := f.Seek(0, io.SeekCurrent)
	must(t, err)
	return n
}

// pattern is n bytes that repeat nowhere near.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return p
}

// readable shows a reader as something the kernel cannot send.
type readable struct{ *bytes.Reader }

// collect receives until the end of the stream, in a task.
func collect(ctx context.Context, fd int) *Task[[]byte] {
	return CreateTask(ctx, "collect", func(ctx context.Context) ([]byte, error) {
		var got []byte
		for {
			p, err := SockRecv(ctx, fd, 1<<20)
			if err != nil || len(p) == 0 {
				return got, err
			}
			got = append(got, p...)
		}
	})
}

func TestSockSendfile(t *testing.T) {
	text := pattern(3<<20 + 17)
	ways := map[string]func(t *testing.T) File{
		"kernel":   func(t *testing.T) File { return fileOf(t, text) },
		"fallback": func(t *testing.T) File { return readable{bytes.NewReader(text)} },
	}
	for way, source := range ways {
		t.Run("SFL-01 SFL-08 a part of a file is sent, counted, and the position set behind it, by "+way, func(t *testing.T) {
			onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
				f := source(t)
				size := int64(len(text))
				start := position(t, f)
				for _, c := range []struct{ offset, count, want int64 }{
					{size, ToEnd, 0}, {size + 5, 10, 0}, {0, ToEnd, size}, {5, 10, 10}, {size - 10, 100, 10}, {17, 1<<20 + 1, 1<<20 + 1},
				} {
					a, b, end := sockets(t, unix.SOCK_STREAM)
					k := collect(ctx, b)
					n, err := SockSendfile(ctx, a, f, c.offset, c.count)
					must(t, unix.Shutdown(a, unix.SHUT_WR))
					got, rerr := k.Await(ctx)
					if n != c.want || err != nil || rerr != nil || !bytes.Equal(got, text[min(c.offset, size):min(c.offset, size)+c.want]) {
						t.Error(c, n, len(got), err, rerr)
					}
					if c.want > 0 {
						start = c.offset + c.want
					}
					if p := position(t, f); p != start {
						t.Error(c, "position", p, "want", start)
					}
					end()
				}
			})
		})
		t.Run("SFL-02 bytes before and behind the file keep their places, by "+way, func(t *testing.T) {
			onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
				a, b, end := sockets(t, unix.SOCK_STREAM)
				defer end()
				k := collect(ctx, b)
				must(t, SockSendall(ctx, a, []byte("before")))
				_, err := SockSendfile(ctx, a, source(t), 0, ToEnd)
				must(t, err)
				must(t, SockSendall(ctx, a, []byte("behind")))
				must(t, unix.Shutdown(a, unix.SHUT_WR))
				got, err := k.Await(ctx)
				if want := "before" + string(text) + "behind"; err != nil || string(got) != want {
					t.Error(len(got), err)
				}
			})
		})
		t.Run("SFL-05 a peer that leaves in the middle is an error with the count, and the position is set, by "+way, func(t *testing.T) {
			onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
				f := source(t)
				a, b, _ := sockets(t, unix.SOCK_STREAM)
				k := CreateTask(ctx, "send", func(ctx context.Context) (int64, error) { return withCount(SockSendfile(ctx, a, f, 7, ToEnd)) })
				p, err := SockRecv(ctx, b, 100)
				must(t, err)
				must(t, unix.Close(b))
				n, err := k.Await(ctx)
				var sent *partly
				if !errors.As(err, &sent) || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, ErrSendfileNotAvailable) {
					t.Fatal(n, err)
				}
				if int(sent.n) < len(p) || position(t, f) != 7+sent.n {
					t.Error(sent.n, len(p), position(t, f))
				}
				must(t, unix.Close(a))
			})
		})
		t.Run("SFL-06 cancelling stops the watch and sets the position, by "+way, func(t *testing.T) {
			onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
				f := source(t)
				a, b, end := sockets(t, unix.SOCK_STREAM)
				defer end()
				k := CreateTask(ctx, "send", func(ctx context.Context) (int64, error) { return withCount(SockSendfile(ctx, a, f, 0, ToEnd)) })
				for op := l.sockOps[side{a, true}]; op == nil || op.watch == nil; op = l.sockOps[side{a, true}] {
					must(t, Sleep(ctx, 0))
				}
				if err := SockSendall(ctx, a, []byte("between")); !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				k.Cancel()
				_, err := k.Await(ctx)
				var sent *partly
				if !errors.As(err, &sent) || !errors.Is(err, ErrCancelled) || sent.n == 0 || position(t, f) != sent.n {
					t.Error(err, position(t, f))
				}
				if len(l.sockOps) != 0 || l.watching != 0 {
					t.Error("still watched")
				}
				must(t, unix.Shutdown(a, unix.SHUT_WR))
				got, err := collect(ctx, b).Await(ctx)
				if err != nil || int64(len(got)) != sent.n {
					t.Error(len(got), sent.n, err)
				}
			})
		})
	}
}

// partly carries a count through a task that fails.
type partly struct {
	n   int64
	err error
}

func (p *partly) Error() string { return p.err.Error() }
func (p *partly) Unwrap() error { return p.err }

func withCount(n int64, err error) (int64, error) {
	if err != nil {
		err = &partly{n, err}
	}
	return n, err
}

func TestSockSendfileRefuses(t *testing.T) {
	t.Run("SFL-03 senseless arguments are refused before a byte leaves", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			f := fileOf(t, []byte("text"))
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			d, _, endD := sockets(t, unix.SOCK_DGRAM)
			defer endD()
			dir, err := os.Open(t.TempDir())
			must(t, err)
			defer dir.Close()
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			defer w.Close()
			for name, c := range map[string]struct {
				fd            int
				f             File
				offset, count int64
			}{
				"a count of 0":         {a, f, 0, 0},
				"a negative count":     {a, f, 0, -1},
				"a negative offset":    {a, f, -1, 4},
				"no file":              {a, nil, 0, 4},
				"a directory":          {a, dir, 0, 4},
				"a pipe":               {a, r, 0, 4},
				"a datagram socket":    {d, f, 0, 4},
				"a negative number":    {-1, f, 0, 4},
				"a nil *os.File in it": {a, (*os.File)(nil), 0, 4},
			} {
				if n, err := SockSendfile(ctx, c.fd, c.f, c.offset, c.count); n != 0 || !errors.Is(err, ErrInvalidArgument) {
					t.Error(name, n, err)
				}
			}
			must(t, unix.SetNonblock(a, false))
			if _, err := SockSendfile(ctx, a, f, 0, 4); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			if _, err := unix.Read(b, make([]byte, 1)); err != unix.EAGAIN {
				t.Error("a byte left", err)
			}
		})
	})
	t.Run("users' functions that all wait do not keep a file from being read", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			l.pools.max = 1
			gate := make(chan struct{})
			defer close(gate)
			RunInExecutor(ctx, nil, func() (int, error) { <-gate; return 0, nil })
			must(t, Timeout(ctx, 20*time.Second, func(ctx context.Context) error {
				if n, err := SockSendfile(ctx, a, strings.NewReader("text"), 0, 4); n != 4 || err != nil {
					t.Error(n, err)
				}
				p, err := SockRecv(ctx, b, 10)
				if len(p) != 4 {
					t.Error(p, err)
				}
				return err
			}))
		})
	})
	t.Run("SFL-04 SFL-07 without the kernel's way there is the fallback, or a clear refusal", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			a, b, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			zero, err := os.Open("/dev/zero")
			must(t, err)
			defer zero.Close()
			for name, f := range map[string]File{"a device": zero, "memory": strings.NewReader("text")} {
				if n, err := SockSendfile(ctx, a, f, 0, 4, WithoutFallback()); n != 0 || !errors.Is(err, ErrSendfileNotAvailable) {
					t.Error(name, n, err)
				}
				if _, err := unix.Read(b, make([]byte, 1)); err != unix.EAGAIN {
					t.Error(name, "a byte left", err)
				}
				if n, err := SockSendfile(ctx, a, f, 0, 4); n != 4 || err != nil {
					t.Error(name, n, err)
				}
				if p, err := SockRecv(ctx, b, 10); len(p) != 4 || err != nil {
					t.Error(name, p, err)
				}
			}
			f := fileOf(t, []byte("text")) // the kernel's way works: the executor is not asked
			must(t, l.SetDefaultExecutor(refusing{}))
			if n, err := SockSendfile(ctx, a, f, 0, ToEnd); n != 4 || err != nil {
				t.Error(n, err)
			}
			l.pools.def = NewPool(1)
			defer l.pools.abandon()
			must(t, unix.Shutdown(b, unix.SHUT_RD)) // the first call fails: the fallback finds out why
			if n, err := SockSendfile(ctx, a, f, 0, ToEnd, WithoutFallback()); n != 0 || !errors.Is(err, ErrSendfileNotAvailable) || !errors.Is(err, syscall.EPIPE) {
				t.Error(n, err)
			}
			if n, err := SockSendfile(ctx, a, f, 0, ToEnd); n != 0 || !errors.Is(err, syscall.EPIPE) || errors.Is(err, ErrSendfileNotAvailable) {
				t.Error(n, err)
			}
		})
	})
	t.Run("SFL-05 a socket without a peer, a file that is closed or not for reading", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, _ *counting) {
			f := fileOf(t, []byte("text"))
			c := openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			if _, err := SockSendfile(ctx, c, f, 0, ToEnd); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.EPIPE) {
				t.Error(err)
			}
			must(t, unix.Close(c))
			a, _, end := sockets(t, unix.SOCK_STREAM)
			defer end()
			blind, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
			must(t, err)
			if _, err := SockSendfile(ctx, a, blind, 0, ToEnd); !errors.Is(err, syscall.EBADF) {
				t.Error(err)
			}
			must(t, blind.Close())
			if _, err := SockSendfile(ctx, a, blind, 0, ToEnd); !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		})
	})
	t.Run("others have their turns while a file is sent", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, l *Loop, _ *counting) {
			f := fileOf(t, pattern(8<<20))
			ln, at := listenSocket(t)
			c := openSocket(t, unix.AF_INET, unix.SOCK_STREAM)
			must(t, SockConnect(ctx, c, at))
			s, _, err := SockAccept(ctx, ln)
			must(t, err)
			read := RunInExecutor(ctx, nil, func() (int64, error) { // as fast as it can
				file := os.NewFile(uintptr(s), "peer")
				defer file.Close()
				conn, err := net.FileConn(file)
				if err != nil {
					return 0, err
				}
				defer conn.Close()
				return io.Copy(io.Discard, conn)
			})
			turns, going := 0, true
			var tick func()
			tick = func() {
				if turns++; going {
					l.CallSoon(tick)
				}
			}
			l.CallSoon(tick)
			n, err := SockSendfile(ctx, c, f, 0, ToEnd)
			going = false
			if n != 8<<20 || err != nil || turns < 8 {
				t.Error(n, err, turns)
			}
			must(t, unix.Close(c))
			must(t, unix.Close(ln))
			if got, err := read.Await(ctx); got != n || err != nil {
				t.Error(got, err)
			}
		})
	})
}

// refusing is an executor that must not be used.
type refusing struct{}

func (refusing) Submit(func()) error            { return errors.New("the executor was used") }
func (refusing) Shutdown(context.Context) error { return nil }
