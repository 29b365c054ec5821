package subprocess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// noStdio gives the child no pipes.
func noStdio(o *options) { o.stdio = [3]Stdio{DevNull, DevNull, DevNull} }

// withoutPidfd is how it goes on a kernel that has none.
func withoutPidfd(o *options) { o.slow = true }

// children are the numbers of this process's children, zombies included.
func children(t testing.TB) (pids []int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	testkit.Must(t, err)
	for _, name := range tasks {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that has ended
		}
		testkit.Must(t, err)
		for _, f := range strings.Fields(string(b)) {
			pids = append(pids, testkit.Number(f))
		}
	}
	return pids
}

// dead blocks until the child has ended, and leaves it a zombie.
func dead(t testing.TB, pid int) {
	t.Helper()
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			testkit.Must(t, err)
			return
		}
	}
}

// alone fails when a child or a descriptor too many is left.
func alone(t testing.TB, before int) {
	t.Helper()
	if left := children(t); len(left) != 0 {
		t.Error("children left:", left)
	}
	if after := testkit.Descriptors(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestSubprocessCancelled(t *testing.T) {
	t.Run("SUB-11 cancelling the start kills the child, reaps it and closes the pipes first", func(t *testing.T) {
		for turns := range 12 {
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				before := testkit.Descriptors()
				var p *childProbe
				task := loopnode.CreateTask(ctx, "starts", func(ctx context.Context) (struct{}, error) {
					_, _, err := ExecProtocol(ctx, func() *childProbe { p = newChildProbe(ctx); return p }, testkit.Program("hang"))
					return struct{}{}, err
				})
				for range turns {
					testkit.Must(t, loopnode.Sleep(ctx, 0))
				}
				if turns > 8 { // the executor has begun, perhaps it is through
					testkit.Must(t, loopnode.Sleep(ctx, time.Duration(turns-8)*time.Millisecond))
				}
				if task.Done() {
					tr := p.t
					tr.Close()
					return p.wait(ctx)
				}
				task.Cancel()
				if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
					t.Error(err)
				}
				if left := children(t); len(left) != 0 {
					t.Error("children left:", left)
				}
				for range 3 {
					testkit.Must(t, loopnode.Sleep(ctx, 0)) // the ends of the pipes
				}
				alone(t, before)
				if p != nil && len(p.log) > 0 && p.log[len(p.log)-1] != "lost <nil>" {
					t.Error(p.log)
				}
				return nil
			})
		}
	})
	t.Run("SUB-11 twice cancelled, or with the loop gone, no child is left either", func(t *testing.T) {
		before := testkit.Descriptors()
		pool := loopnode.NewPool(1)
		held, release := make(chan struct{}), make(chan struct{})
		testkit.Must(t, pool.Submit(func() { close(held); <-release }))
		<-held
		l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger(), Executor: pool})
		testkit.Must(t, err)
		task := loopnode.CreateTask(l.Context(t.Context()), "starts", func(ctx context.Context) (struct{}, error) {
			_, _, err := execProbe(ctx, testkit.Program("hang"))
			return struct{}{}, err
		})
		testkit.Must(t, l.RunOnce(0))
		testkit.Must(t, l.RunOnce(0))
		testkit.Must(t, l.Close())
		close(release)
		ctx, stop := context.WithTimeout(context.Background(), testkit.Patience)
		defer stop()
		testkit.Must(t, pool.Shutdown(ctx))
		if task.Exception() == nil {
			t.Error("the start succeeded on a closed loop")
		}
		alone(t, before)

		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			before := testkit.Descriptors()
			task := loopnode.CreateTask(ctx, "starts", func(ctx context.Context) (struct{}, error) {
				_, _, err := execProbe(ctx, testkit.Program("hang"))
				return struct{}{}, err
			})
			for range 3 {
				testkit.Must(t, loopnode.Sleep(ctx, 0))
				task.Cancel()
			}
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				t.Error(err)
			}
			for len(children(t)) > 0 || testkit.Descriptors() > before {
				testkit.Must(t, loopnode.Sleep(ctx, time.Millisecond)) // who cancels twice does not wait for the end
			}
			return nil
		})
	})
	t.Run("a factory or ConnectionMade that panics costs the child", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			before := testkit.Descriptors()
			_, _, err := ExecProtocol(ctx, func() *childProbe { panic("no protocol") }, testkit.Program("hang"))
			if err == nil || !strings.Contains(err.Error(), "no protocol") {
				t.Error(err)
			}
			p := newChildProbe(ctx)
			p.onMade = func(Transport) { panic("not today") }
			_, _, err = ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("hang"))
			if err == nil || !strings.Contains(err.Error(), "not today") || len(*told) != 1 {
				t.Error(err, *told)
			}
			testkit.Must(t, p.wait(ctx))
			alone(t, before)
			return nil
		})
	})
}

func TestSubprocessExit(t *testing.T) {
	t.Run("SUB-12 the exit is heard from a pidfd, or from a goroutine that waits", func(t *testing.T) {
		for what, opt := range map[string]Option{"pidfd": func(*options) {}, "goroutine": withoutPidfd} {
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				for _, c := range []struct {
					args []string
					end  func(Transport) error
					want int
				}{
					{testkit.Program("exit", "7"), nil, 7},
					{testkit.Program("silent"), Transport.Kill, -9},
					{testkit.Program("silent"), Transport.Terminate, -15},
				} {
					tr, p, err := execProbe(ctx, c.args, opt)
					testkit.Must(t, err)
					if s := tr.(*subprocess); !s.hasExited() && (s.child.FD() == proc.None) != (what == "goroutine") {
						t.Error(what, s.child.FD())
					}
					if c.end != nil {
						testkit.Must(t, c.end(tr))
					}
					testkit.Must(t, p.wait(ctx))
					if code, _ := tr.Returncode(); code != c.want {
						t.Errorf("%s: %d, want %d", what, code, c.want)
					}
				}
				if left := children(t); len(left) > 0 {
					t.Error("zombies:", left)
				}
				return nil
			})
		}
	})
	t.Run("SUB-13 a child that somebody else reaped ends with 255 and a warning", func(t *testing.T) {
		for _, opt := range []Option{func(*options) {}, withoutPidfd} {
			var logged bytes.Buffer
			l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &logged, Mutex: &sync.Mutex{}})})
			testkit.Must(t, err)
			ctx, stop := context.WithTimeout(context.Background(), testkit.Patience)
			_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "", func(ctx context.Context) (int, error) {
				p := newChildProbe(ctx)
				p.onMade = func(tr Transport) { // no turn comes between the start and the theft
					testkit.Must(t, tr.Kill())
					_, err := unix.Wait4(tr.PID(), nil, 0, nil)
					testkit.Must(t, err)
				}
				tr, _, err := ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("silent"), noStdio, opt)
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx))
				if code, ended := tr.Returncode(); code != 255 || !ended {
					t.Error(code, ended)
				}
				return 0, l.ShutdownDefaultExecutor(ctx)
			}))
			testkit.Must(t, err)
			stop()
			testkit.Must(t, l.Close())
			if !strings.Contains(logged.String(), "[WARN]") || !strings.Contains(logged.String(), "255") {
				t.Error(logged.String())
			}
		}
	})
	t.Run("closing the loop kills and reaps", func(t *testing.T) {
		for _, opt := range []Option{func(*options) {}, withoutPidfd} {
			before := testkit.Descriptors()
			var p *childProbe
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) (err error) {
				_, p, err = execProbe(ctx, testkit.Program("hang"), opt)
				testkit.Must(t, err)
				return p.until(ctx, 1, "ready")
			})
			alone(t, before)
			n := len(p.log)
			if want := []string{"exited -9 true", "lost event loop is closed"}; !slices.Equal(p.log[n-2:], want) || n != 7 {
				t.Error(p.log)
			}
		}
	})
}

func TestSubprocessMany(t *testing.T) {
	many := func(ctx context.Context, n int) error {
		sem, err := tasksync.NewSemaphore(20)
		if err != nil {
			return err
		}
		var tasks []loopnode.Awaitable[struct{}]
		for i := range n {
			tasks = append(tasks, loopnode.CreateTask(ctx, "", func(ctx context.Context) (struct{}, error) {
				if err := sem.Acquire(ctx); err != nil {
					return struct{}{}, err
				}
				defer sem.Release()
				code := i % 200
				tr, p, err := execProbe(ctx, testkit.Program("both", fmt.Sprint(i), fmt.Sprint(code)))
				if err != nil {
					return struct{}{}, err
				}
				s := tr.(*subprocess)
				waits := []loopnode.Awaitable[int]{}
				for range 3 {
					waits = append(waits, loopnode.CreateTask(ctx, "", s.wait))
				}
				codes, err := loopnode.Gather(ctx, waits...)
				if err = errors.Join(err, p.wait(ctx)); err != nil {
					return struct{}{}, err
				}
				if want := []int{code, code, code}; !slices.Equal(codes, want) || string(p.out[1]) != fmt.Sprintln(i) {
					return struct{}{}, fmt.Errorf("child %d: codes %v, output %q", i, codes, p.out[1])
				}
				return struct{}{}, nil
			}))
		}
		_, err = loopnode.Gather(ctx, tasks...)
		return err
	}
	t.Run("SUB-14 many at once on several loops: each has its own output and code, for all who wait", func(t *testing.T) {
		before := testkit.Descriptors()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				ctx, stop := context.WithTimeout(context.Background(), 2*testkit.Patience)
				defer stop()
				if err := loopnode.Run(ctx, func(ctx context.Context) error { return many(ctx, 40) }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		alone(t, before)
	})
	t.Run("200 alive at once, then killed, leave nothing", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			before := testkit.Descriptors()
			var probes []*childProbe
			for range 200 {
				_, p, err := execProbe(ctx, testkit.Program("silent"), noStdio)
				testkit.Must(t, err)
				probes = append(probes, p)
			}
			if n := len(children(t)); n != 200 {
				t.Error(n, "children")
			}
			for _, p := range probes {
				p.t.Close()
			}
			for _, p := range probes {
				testkit.Must(t, p.wait(ctx))
			}
			alone(t, before)
			return nil
		})
	})
}

func TestSubprocessTransport(t *testing.T) {
	t.Run("SPT-01 the pid stays; the code is known after the end, negative for a signal", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for sig, want := range map[syscall.Signal]int{0: 3, syscall.SIGKILL: -9, syscall.SIGTERM: -15} {
				args := testkit.Program("hang")
				if sig == 0 {
					args = testkit.Program("exit", "3")
				}
				p := newChildProbe(ctx)
				p.onMade = func(tr Transport) {
					if code, ended := tr.Returncode(); ended || code != 0 {
						t.Error("a child that runs has the code", code, ended)
					}
				}
				tr, _, err := ExecProtocol(ctx, func() *childProbe { return p }, args)
				testkit.Must(t, err)
				pid := tr.PID()
				if sig != 0 {
					testkit.Must(t, tr.SendSignal(sig))
				}
				testkit.Must(t, p.wait(ctx))
				if code, ended := tr.Returncode(); code != want || !ended || tr.PID() != pid || pid <= 1 {
					t.Errorf("signal %d: %d, %v, pid %d then %d", sig, code, ended, pid, tr.PID())
				}
			}
			return nil
		})
	})
	t.Run("SPT-02 transports of the pipes: writing, reading, none; also after the end", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("cat"), WithStderr(DevNull))
			testkit.Must(t, err)
			check := func() {
				in, out := tr.PipeTransport(0), tr.PipeTransport(1)
				if in == nil || out == nil || !in.CanWriteEOF() || out.CanWriteEOF() {
					t.Error("pipes", in, out)
				}
				for _, fd := range []int{-1, 2, 3} {
					if tr.PipeTransport(fd) != nil {
						t.Error("a transport for", fd)
					}
				}
			}
			check()
			if in, out := tr.PipeTransport(0), tr.PipeTransport(1); in.IsReading() || !out.IsReading() || out.Write([]byte("x")) == nil {
				t.Error("directions")
			}
			testkit.Must(t, tr.PipeTransport(0).WriteEOF())
			testkit.Must(t, p.wait(ctx))
			check()
			return nil
		})
	})
	t.Run("SPT-03 signals reach the child; after its end there is nobody to signal", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("stubborn"))
			testkit.Must(t, err)
			testkit.Must(t, p.until(ctx, 1, "ready"))
			testkit.Must(t, tr.SendSignal(0))
			testkit.Must(t, tr.Terminate())
			testkit.Must(t, tr.SendSignal(syscall.SIGUSR1))
			testkit.Must(t, p.until(ctx, 1, "usr1"))
			for _, sig := range []syscall.Signal{-1, 65, 99} {
				if err := tr.SendSignal(sig); !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(sig, err)
				}
			}
			testkit.Must(t, tr.Kill())
			testkit.Must(t, p.wait(ctx))
			for what, fn := range map[string]func() error{"Kill": tr.Kill, "Terminate": tr.Terminate, "SendSignal": func() error { return tr.SendSignal(0) }} {
				if err := fn(); !errors.Is(err, ErrProcessLookup) || !strings.Contains(err.Error(), fmt.Sprint(tr.PID())) || !strings.Contains(err.Error(), "signal 9") {
					t.Error(what, err)
				}
			}
			return nil
		})
	})
	t.Run("SPT-03 SPT-04 a signal to a child that is dead and unnoticed is silent and leaves its code alone", func(t *testing.T) {
		for _, opt := range []Option{func(*options) {}, withoutPidfd} {
			testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				p := newChildProbe(ctx)
				p.onMade = func(tr Transport) { // the loop cannot notice before this returns
					dead(t, tr.PID())
					for _, err := range []error{tr.Kill(), tr.Terminate(), tr.SendSignal(0), tr.Kill()} {
						testkit.Must(t, err)
					}
				}
				tr, _, err := ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("exit", "42"), noStdio, opt)
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx))
				if code, _ := tr.Returncode(); code != 42 {
					t.Error(code)
				}
				return nil
			})
		}
	})
	t.Run("SPT-04 signals in the middle of an exit never cost the code", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for range 20 {
				tr, p, err := execProbe(ctx, testkit.Program("exit", "42"), noStdio)
				testkit.Must(t, err)
				for !p.exited.Done() {
					if err := tr.SendSignal(0); err != nil && !errors.Is(err, ErrProcessLookup) {
						t.Error(err)
					}
					testkit.Must(t, loopnode.Sleep(ctx, 0))
				}
				testkit.Must(t, p.wait(ctx))
				if code, _ := tr.Returncode(); code != 42 {
					t.Error(code)
				}
			}
			return nil
		})
	})
	t.Run("SPT-05 Close closes the pipes and kills what runs; the callbacks follow; a dead child keeps its code", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("hang"))
			testkit.Must(t, err)
			testkit.Must(t, p.until(ctx, 1, "ready"))
			if tr.IsClosing() {
				t.Error("closing before Close")
			}
			n := len(p.log)
			tr.Close()
			tr.Close()
			if !tr.IsClosing() || len(p.log) != n {
				t.Error("Close called the protocol itself", p.log)
			}
			testkit.Must(t, p.wait(ctx))
			rest := slices.Clone(p.log[n:])
			if rest[len(rest)-1] != "lost <nil>" || !slices.Contains(rest, "exited -9 true") || len(rest) != 5 {
				t.Error(rest)
			}
			tr.Close()

			p = newChildProbe(ctx)
			p.onMade = func(tr Transport) { dead(t, tr.PID()); tr.Close() }
			tr, _, err = ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("exit", "6"))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if code, _ := tr.Returncode(); code != 6 {
				t.Error(code)
			}

			tr, p, err = execProbe(ctx, testkit.Program("exit", "0"))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if tr.IsClosing() {
				t.Error("the end of the child is no Close")
			}
			tr.Close()
			return nil
		})
	})
	t.Run("SPT-06 a wait can be cancelled and repeated, and has nothing to do with the pipes", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("hang"), WithStdout(Pipe))
			testkit.Must(t, err)
			for range 3 {
				task := loopnode.CreateTask(ctx, "", p.Wait)
				testkit.Must(t, loopnode.Sleep(ctx, 0))
				testkit.Must(t, loopnode.Sleep(ctx, 0))
				task.Cancel()
				if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
					t.Error(err)
				}
			}
			if n := len(p.s.waiters); n != 0 {
				t.Error("cancelled waits are kept:", n)
			}
			first, second := loopnode.CreateTask(ctx, "", p.Wait), loopnode.CreateTask(ctx, "", p.Wait)
			testkit.Must(t, loopnode.Sleep(ctx, 0))
			testkit.Must(t, p.Kill())
			codes, err := loopnode.Gather[int](ctx, first, second)
			testkit.Must(t, err)
			third, err := p.Wait(ctx)
			testkit.Must(t, err)
			if !reflect.DeepEqual(codes, []int{-9, -9}) || third != -9 {
				t.Error(codes, third)
			}
			return nil
		})
	})
	t.Run("SPT-07 writing to a stdin that the child closed ends that pipe with an error", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("swallow", "10"))
			testkit.Must(t, err)
			in := tr.PipeTransport(0)
			testkit.Must(t, in.Write(make([]byte, 1<<20)))
			testkit.Must(t, p.until(ctx, 1, "closed"))
			for !in.IsClosing() {
				testkit.Must(t, loopnode.Sleep(ctx, time.Millisecond))
			}
			if err := in.Write([]byte("x")); !errors.Is(err, transportactors.ErrClosed) {
				t.Error(err)
			}
			testkit.Must(t, loopnode.Sleep(ctx, 0))
			testkit.Must(t, loopnode.Sleep(ctx, 0))
			if !slices.Contains(p.log, "pipe 0 broken pipe") {
				t.Error(p.log)
			}
			testkit.Must(t, tr.Kill())
			testkit.Must(t, p.wait(ctx))

			q, err := ExecProcess(ctx, testkit.Program("swallow", "10"), WithStdin(Pipe))
			testkit.Must(t, err)
			if _, err := q.Stdin.Write(make([]byte, 1<<20)); !errors.Is(err, syscall.EPIPE) {
				t.Error("a wait for room:", err)
			}
			testkit.Must(t, q.Kill())
			_, err = q.Wait(ctx)
			testkit.Must(t, err)
			if _, err := q.Stdin.Write([]byte("for the dead")); err == nil {
				t.Error("written to a dead child")
			}
			q.Close()
			return nil
		})
	})
	t.Run("SPT-08 a lot of input and output arrives whole and in order, also read slowly after the exit", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			sent := testkit.Sequence(600 << 10)
			tr, p, err := execProbe(ctx, testkit.Program("cat"))
			testkit.Must(t, err)
			testkit.Must(t, tr.PipeTransport(0).Write(sent))
			testkit.Must(t, tr.PipeTransport(0).WriteEOF())
			testkit.Must(t, p.wait(ctx))
			if !bytes.Equal(p.out[1], sent) {
				t.Errorf("%d of %d bytes came back, or others", len(p.out[1]), len(sent))
			}
			_, p, err = execProbe(ctx, testkit.Program("produce", "1000000"))
			testkit.Must(t, err)
			testkit.Must(t, p.wait(ctx))
			if !bytes.Equal(p.out[1], testkit.Sequence(1000000)) {
				t.Errorf("%d of 1000000 bytes, or others", len(p.out[1]))
			}

			q, err := ExecProcess(ctx, testkit.Program("produce", "50000"), WithStdout(Pipe), WithStreamLimit(1000))
			testkit.Must(t, err)
			code, err := q.Wait(ctx) // all of it fits the kernel's buffer
			testkit.Must(t, err)
			var got []byte
			small := make([]byte, 777)
			for {
				n, err := q.Stdout.Read(small)
				got = append(got, small[:n]...)
				if err != nil {
					break
				}
				testkit.Must(t, loopnode.Sleep(ctx, 0))
			}
			if !bytes.Equal(got, testkit.Sequence(50000)) || code != 0 {
				t.Errorf("%d of 50000 bytes, or others; code %d", len(got), code)
			}
			return nil
		})
	})
}
