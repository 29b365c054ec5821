package transportactors

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// sendPattern is n bytes that repeat nowhere near.
func sendPattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return p
}

func sendFileOf(t *testing.T, text []byte) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(text)
	must(t, err)
	return f
}

// notAFile hides that it could be a file.
type notAFile struct {
	io.ReaderAt
	io.Seeker
}

// sender is one way to send a file: over what, and from what.
type sender struct {
	name   string
	secure bool
	source func(t *testing.T, text []byte) loopnode.File
}

var senders = []sender{
	{"the kernel", false, func(t *testing.T, p []byte) loopnode.File { return sendFileOf(t, p) }},
	{"the fallback", false, func(t *testing.T, p []byte) loopnode.File { f := sendFileOf(t, p); return notAFile{f, f} }},
	{"TLS", true, func(t *testing.T, p []byte) loopnode.File { return sendFileOf(t, p) }},
}

// connect makes a connection of the loop, whose protocol is p, and the other end.
func (s sender) connect(ctx context.Context, p *probe) (Transport, net.Conn, error) {
	server, err := s.server(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	defer server.Close()
	made := loopnode.NewFuture[Transport](server.Loop())
	p.onMade = func(t Transport) { _ = made.SetResult(t) }
	c, err := aside(ctx, func() (net.Conn, error) {
		c, err := peer(server)
		if err != nil || !s.secure {
			return c, err
		}
		cfg := theTLSWorld().clientConfig()
		cfg.ServerName = "localhost"
		secure := tls.Client(c, cfg)
		return secure, secure.Handshake()
	})
	if err != nil {
		return nil, nil, err
	}
	t, err := made.Await(ctx)
	return t, c, err
}

func (s sender) server(ctx context.Context, p *probe) (*Server, error) {
	if s.secure {
		return serveTLS(ctx, p)
	}
	return serve(ctx, p)
}

// each runs fn for every way to send.
func eachSender(t *testing.T, name string, fn func(t *testing.T, ctx context.Context, s sender, told *[]loopnode.ExceptionContext)) {
	for _, s := range senders {
		t.Run(name+", by "+s.name, func(t *testing.T) {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				fn(t, ctx, s, told)
				return nil
			})
		})
	}
}

// readAll reads the other end to its end, aside.
func readAll(ctx context.Context, c net.Conn) *loopnode.Future[[]byte] {
	return loopnode.RunInExecutor(ctx, nil, func() ([]byte, error) {
		defer c.Close()
		p, err := io.ReadAll(c)
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil
		}
		return p, err
	})
}

func filePlace(t *testing.T, f loopnode.File) int64 {
	t.Helper()
	n, err := f.Seek(0, io.SeekCurrent)
	must(t, err)
	return n
}

func TestSendfile(t *testing.T) {
	text := sendPattern(2<<20 + 17)
	size := int64(len(text))
	eachSender(t, "SFL-01 SFL-02 SFL-08 parts of a file between other bytes", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
		p := newProbe(ctx)
		tr, c, err := s.connect(ctx, p)
		must(t, err)
		got := readAll(ctx, c)
		f := s.source(t, text)
		var want []byte
		at := filePlace(t, f)
		for _, part := range []struct{ offset, count, sent int64 }{
			{0, loopnode.ToEnd, size}, {5, 10, 10}, {size, loopnode.ToEnd, 0}, {size + 9, 1, 0}, {size - 10, 100, 10}, {17, 1 << 20, 1 << 20},
		} {
			must(t, tr.Write([]byte("before ")))
			n, err := Sendfile(ctx, tr, f, part.offset, part.count)
			if n != part.sent || err != nil {
				t.Error(part, n, err)
			}
			must(t, tr.Write([]byte(" behind")))
			from := min(part.offset, size)
			want = slices.Concat(want, []byte("before "), text[from:from+part.sent], []byte(" behind"))
			if part.sent > 0 {
				at = part.offset + part.sent
			}
			if n := filePlace(t, f); n != at {
				t.Error(part, "position", n)
			}
		}
		tr.Close()
		if b, err := got.Await(ctx); err != nil || !bytes.Equal(b, want) {
			t.Error(len(b), len(want), err)
		}
		if moved, _ := tr.ExtraInfo("bytes_written").(uint64); moved < uint64(len(want)) || !s.secure && moved > uint64(len(want)) {
			t.Errorf("%d bytes written, %d were sent", moved, len(want))
		}
		must(t, p.wait(ctx))
		if pauses := count(p.log, "pause"); pauses != count(p.log, "resume") && pauses != count(p.log, "resume")+1 {
			t.Error(p.log)
		}
	})
	eachSender(t, "SFL-02 a file goes behind a queue above the high water mark", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
		p := newProbe(ctx)
		tr, c, err := s.connect(ctx, p)
		must(t, err)
		big := sendPattern(8 << 20)
		must(t, tr.Write(big))
		if count(p.log, "pause") != 1 {
			t.Error(p.log)
		}
		p.onResume = func() { must(t, tr.Write([]byte("resumed"))) }
		got := readAll(ctx, c)
		n, err := Sendfile(ctx, tr, s.source(t, text), 0, loopnode.ToEnd)
		if n != size || err != nil {
			t.Error(n, err)
		}
		for count(p.log, "resume") == 0 {
			must(t, loopnode.Sleep(ctx, 0))
		}
		tr.Close()
		b, err := got.Await(ctx)
		if err != nil || !bytes.Equal(b, slices.Concat(big, text, []byte("resumed"))) {
			t.Error(len(b), err)
		}
		must(t, p.wait(ctx))
	})
}

func count(log []string, what string) (n int) {
	for _, s := range log {
		if s == what {
			n++
		}
	}
	return n
}

// stuckSize is more than the kernel holds for a peer that does not read.
const stuckSize = 12 << 20

// stuck begins to send a file that the peer does not read.
func (s sender) stuck(t *testing.T, ctx context.Context, p *probe) (Transport, net.Conn, loopnode.File, *loopnode.Task[int64]) {
	t.Helper()
	tr, c, err := s.connect(ctx, p)
	must(t, err)
	under := c
	if tc, ok := c.(*tls.Conn); ok {
		under = tc.NetConn()
	}
	must(t, under.(*net.TCPConn).SetReadBuffer(64<<10))
	f := s.source(t, sendPattern(stuckSize))
	k := loopnode.CreateTask(ctx, "send", func(ctx context.Context) (int64, error) {
		n, err := Sendfile(ctx, tr, f, 3, loopnode.ToEnd)
		if err != nil {
			err = &sentSome{n, err}
		}
		return n, err
	})
	must(t, loopnode.Sleep(ctx, 50*time.Millisecond)) // both buffers are full, or nearly
	if k.Done() {
		_, err := k.Result()
		t.Fatal("it did not wait:", err)
	}
	return tr, c, f, k
}

// sentSome carries a count through a task that fails.
type sentSome struct {
	n   int64
	err error
}

func (p *sentSome) Error() string { return p.err.Error() }
func (p *sentSome) Unwrap() error { return p.err }

// partly waits for a file that fails and checks count and position.
func partly(t *testing.T, ctx context.Context, k *loopnode.Task[int64], f loopnode.File) error {
	t.Helper()
	_, err := k.Await(ctx)
	var some *sentSome
	if !errors.As(err, &some) || some.n <= 0 || filePlace(t, f) != 3+some.n {
		t.Error(err, filePlace(t, f))
	}
	return err
}

func TestSendfileEnds(t *testing.T) {
	eachSender(t, "SFL-11 SFL-05 a peer that leaves in the middle closes the transport", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
		p := newProbe(ctx)
		tr, c, f, k := s.stuck(t, ctx, p)
		if tc, ok := c.(*tls.Conn); ok {
			c = tc.NetConn()
		}
		must(t, c.(*net.TCPConn).SetLinger(0))
		must(t, c.Close())
		if err := partly(t, ctx, k, f); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if !tr.IsClosing() {
			t.Error("not closing")
		}
		if err := p.wait(ctx); err == nil {
			t.Error("lost without a reason")
		}
	})
	eachSender(t, "SFL-11 a peer that leaves behind the last byte is no error", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
		p := newProbe(ctx)
		tr, c, err := s.connect(ctx, p)
		must(t, err)
		const size = 100 << 10
		got := loopnode.RunInExecutor(ctx, nil, func() (int, error) {
			defer c.Close()
			return io.ReadFull(c, make([]byte, size))
		})
		n, err := Sendfile(ctx, tr, s.source(t, sendPattern(size)), 0, loopnode.ToEnd)
		if n != size || err != nil {
			t.Error(n, err)
		}
		if m, err := got.Await(ctx); m != size || err != nil {
			t.Error(m, err)
		}
		must(t, p.wait(ctx))
	})
	for name, end := range map[string]func(Transport){"Close": Transport.Close, "Abort": Transport.Abort} {
		eachSender(t, name+" ends the file with an error and its count", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
			p := newProbe(ctx)
			tr, c, f, k := s.stuck(t, ctx, p)
			end(tr)
			got := readAll(ctx, c)
			if err := partly(t, ctx, k, f); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			must(t, p.wait(ctx))
			_, _ = got.Await(ctx) // a part, cut off: how is the transport's affair
		})
	}
	eachSender(t, "SFL-06 cancelling leaves the transport as it was", func(t *testing.T, ctx context.Context, s sender, _ *[]loopnode.ExceptionContext) {
		p := newProbe(ctx)
		tr, c, f, k := s.stuck(t, ctx, p)
		k.Cancel()
		if err := partly(t, ctx, k, f); !errors.Is(err, loopnode.ErrCancelled) {
			t.Error(err)
		}
		if tr.Protocol() != any(p) || !tr.IsReading() || tr.IsClosing() {
			t.Error(tr.Protocol(), tr.IsReading(), tr.IsClosing())
		}
		must(t, tr.Write([]byte("the end")))
		got := readAll(ctx, c)
		tr.Close()
		if b, err := got.Await(ctx); err != nil || !bytes.HasSuffix(b, []byte("the end")) {
			t.Error(len(b), err)
		}
		must(t, p.wait(ctx))
	})
	t.Run("SFL-06 closing the loop under a file ends it", func(t *testing.T) {
		var outcome error
		var c net.Conn
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s := senders[0]
			var tr Transport
			var err error
			tr, c, err = s.connect(ctx, newProbe(ctx))
			must(t, err)
			f := s.source(t, sendPattern(stuckSize))
			loopnode.CreateTask(ctx, "send", func(ctx context.Context) (int64, error) {
				_, outcome = Sendfile(ctx, tr, f, 0, loopnode.ToEnd)
				return 0, outcome
			})
			return loopnode.Sleep(ctx, time.Millisecond)
		})
		must(t, c.Close())
		if !errors.Is(outcome, loopnode.ErrLoopClosed) {
			t.Error(outcome)
		}
	})
}

func TestSendfileRefuses(t *testing.T) {
	t.Run("SFL-10 nothing else is written, and nothing read, until the file has gone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			tr, c, f, k := senders[0].stuck(t, ctx, p)
			_, another := Sendfile(ctx, tr, f, 0, 1)
			for name, err := range map[string]error{
				"Write":      tr.Write([]byte("x")),
				"Writelines": tr.Writelines([][]byte{[]byte("x")}),
				"WriteEOF":   tr.WriteEOF(),
				"Sendfile":   another,
			} {
				if !errors.Is(err, ErrSendfile) || !strings.Contains(err.Error(), "in progress") {
					t.Error(name, err)
				}
			}
			if tr.IsReading() {
				t.Error("it reads")
			}
			_, err := aside(ctx, func() (int, error) { return c.Write([]byte("input")) })
			must(t, err)
			must(t, loopnode.Sleep(ctx, 20*time.Millisecond))
			if len(p.data) != 0 {
				t.Error("read meanwhile:", string(p.data))
			}
			got := readAll(ctx, c)
			n, err := k.Await(ctx)
			if n != stuckSize-3 || err != nil {
				t.Error(n, err)
			}
			for string(p.data) != "input" {
				must(t, loopnode.Sleep(ctx, time.Millisecond))
			}
			if !tr.IsReading() {
				t.Error("it does not read again")
			}
			tr.Close()
			if b, err := got.Await(ctx); int64(len(b)) != n || err != nil {
				t.Error(len(b), err)
			}
			return p.wait(ctx)
		})
	})
	t.Run("SFL-10 a reader that was paused stays paused", func(t *testing.T) {
		for _, s := range senders {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				p := newProbe(ctx)
				tr, c, err := s.connect(ctx, p)
				must(t, err)
				must(t, tr.PauseReading())
				_, err = Sendfile(ctx, tr, s.source(t, []byte("text")), 0, loopnode.ToEnd)
				if err != nil || tr.IsReading() {
					t.Error(s.name, err, tr.IsReading())
				}
				tr.Abort()
				must(t, c.Close())
				_ = p.wait(ctx)
				return nil
			})
		}
	})
	t.Run("SFL-03 senseless arguments are refused before a byte leaves", func(t *testing.T) {
		for _, s := range senders {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				p := newProbe(ctx)
				tr, c, err := s.connect(ctx, p)
				must(t, err)
				f := s.source(t, []byte("text"))
				dir, err := os.Open(t.TempDir())
				must(t, err)
				defer dir.Close()
				for _, bad := range []struct {
					t             Transport
					f             loopnode.File
					offset, count int64
				}{
					{tr, f, -1, 1}, {tr, f, 0, 0}, {tr, f, 0, -5}, {tr, nil, 0, 1}, {tr, dir, 0, 1}, {nil, f, 0, 1},
				} {
					if n, err := Sendfile(ctx, bad.t, bad.f, bad.offset, bad.count); n != 0 || !errors.Is(err, loopnode.ErrInvalidArgument) {
						t.Error(s.name, bad, n, err)
					}
				}
				got := readAll(ctx, c)
				tr.Close()
				if b, err := got.Await(ctx); len(b) != 0 || err != nil {
					t.Error(s.name, b, err)
				}
				return p.wait(ctx)
			})
		}
	})
	t.Run("SFL-07 SFL-04 no fallback wanted means a clear refusal", func(t *testing.T) {
		for _, s := range senders {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				p := newProbe(ctx)
				tr, c, err := s.connect(ctx, p)
				must(t, err)
				n, err := Sendfile(ctx, tr, s.source(t, []byte("text")), 0, loopnode.ToEnd, loopnode.WithoutFallback())
				if native := s.name == "the kernel"; native != (err == nil) || native != (n == 4) {
					t.Error(s.name, n, err)
				} else if !native && !errors.Is(err, loopnode.ErrSendfileNotAvailable) {
					t.Error(s.name, err)
				}
				must(t, tr.Write([]byte("more")))
				got := readAll(ctx, c)
				tr.Close()
				if b, err := got.Await(ctx); int64(len(b)) != n+4 || err != nil {
					t.Error(s.name, string(b), err)
				}
				return p.wait(ctx)
			})
		}
	})
	t.Run("SFL-09 a closing transport, a pipe and what is no transport of ours refuse", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			f := sendFileOf(t, []byte("text"))
			for _, s := range senders {
				p := newProbe(ctx)
				tr, c, err := s.connect(ctx, p)
				must(t, err)
				tr.Close()
				if _, err := Sendfile(ctx, tr, f, 0, 1); !errors.Is(err, ErrClosed) {
					t.Error(s.name, err)
				}
				_, _ = readAll(ctx, c).Await(ctx)
				_ = p.wait(ctx)
				if _, err := Sendfile(ctx, tr, f, 0, 1); !errors.Is(err, ErrClosed) {
					t.Error(s.name, err)
				}
			}
			p := newProbe(ctx)
			tr, c, err := senders[0].connect(ctx, p)
			must(t, err)
			if _, err := Sendfile(ctx, struct{ Transport }{tr}, f, 0, 1); !errors.Is(err, loopnode.ErrInvalidArgument) || !strings.Contains(err.Error(), "not supported") {
				t.Error(err)
			}
			must(t, tr.WriteEOF())
			if _, err := Sendfile(ctx, tr, f, 0, 1); !errors.Is(err, ErrWriteEOF) {
				t.Error(err)
			}
			_, _ = readAll(ctx, c).Await(ctx)
			tr.Abort()
			_ = p.wait(ctx)
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			pipe := newProbe(ctx)
			wt, _, err := ConnectWritePipe(ctx, func() *probe { return pipe }, w)
			must(t, err)
			if _, err := Sendfile(ctx, wt, f, 0, 1); !errors.Is(err, loopnode.ErrInvalidArgument) || !strings.Contains(err.Error(), "not supported") {
				t.Error(err)
			}
			wt.Close()
			return pipe.wait(ctx)
		})
	})
	t.Run("a callback, another loop and another goroutine are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			tr, c, err := senders[0].connect(ctx, p)
			must(t, err)
			f := sendFileOf(t, []byte("text"))
			_, err = aside(ctx, func() (int64, error) { return Sendfile(ctx, tr, f, 0, 1) })
			if !errors.Is(err, loopnode.ErrWrongGoroutine) {
				t.Error(err)
			}
			l, err := loopnode.New(loopnode.Config{})
			must(t, err)
			_, err = aside(ctx, func() (int64, error) {
				return loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int64, error) {
					return Sendfile(ctx, tr, f, 0, 1)
				}))
			})
			if !errors.Is(err, loopnode.ErrWrongLoop) {
				t.Error(err)
			}
			must(t, l.Close())
			tr.Abort()
			must(t, c.Close())
			_ = p.wait(ctx)
			return nil
		})
	})
}
