package subprocess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// childProbe is a protocol that records what its child tells.
type childProbe struct {
	t      Transport
	log    []string
	out    [3][]byte
	exited *loopnode.Future[int]
	lost   *loopnode.Future[error]
	onMade func(Transport)
}

func newChildProbe(ctx context.Context) *childProbe {
	l, err := loopnode.Running(ctx)
	if err != nil {
		panic(err)
	}
	return &childProbe{exited: loopnode.NewFuture[int](l), lost: loopnode.NewFuture[error](l)}
}

func (p *childProbe) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

func (p *childProbe) ConnectionMade(t Transport) {
	p.t = t
	p.note("made")
	if p.onMade != nil {
		p.onMade(t)
	}
}

func (p *childProbe) PipeDataReceived(fd int, b []byte) {
	p.out[fd] = append(p.out[fd], b...)
	if last := fmt.Sprintf("data %d", fd); p.log[len(p.log)-1] != last {
		p.note("%s", last)
	}
}

func (p *childProbe) PipeConnectionLost(fd int, err error) { p.note("pipe %d %v", fd, err) }

func (p *childProbe) ProcessExited() {
	code, ended := p.t.Returncode()
	p.note("exited %d %v", code, ended)
	_ = p.exited.SetResult(code)
}

func (p *childProbe) ConnectionLost(err error) {
	p.note("lost %v", err)
	_ = p.lost.SetResult(err)
}

func (p *childProbe) PauseWriting()  { p.note("pause") }
func (p *childProbe) ResumeWriting() { p.note("resume") }

// wait waits for ConnectionLost.
func (p *childProbe) wait(ctx context.Context) error {
	reason, err := p.lost.Await(ctx)
	return errors.Join(reason, err)
}

// until waits until fd has brought text.
func (p *childProbe) until(ctx context.Context, fd int, text string) error {
	for !bytes.Contains(p.out[fd], []byte(text)) {
		if err := loopnode.Sleep(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %q, have %q: %w", text, p.out[fd], err)
		}
	}
	return nil
}

func execProbe(ctx context.Context, args []string, opts ...Option) (Transport, *childProbe, error) {
	return ExecProtocol(ctx, func() *childProbe { return newChildProbe(ctx) }, args, opts...)
}

func TestSubprocessStart(t *testing.T) {
	t.Run("SUB-01 exec and shell return after ConnectionMade, with a pid and three pipes", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, start := range []func() (Transport, *childProbe, error){
				func() (Transport, *childProbe, error) { return execProbe(ctx, testkit.Program("cat")) },
				func() (Transport, *childProbe, error) {
					return ShellProtocol(ctx, func() *childProbe { return newChildProbe(ctx) }, "exec \"$PROGRAM\" as-child cat",
						WithEnv("PROGRAM="+testkit.Program()[0]))
				},
			} {
				tr, p, err := start()
				testkit.Must(t, err)
				if !reflect.DeepEqual(p.log, []string{"made"}) || p.t != tr || tr.PID() <= 1 || !slices.Contains(children(t), tr.PID()) {
					t.Errorf("%v, pid %d of %v", p.log, tr.PID(), children(t))
				}
				testkit.Must(t, tr.PipeTransport(0).Write([]byte("hello")))
				testkit.Must(t, tr.PipeTransport(0).WriteEOF())
				testkit.Must(t, p.wait(ctx))
				if code, ended := tr.Returncode(); string(p.out[1]) != "hello" || code != 0 || !ended {
					t.Errorf("%q, %d, %v", p.out[1], code, ended)
				}
			}
			return nil
		})
	})
	t.Run("SUB-02 exec takes a program and its arguments as they are; no program is an error", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			hostile := []string{"1:a b", "1:$HOME", "1:'\"\\;|&", "1:*", "1:\xff\xfe", "1:-n"}
			_, p, err := execProbe(ctx, testkit.Program(append([]string{"say"}, hostile...)...))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if want := "a b\n$HOME\n'\"\\;|&\n*\n\xff\xfe\n-n\n"; string(p.out[1]) != want {
				t.Errorf("%q", p.out[1])
			}
			for what, args := range map[string][]string{"none": nil, "empty": {""}, "NUL": {"true", "a\x00b"}} {
				if _, _, err := execProbe(ctx, args); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(what, err)
				}
			}
			dir := t.TempDir()
			testkit.Must(t, os.Symlink(testkit.Program()[0], filepath.Join(dir, "prog")))
			_, p, err = execProbe(ctx, []string{"prog", testkit.Program()[1], "tell", "arg0"}, WithEnv("PATH=relative:"+dir))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if string(p.out[1]) != "prog\n" {
				t.Errorf("%q", p.out[1])
			}
			return nil
		})
	})
	t.Run("SUB-03 shell takes one string; what the shell does not find is its exit code 127", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for command, want := range map[string]int{"no-such-command-at-all 2>/dev/null": 127, "exit 4": 4, "": 0} {
				tr, p, err := ShellProtocol(ctx, func() *childProbe { return newChildProbe(ctx) }, command)
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx))
				if code, _ := tr.Returncode(); code != want {
					t.Errorf("%q: %d", command, code)
				}
			}
			if _, _, err := ShellProtocol(ctx, func() *childProbe { return newChildProbe(ctx) }, "a\x00b"); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("SUB-05 a program that is missing or cannot be run is an error; nothing is called, nothing stays open", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			plain := filepath.Join(t.TempDir(), "plain")
			testkit.Must(t, os.WriteFile(plain, []byte("text"), 0o600))
			before := testkit.Descriptors()
			for _, c := range []struct {
				args []string
				opts []Option
				want error
			}{
				{[]string{"/nonexistent/x"}, nil, os.ErrNotExist},
				{[]string{"no-such-program-at-all"}, nil, os.ErrNotExist},
				{[]string{plain}, nil, os.ErrPermission},
				{[]string{"plain"}, []Option{WithEnv("PATH=" + filepath.Dir(plain))}, os.ErrPermission},
				{[]string{filepath.Dir(plain)}, nil, os.ErrPermission},
				{testkit.Program("cat"), []Option{WithDir("/nonexistent")}, os.ErrNotExist},
				{testkit.Program("cat"), []Option{WithDir(plain)}, syscall.ENOTDIR},
				{testkit.Program(strings.Repeat("x", 2<<20)), nil, syscall.E2BIG},
			} {
				made := false
				_, _, err := ExecProtocol(ctx, func() *childProbe { made = true; return newChildProbe(ctx) }, c.args, c.opts...)
				if !errors.Is(err, c.want) || made {
					t.Errorf("%.40s: %v, factory called %v", c.args, err, made)
				}
				var path *os.PathError
				if !errors.As(err, &path) {
					t.Errorf("%T", err)
				}
			}
			if after := testkit.Descriptors(); after != before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
			if left := children(t); len(left) != 0 {
				t.Error("children:", left)
			}
			return nil
		})
	})
}

func TestSubprocessStdio(t *testing.T) {
	t.Run("SUB-06 pipe, null, inherited, a file, and stderr as stdout", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("lines", "400"), WithStderr(Stdout))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			var want bytes.Buffer
			for i := range 400 {
				fmt.Fprintln(&want, i)
			}
			if !bytes.Equal(p.out[1], want.Bytes()) || len(p.out[2]) != 0 || tr.PipeTransport(2) != nil {
				t.Errorf("%d bytes on 1, %d on 2", len(p.out[1]), len(p.out[2]))
			}

			tr, p, err = execProbe(ctx, testkit.Program("tell", "null"), WithStdin(DevNull), WithStderr(DevNull))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if string(p.out[1]) != "0 EOF\n" || tr.PipeTransport(0) != nil || tr.PipeTransport(2) != nil {
				t.Errorf("%q", p.out[1])
			}

			r, w := ends(t)
			in, err := os.CreateTemp(t.TempDir(), "in")
			testkit.Must(t, err)
			defer in.Close()
			_, err = in.WriteString("from a file")
			testkit.Must(t, err)
			_, err = in.Seek(0, io.SeekStart)
			testkit.Must(t, err)
			tr, p, err = execProbe(ctx, testkit.Program("cat"), WithStdin(File(in)), WithStdout(File(w)), WithStderr(Inherit))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			testkit.Must(t, w.Close())
			if b, err := io.ReadAll(r); string(b) != "from a file" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			for fd := -1; fd < 5; fd++ {
				if tr.PipeTransport(fd) != nil {
					t.Error("a pipe where none was asked for:", fd)
				}
			}
			if want := []string{"made", "exited 0 true", "lost <nil>"}; !reflect.DeepEqual(p.log, want) {
				t.Error(p.log)
			}
			if _, _, err := execProbe(ctx, testkit.Program("cat"), WithStdin(File(w))); !errors.Is(err, os.ErrClosed) {
				t.Error("a closed file:", err)
			}
			for what, opt := range map[string]Option{
				"nil": WithStdin(nil), "nil file": WithStdout(File(nil)), "stdout as stdout": WithStdout(Stdout), "unknown": WithStderr(StdioKind(9)),
			} {
				if _, _, err := execProbe(ctx, testkit.Program("cat"), opt); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(what, err)
				}
			}
			return nil
		})
	})
	t.Run("SUB-07 no sibling holds a pipe: the end of stdin is seen, however many start at once", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var tasks []loopnode.Awaitable[string]
			for range 12 {
				tasks = append(tasks, loopnode.CreateTask(ctx, "", func(ctx context.Context) (string, error) {
					tr, p, err := execProbe(ctx, testkit.Program("cat"))
					if err != nil {
						return "", err
					}
					err = errors.Join(tr.PipeTransport(0).Write([]byte(strconv.Itoa(tr.PID()))), tr.PipeTransport(0).WriteEOF(), p.wait(ctx))
					if string(p.out[1]) != strconv.Itoa(tr.PID()) {
						t.Errorf("%q is not of %d", p.out[1], tr.PID())
					}
					return "", err
				}))
			}
			sitting, sit, err := execProbe(ctx, testkit.Program("hang"))
			testkit.Must(t, err)
			testkit.Must(t, sit.until(ctx, 1, "ready"))
			_, err = loopnode.Gather(ctx, tasks...)
			testkit.Must(t, err)
			_, p, err := execProbe(ctx, testkit.Program("tell", "fds"))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if string(p.out[1]) != "[]\n" {
				t.Errorf("the child got %s", p.out[1])
			}
			sitting.Close()
			return sit.wait(ctx)
		})
	})
	t.Run("SUB-08 passed files keep their numbers, nothing else arrives, and the flags here stay", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			r, w := ends(t)
			_, other := ends(t)
			_ = other
			_, err := w.WriteString("through a passed file")
			testkit.Must(t, err)
			testkit.Must(t, w.Close())
			n := fileNumber(t, r)
			flags := func() int {
				f, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
				testkit.Must(t, err)
				return f
			}
			before := flags()
			_, p, err := execProbe(ctx, testkit.Program("tell", "fds", strconv.Itoa(n)), WithFiles(r))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if want := fmt.Sprintf("[%d]\nthrough a passed file<nil>\n", n); string(p.out[1]) != want {
				t.Errorf("%q, want %q", p.out[1], want)
			}
			if flags() != before || before&unix.FD_CLOEXEC == 0 {
				t.Errorf("flags %x, before %x", flags(), before)
			}
			for what, opt := range map[string]Option{"nil": WithFiles(nil), "stdin": WithFiles(os.Stdin)} {
				if _, _, err := execProbe(ctx, testkit.Program("cat"), opt); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(what, err)
				}
			}
			return nil
		})
	})
	t.Run("SUB-08 what this process inherited without the flag is not handed on", func(t *testing.T) {
		r, w := ends(t)
		c := testkit.Command(t, "relay")
		c.ExtraFiles = []*os.File{r, w} // 3 and 4 there, without the flag
		out, err := c.CombinedOutput()
		testkit.Must(t, err)
		if string(out) != "[]\n" {
			t.Errorf("%s", out)
		}
	})
}

func TestSubprocessSurroundings(t *testing.T) {
	t.Run("SUB-09 environment, folder, executable and session", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			testkit.Must(t, err)
			t.Setenv("LOOPMESH_TEST_MARK", "inherited")
			said := func(args []string, opts ...Option) string {
				_, p, err := execProbe(ctx, args, opts...)
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx))
				return string(p.out[1]) + string(p.out[2])
			}
			if s := said(testkit.Program("tell", "env")); !strings.Contains(s, "LOOPMESH_TEST_MARK=inherited") {
				t.Error(s)
			}
			for want, opt := range map[string]Option{"A=1 B=two words\n": WithEnv("A=1", "B=two words"), "\n": WithEnv()} {
				if s := said(testkit.Program("tell", "env"), opt); s != want {
					t.Errorf("%q, want %q", s, want)
				}
			}
			if s := said(testkit.Program("tell", "cwd"), WithDir(dir)); s != dir+"<nil>\n" && s != dir+" <nil>\n" {
				t.Errorf("%q", s)
			}
			if s := said([]string{"another name", testkit.Program()[1], "tell", "arg0"}, WithExecutable(testkit.Program()[0])); s != "another name\n" {
				t.Errorf("%q", s)
			}
			for what, c := range map[string]struct {
				opt  Option
				want string
			}{
				"nothing":       {func(*options) {}, "false\nfalse <nil>\n"},
				"session":       {WithNewSession(), "true\ntrue <nil>\n"},
				"process group": {WithProcessGroup(0), "false\ntrue <nil>\n"},
				"group to kill": {WithGroupKill(), "false\ntrue <nil>\n"},
			} {
				if s := said(testkit.Program("tell", "sid", "pgid"), c.opt); s != c.want {
					t.Errorf("%s: %q", what, s)
				}
			}
			for what, opts := range map[string][]Option{
				"session and group": {WithNewSession(), WithProcessGroup(0)}, "group -1": {WithProcessGroup(-1)},
				"signal 99": {WithDeathSignal(99)}, "no limit": {WithStreamLimit(0)}, "NUL": {WithEnv("A=\x00")},
			} {
				if _, _, err := execProbe(ctx, testkit.Program("cat"), opts...); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(what, err)
				}
			}
			return nil
		})
	})
	t.Run("a user of its own, where this process may give one", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			want := fmt.Sprintf("%d %d\n", os.Getuid(), os.Getgid())
			_, p, err := execProbe(ctx, testkit.Program("tell", "uid"), WithUser(uint32(os.Getuid()), uint32(os.Getgid())))
			if errors.Is(err, syscall.EPERM) && os.Getuid() != 0 {
				return nil // setting groups, even the same, is root's
			}
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if string(p.out[1]) != want {
				t.Errorf("%q", p.out[1])
			}
			return nil
		})
	})
	t.Run("the child of a process that dies gets its death signal", func(t *testing.T) {
		c := testkit.Command(t, "mortal")
		out, err := c.StdoutPipe()
		testkit.Must(t, err)
		testkit.Must(t, c.Start())
		pid := testkit.Number(testkit.FirstLine(t, out))
		fd, err := unix.PidfdOpen(pid, 0)
		testkit.Must(t, err)
		defer unix.Close(fd)
		testkit.Must(t, c.Process.Kill())
		_ = c.Wait()
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(testkit.Patience.Milliseconds()))
		if n != 1 || err != nil {
			t.Errorf("the grandchild lives: %d, %v", n, err)
		}
	})
}

func fileNumber(t *testing.T, f *os.File) (n int) {
	t.Helper()
	raw, err := f.SyscallConn()
	testkit.Must(t, err)
	testkit.Must(t, raw.Control(func(fd uintptr) { n = int(fd) }))
	return n
}

// ends are the two ends of a pipe.
func ends(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	testkit.Must(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

func TestEnvironmentOfAChild(t *testing.T) {
	t.Run("SUB-09 the last of two entries counts, also for the look-up of the program; entries that are none are refused", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			_, p, err := execProbe(ctx, testkit.Program("tell", "env"), WithEnv("A=1", "B=2", "A=3"))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if string(p.out[1]) != "B=2 A=3\n" {
				t.Errorf("%q", p.out[1])
			}
			for _, bad := range []string{"A", "=1", ""} {
				if _, _, err := execProbe(ctx, testkit.Program("exit", "0"), WithEnv(bad)); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Errorf("%q: %v", bad, err)
				}
			}
			return nil
		})
	})
	t.Run("a pipe has the size that was asked for, and the transport tells what was started", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("exit", "0"), WithPipeSize(128<<10))
			testkit.Must(t, err)
			raw, err := tr.PipeTransport(1).Socket().SyscallConn()
			testkit.Must(t, err)
			var size int
			testkit.Must(t, raw.Control(func(fd uintptr) { size, err = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) }))
			if size != 128<<10 || err != nil {
				t.Error(size, err)
			}
			if info, ok := tr.ExtraInfo("subprocess").(Info); !ok || info.PID != tr.PID() || len(info.Args) < 3 {
				t.Errorf("%+v", info)
			}
			return p.wait(ctx)
		})
	})
	t.Run("debug mode refuses another goroutine", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("cat"))
			testkit.Must(t, err)
			tr.Loop().SetDebug(true)
			_, err = testkit.Aside(ctx, func() (int, error) { tr.Close(); return 0, tr.Kill() })
			if !errors.Is(err, loopnode.ErrWrongGoroutine) || tr.IsClosing() {
				t.Error(err, tr.IsClosing())
			}
			tr.Close()
			return p.wait(ctx)
		})
	})
}
