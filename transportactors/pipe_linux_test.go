package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
)

// ends is a pipe whose ends are closed with the test, if they are still open.
func ends(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// terminals is a pseudo terminal in raw mode.
func terminals(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	must(t, err)
	n := 0
	must(t, raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}))
	must(t, err)
	fd, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	must(t, err)
	tio.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	tio.Oflag &^= unix.OPOST
	tio.Iflag &^= unix.ICRNL
	must(t, unix.IoctlSetTermios(fd, unix.TCSETS, tio))
	slave = os.NewFile(uintptr(fd), "slave") // blocking, as a terminal that others share is
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// nonblocking looks at the flag without touching it.
func nonblocking(t *testing.T, f *os.File) bool {
	t.Helper()
	raw, err := f.SyscallConn()
	must(t, err)
	on := false
	must(t, raw.Control(func(fd uintptr) {
		var flags int
		flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0)
		on = flags&unix.O_NONBLOCK != 0
	}))
	must(t, err)
	return on
}

func closed(f *os.File) bool {
	_, err := f.Stat()
	return errors.Is(err, os.ErrClosed)
}

func readPipe(ctx context.Context, f *os.File) (Transport, *probe, error) {
	return ConnectReadPipe(ctx, func() *probe { return newProbe(ctx) }, f)
}

func writePipe(ctx context.Context, f *os.File) (Transport, *probe, error) {
	return ConnectWritePipe(ctx, func() *probe { return newProbe(ctx) }, f)
}

func TestPipeKinds(t *testing.T) {
	t.Run("PIP-01 pipes, sockets and character devices; anything else is refused and stays open", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			name := filepath.Join(t.TempDir(), "file")
			must(t, os.WriteFile(name, []byte("text"), 0o600))
			for _, path := range []string{name, t.TempDir()} {
				f, err := os.Open(path)
				must(t, err)
				made := false
				factory := func() *probe { made = true; return newProbe(ctx) }
				for what, connect := range map[string]func() error{
					"read":  func() error { _, _, err := ConnectReadPipe(ctx, factory, f); return err },
					"write": func() error { _, _, err := ConnectWritePipe(ctx, factory, f); return err },
				} {
					if err := connect(); !errors.Is(err, loopnode.ErrInvalidArgument) || !strings.Contains(err.Error(), path) {
						t.Errorf("%s %s: %v", what, path, err)
					}
				}
				if made || closed(f) || nonblocking(t, f) {
					t.Errorf("%s was touched: factory %v, closed %v", path, made, closed(f))
				}
				must(t, f.Close())
			}
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			must(t, err)
			defer null.Close()
			if _, _, err := readPipe(ctx, null); !errors.Is(err, syscall.EPERM) || closed(null) {
				t.Errorf("a device that cannot be polled: %v, closed %v", err, closed(null))
			}
			return nil
		})
		for kind, open := range map[string]func(t *testing.T) (ours, theirs *os.File){
			"fifo": func(t *testing.T) (*os.File, *os.File) {
				name := filepath.Join(t.TempDir(), "fifo")
				must(t, unix.Mkfifo(name, 0o600))
				both, err := os.OpenFile(name, os.O_RDWR, 0)
				must(t, err)
				w, err := os.OpenFile(name, os.O_WRONLY, 0)
				must(t, err)
				return both, w
			},
			"socket": func(t *testing.T) (*os.File, *os.File) {
				p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				must(t, err)
				return os.NewFile(uintptr(p[0]), "socket"), os.NewFile(uintptr(p[1]), "peer")
			},
			"device": func(t *testing.T) (*os.File, *os.File) { m, s := terminals(t); return s, m },
		} {
			t.Run(kind, func(t *testing.T) {
				inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
					ours, theirs := open(t)
					defer theirs.Close()
					tr, p, err := readPipe(ctx, ours)
					must(t, err)
					got := loopnode.NewFuture[string](tr.Loop())
					p.onData = func(b []byte) { _ = got.SetResult(string(b)) }
					_, err = theirs.WriteString("hello")
					must(t, err)
					if s, err := got.Await(ctx); s != "hello" {
						t.Errorf("%q, %v", s, err)
					}
					tr.Close()
					must(t, p.wait(ctx))
					if !closed(ours) {
						t.Error("still open")
					}
					return nil
				})
			})
		}
	})
	t.Run("the wrong end, a closed file and nil are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			gone, _ := ends(t)
			must(t, gone.Close())
			for what, f := range map[string]func() (Transport, *probe, error){
				"read the writing end":  func() (Transport, *probe, error) { return readPipe(ctx, w) },
				"write the reading end": func() (Transport, *probe, error) { return writePipe(ctx, r) },
				"closed":                func() (Transport, *probe, error) { return readPipe(ctx, gone) },
				"no file":               func() (Transport, *probe, error) { return readPipe(ctx, nil) },
				"no factory":            func() (Transport, *probe, error) { return ConnectReadPipe[*probe](ctx, nil, r) },
			} {
				if _, _, err := f(); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if closed(r) || closed(w) {
				t.Error("a refused file was closed")
			}
			return nil
		})
	})
}

func TestReadPipe(t *testing.T) {
	t.Run("PIP-02 the transport owns the file: non-blocking, closed with its end, known as pipe", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			tr, p, err := readPipe(ctx, r)
			must(t, err)
			flags, err := unix.FcntlInt(uintptr(tr.ExtraInfo("socket").(*Socket).FD()), unix.F_GETFL, 0)
			must(t, err)
			if tr.ExtraInfo("pipe") != r || flags&unix.O_NONBLOCK == 0 || closed(r) {
				t.Errorf("pipe %v, flags %x, closed %v", tr.ExtraInfo("pipe"), flags, closed(r))
			}
			open := false
			p.onLost = func(error) { open = !closed(r) }
			must(t, w.Close())
			must(t, p.wait(ctx))
			must(t, loopnode.Sleep(ctx, 0))
			if !open || !closed(r) {
				t.Errorf("open in ConnectionLost %v, closed after it %v", open, closed(r))
			}
			return nil
		})
	})
	t.Run("PIP-03 at most 256 KiB at a time, then the end and the loss, whatever EOFReceived answers", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			raw, err := w.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) }))
			must(t, err)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 20<<10) // 320 KiB
			_, err = w.Write(sent)
			must(t, err)
			must(t, w.Close())
			largest, closing := 0, false
			tr, p, err := ConnectReadPipe(ctx, func() *probe {
				p := newProbe(ctx)
				p.onData = func(b []byte) { largest = max(largest, len(b)) }
				p.onEOF = func() bool { closing = p.t.IsClosing(); return true }
				return p
			}, r)
			must(t, err)
			must(t, p.wait(ctx))
			if largest != 256<<10 || !bytes.Equal(p.data, sent) {
				t.Errorf("%d bytes, at most %d at once", len(p.data), largest)
			}
			if want := []string{"made", "data", "data", "eof", "lost"}; !reflect.DeepEqual(p.log, want) || !closing || tr.IsReading() {
				t.Errorf("%v, closing in EOFReceived %v", p.log, closing)
			}
			return nil
		})
	})
	t.Run("PIP-04 a read error is the reason; only a hang-up is not reported", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			master, slave := terminals(t)
			_, p, err := readPipe(ctx, master)
			must(t, err)
			must(t, slave.Close())
			if err := p.wait(ctx); !errors.Is(err, syscall.EIO) || len(*told) != 0 {
				t.Errorf("%v, told %v", err, *told)
			}
			if p.log[len(p.log)-1] != "lost" || len(p.log) != 2 {
				t.Error(p.log)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer ln.Close()
			out, err := net.Dial("tcp", ln.Addr().String())
			must(t, err)
			in, err := ln.Accept()
			must(t, err)
			f, err := in.(*net.TCPConn).File()
			must(t, err)
			must(t, in.Close())
			_, p, err = readPipe(ctx, f)
			must(t, err)
			must(t, out.(*net.TCPConn).SetLinger(0))
			must(t, out.Close())
			if err := p.wait(ctx); !errors.Is(err, syscall.ECONNRESET) || len(*told) != 1 || !errors.Is((*told)[0].Exception, syscall.ECONNRESET) {
				t.Errorf("%v, told %v", err, *told)
			}
			return nil
		})
	})
	t.Run("PIP-05 pause, resume and close may be repeated, also on a closing pipe", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			tr, p, err := readPipe(ctx, r)
			must(t, err)
			must(t, tr.PauseReading())
			must(t, tr.PauseReading())
			_, err = w.WriteString("late")
			must(t, err)
			for range 3 {
				must(t, loopnode.Sleep(ctx, 0))
			}
			if len(p.data) != 0 || tr.IsReading() {
				t.Error("a paused pipe was read")
			}
			got := loopnode.NewFuture[string](tr.Loop())
			p.onData = func(b []byte) { _ = got.SetResult(string(b)) }
			must(t, tr.ResumeReading())
			must(t, tr.ResumeReading())
			if s, err := got.Await(ctx); s != "late" {
				t.Errorf("%q, %v", s, err)
			}
			tr.Close()
			tr.Close()
			must(t, tr.PauseReading())
			must(t, tr.ResumeReading())
			must(t, p.wait(ctx))
			must(t, tr.PauseReading())
			must(t, tr.ResumeReading())
			tr.Close()
			if want := []string{"made", "data", "lost"}; !reflect.DeepEqual(p.log, want) || len(*told) != 0 {
				t.Errorf("%v, told %v", p.log, *told)
			}
			return nil
		})
	})
	t.Run("a reading pipe takes no output", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, _ := ends(t)
			tr, p, err := readPipe(ctx, r)
			must(t, err)
			for _, err := range []error{tr.Write([]byte("x")), tr.Writelines([][]byte{{1}}), tr.WriteEOF()} {
				if !errors.Is(err, loopnode.ErrInvalidState) {
					t.Error(err)
				}
			}
			if tr.CanWriteEOF() || tr.IsClosing() {
				t.Error("it can be written to, or it is closing")
			}
			tr.Abort()
			return p.wait(ctx)
		})
	})
}

// fill writes until something stays queued, and returns how much it wrote.
func fill(t *testing.T, tr Transport) (n int) {
	t.Helper()
	block := bytes.Repeat([]byte("x"), 16<<10)
	for tr.WriteBufferSize() == 0 {
		must(t, tr.Write(block))
		n += len(block)
	}
	return n
}

func TestWritePipe(t *testing.T) {
	t.Run("PIP-06 Write tries at once and queues the rest, with the marks of sockets", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			tr, p, err := writePipe(ctx, w)
			must(t, err)
			if high, low := tr.WriteBufferLimits(); low != 16<<10 || high != 64<<10 {
				t.Error(low, high)
			}
			must(t, tr.Write([]byte("now")))
			b := make([]byte, 8)
			if n, err := r.Read(b); string(b[:n]) != "now" { // before any turn of the loop
				t.Errorf("%q, %v", b[:n], err)
			}
			total := fill(t, tr)
			if tr.WriteBufferSize() == 0 || len(p.log) != 1 {
				t.Error(tr.WriteBufferSize(), p.log)
			}
			more := make([]byte, 100<<10)
			must(t, tr.Writelines([][]byte{more[:1], more[1:]}))
			total += len(more)
			resumed := loopnode.NewFuture[int](tr.Loop())
			p.onResume = func() { _ = resumed.SetResult(tr.WriteBufferSize()) }
			read := loopnode.RunInExecutor(ctx, nil, func() (int64, error) { return io.Copy(io.Discard, r) })
			if left, err := resumed.Await(ctx); left > 16<<10 || err != nil {
				t.Error(left, err)
			}
			tr.Close()
			must(t, p.wait(ctx))
			if n, err := read.Await(ctx); int(n) != total {
				t.Errorf("%d of %d arrived: %v", n, total, err)
			}
			if want := []string{"made", "pause", "resume", "lost"}; !reflect.DeepEqual(p.log, want) {
				t.Error(p.log)
			}
			return nil
		})
	})
	t.Run("PIP-07 an idle pipe notices that its reader left; bytes that were left are an error", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			_, p, err := writePipe(ctx, w)
			must(t, err)
			must(t, r.Close())
			if err := p.wait(ctx); err != nil {
				t.Error(err)
			}
			r, w = ends(t)
			tr, p, err := writePipe(ctx, w)
			must(t, err)
			fill(t, tr)
			must(t, r.Close())
			if err := p.wait(ctx); !errors.Is(err, syscall.EPIPE) {
				t.Error(err)
			}
			if len(*told) != 0 || !closed(w) {
				t.Error(*told, closed(w))
			}
			return nil
		})
	})
	t.Run("PIP-07 a socket's peer that talks is no reader that left", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			peer := os.NewFile(uintptr(s[1]), "peer")
			tr, p, err := writePipe(ctx, os.NewFile(uintptr(s[0]), "socket"))
			must(t, err)
			_, err = peer.WriteString("not for a writer")
			must(t, err)
			for range 5 {
				must(t, loopnode.Sleep(ctx, 0))
			}
			if c := tr.(*conn); c.socket.kind.watchesReader(c) {
				t.Error("the socket is still watched for its input, which nobody reads: each turn would call us")
			}
			must(t, tr.Write([]byte("still here")))
			b := make([]byte, 32)
			if n, err := peer.Read(b); string(b[:n]) != "still here" {
				t.Errorf("%q %v", b[:n], err)
			}
			tr.Close()
			must(t, p.wait(ctx))
			must(t, peer.Close())

			s, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			_, p, err = writePipe(ctx, os.NewFile(uintptr(s[0]), "socket"))
			must(t, err)
			must(t, unix.Close(s[1]))
			return p.wait(ctx)
		})
	})
	t.Run("PIP-08 WriteEOF is Close: it flushes, and a later write is an error of the call", func(t *testing.T) {
		for name, end := range map[string]func(Transport) error{
			"Close":    func(tr Transport) error { tr.Close(); return nil },
			"WriteEOF": Transport.WriteEOF,
		} {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				r, w := ends(t)
				tr, p, err := writePipe(ctx, w)
				must(t, err)
				total := fill(t, tr)
				must(t, end(tr))
				if !tr.IsClosing() || !tr.CanWriteEOF() {
					t.Error(name, "is not closing")
				}
				for range 6 {
					if err := tr.Write([]byte("late")); !errors.Is(err, ErrClosed) {
						t.Error(name, err)
					}
				}
				must(t, end(tr))
				if n, err := aside(ctx, func() (int64, error) { return io.Copy(io.Discard, r) }); int(n) != total {
					t.Errorf("%s: %d of %d arrived: %v", name, n, total, err)
				}
				must(t, p.wait(ctx))
				if want := []string{"made", "lost"}; !reflect.DeepEqual(p.log, want) || len(*told) != 0 {
					t.Error(name, p.log, *told)
				}
				return nil
			})
		}
	})
	t.Run("PIP-09 a failed write drops the queue and is the reason, unreported; Abort ends in the next turn", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			tr, p, err := writePipe(ctx, w)
			must(t, err)
			must(t, r.Close())
			if err := tr.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || !errors.Is(err, ErrClosed) || !tr.IsClosing() {
				t.Error(err)
			}
			if err := p.wait(ctx); !errors.Is(err, syscall.EPIPE) || len(*told) != 0 {
				t.Error(err, *told)
			}
			_, w = ends(t)
			tr, p, err = writePipe(ctx, w)
			must(t, err)
			fill(t, tr)
			tr.Abort()
			if tr.WriteBufferSize() != 0 || len(p.log) != 1 {
				t.Error("Abort kept the queue or told at once", p.log)
			}
			must(t, loopnode.Sleep(ctx, 0))
			if want := []string{"made", "lost"}; !reflect.DeepEqual(p.log, want) || p.reason != nil {
				t.Error(p.log, p.reason)
			}
			return nil
		})
	})
	t.Run("PIP-10 a terminal works both ways at once on duplicates", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			master, slave := terminals(t)
			in, pin, err := readPipe(ctx, master)
			must(t, err)
			raw, err := master.SyscallConn()
			must(t, err)
			second := -1
			must(t, raw.Control(func(fd uintptr) { second, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }))
			must(t, err)
			out, pout, err := writePipe(ctx, os.NewFile(uintptr(second), "master"))
			must(t, err)
			echo, pecho, err := readPipe(ctx, slave)
			must(t, err)
			back, err := os.OpenFile(slaveName(t, master), os.O_WRONLY|unix.O_NOCTTY, 0)
			must(t, err)
			pecho.onData = func(b []byte) { _, _ = back.Write(bytes.ToUpper(b)) }
			got := loopnode.NewFuture[string](in.Loop())
			pin.onData = func([]byte) {
				if len(pin.data) == 11 {
					_ = got.SetResult(string(pin.data))
				}
			}
			must(t, out.Write([]byte("hello ")))
			must(t, out.Write([]byte("there")))
			if s, err := got.Await(ctx); s != "HELLO THERE" {
				t.Errorf("%q, %v", s, err)
			}
			out.Close()
			in.Close()
			echo.Close()
			must(t, back.Close())
			return errors.Join(pout.wait(ctx), pin.wait(ctx), pecho.wait(ctx))
		})
	})
}

func slaveName(t *testing.T, master *os.File) string {
	t.Helper()
	raw, err := master.SyscallConn()
	must(t, err)
	n := 0
	must(t, raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN) }))
	must(t, err)
	return fmt.Sprintf("/dev/pts/%d", n)
}

func TestPipeFlagOfOthers(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		_, slave := terminals(t)
		shared, err := dup(slave)
		must(t, err)
		defer shared.Close()
		tr, p, err := readPipe(ctx, slave)
		must(t, err)
		if nonblocking(t, shared) {
			t.Error("the terminal is non-blocking for those who share it")
		}
		tr.Close()
		must(t, p.wait(ctx))

		s, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(s[1])
		ours := os.NewFile(uintptr(s[0]), "socket")
		if shared, err = dup(ours); err != nil {
			return err
		}
		defer shared.Close()
		tr, p, err = writePipe(ctx, ours)
		must(t, err)
		tr.Close()
		must(t, p.wait(ctx))
		must(t, loopnode.Sleep(ctx, 0))
		if nonblocking(t, shared) || !closed(ours) {
			t.Error("the flag was not given back, or the file is open", closed(ours))
		}
		return nil
	})
}

func dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	n := -1
	if fault := raw.Control(func(fd uintptr) { n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); fault != nil {
		return nil, fault
	}
	return os.NewFile(uintptr(n), f.Name()), err
}

func TestPipeEndsWithItsTask(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		r, _ := ends(t)
		task := loopnode.CreateTask(ctx, "connects", func(ctx context.Context) (struct{}, error) {
			_, _, err := readPipe(ctx, r)
			return struct{}{}, err
		})
		must(t, loopnode.Sleep(ctx, 0))
		task.Cancel()
		if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
			t.Error(err)
		}
		for range 3 {
			must(t, loopnode.Sleep(ctx, 0))
		}
		if !closed(r) {
			t.Error("a cancelled connect left the file open")
		}
		return nil
	})
}
