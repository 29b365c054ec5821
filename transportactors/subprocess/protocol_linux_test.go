package subprocess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// grandchild is a process beside ours, to be ended with the test.
func grandchild(t *testing.T, pid int) (fd int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	testkit.Must(t, err)
	t.Cleanup(func() {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		_ = unix.Close(fd)
	})
	return fd
}

func TestSubprocessProtocol(t *testing.T) {
	t.Run("SPR-01 a child that is dead before ConnectionMade is told after it, in order", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for range 10 {
				p := newChildProbe(ctx)
				p.onMade = func(tr Transport) { dead(t, tr.PID()) }
				_, _, err := ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("say", "1:out", "2:err", "1:more"))
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx))
				if p.log[0] != "made" || string(p.out[1]) != "out\nmore\n" || string(p.out[2]) != "err\n" {
					t.Errorf("%v %q %q", p.log, p.out[1], p.out[2])
				}
			}
			return nil
		})
	})
	t.Run("SPR-02 SPR-03 per pipe data then one end; ConnectionLost last, behind every end and the exit", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for i := range 30 {
				args := testkit.Program([][]string{
					{"exit", "1"}, {"say", "1:a", "2:b"}, {"produce", "200000"}, {"cat"}, {"silent"},
				}[i%5]...)
				tr, p, err := execProbe(ctx, args)
				testkit.Must(t, err)
				switch i % 5 {
				case 3:
					testkit.Must(t, tr.PipeTransport(0).Write(testkit.Sequence(100000)))
					testkit.Must(t, tr.PipeTransport(0).WriteEOF())
				case 4:
					testkit.Must(t, tr.Kill())
				}
				testkit.Must(t, p.wait(ctx))
				inOrder(t, p.log)
			}
			return nil
		})
	})
	t.Run("SPR-04 a grandchild that holds a pipe delays the end of that pipe, not the exit", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("parent", "5"))
			testkit.Must(t, err)
			code, err := p.exited.Await(ctx)
			testkit.Must(t, err)
			testkit.Must(t, p.until(ctx, 1, "\n"))
			fd := grandchild(t, testkit.Number(strings.TrimSpace(string(p.out[1]))))
			for range 20 {
				testkit.Must(t, loopnode.Sleep(ctx, time.Millisecond))
			}
			if code != 5 || p.lost.Done() || slices.Contains(p.log, "pipe 1 <nil>") || !tr.PipeTransport(1).IsReading() {
				t.Error(code, p.log)
			}
			testkit.Must(t, unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0))
			testkit.Must(t, p.wait(ctx))
			inOrder(t, p.log)
			if n := len(p.log); !reflect.DeepEqual(p.log[n-2:], []string{"pipe 1 <nil>", "lost <nil>"}) {
				t.Error(p.log)
			}

			q, err := ExecProcess(ctx, testkit.Program("parent", "6"), WithStdout(Pipe))
			testkit.Must(t, err)
			code, err = q.Wait(ctx) // does not wait for the grandchild
			testkit.Must(t, err)
			b := make([]byte, 32)
			n, err := q.Stdout.Read(b)
			testkit.Must(t, err)
			grandchild(t, testkit.Number(strings.TrimSpace(string(b[:n]))))
			if code != 6 {
				t.Error(code)
			}
			q.Close()
			return nil
		})
	})
	t.Run("the rest of the group ends with its leader where that was asked for", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, opts := range [][]Option{{WithGroupKill()}, {WithGroupKill(), WithNewSession()}} {
				_, p, err := execProbe(ctx, testkit.Program("parent", "5"), opts...)
				testkit.Must(t, err)
				testkit.Must(t, p.wait(ctx)) // the pipe ends, so the grandchild has
				if code, _ := p.t.Returncode(); code != 5 {
					t.Error(code)
				}
			}
			return nil
		})
	})
	t.Run("SPR-05 the flow of stdin is told to the process protocol", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("late"))
			testkit.Must(t, err)
			testkit.Must(t, p.until(ctx, 1, "ready"))
			p.out[1] = nil
			in := tr.PipeTransport(0)
			testkit.Must(t, in.SetWriteBufferLimits(1000, 100))
			sent := testkit.Sequence(300000)
			testkit.Must(t, in.Write(sent))
			if !slices.Contains(p.log, "pause") {
				t.Error("not paused inside Write", p.log)
			}
			testkit.Must(t, in.WriteEOF())
			testkit.Must(t, tr.SendSignal(syscall.SIGUSR1))
			testkit.Must(t, p.wait(ctx))
			if !slices.Contains(p.log, "resume") || !bytes.Equal(p.out[1], sent) {
				t.Error(p.log, len(p.out[1]))
			}
			return nil
		})
	})
	t.Run("SPR-06 the orderly end of a pipe has no reason, a broken stdin has one", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			tr, p, err := execProbe(ctx, testkit.Program("cat"))
			testkit.Must(t, err)
			testkit.Must(t, tr.PipeTransport(0).WriteEOF())
			testkit.Must(t, p.wait(ctx))
			for fd := range 3 {
				if !slices.Contains(p.log, fmt.Sprintf("pipe %d <nil>", fd)) {
					t.Error(fd, p.log)
				}
			}
			tr, p, err = execProbe(ctx, testkit.Program("swallow", "1"))
			testkit.Must(t, err)
			testkit.Must(t, tr.PipeTransport(0).Write(make([]byte, 1<<20)))
			testkit.Must(t, p.until(ctx, 1, "closed"))
			testkit.Must(t, tr.Kill())
			testkit.Must(t, p.wait(ctx))
			if !slices.Contains(p.log, "pipe 0 broken pipe") || !slices.Contains(p.log, "pipe 1 <nil>") {
				t.Error(p.log)
			}
			return nil
		})
	})
	t.Run("a panic costs its pipe, or its call, and is reported", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			lost := loopnode.NewFuture[error](must1(loopnode.Running(ctx)))
			_, p, err := ExecProtocol(ctx, func() *faulty { return &faulty{lost: lost} }, testkit.Program("say", "1:x", "2:y"))
			testkit.Must(t, err)
			if reason, err := lost.Await(ctx); reason != nil || err != nil {
				t.Error(reason, err)
			}
			if len(*told) != 3 || p.ended != 3 || p.reason == nil || !strings.Contains(p.reason.Error(), "data") {
				t.Errorf("%v; %d pipes ended, reason %v", *told, p.ended, p.reason)
			}
			return nil
		})
	})
}

func TestSubprocessExits(t *testing.T) {
	t.Run("runtime.Goexit in a method of a child's protocol costs its pipe, or its call; who waits and ConnectionLost hear the end", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			lost := loopnode.NewFuture[error](must1(loopnode.Running(ctx)))
			tr, p, err := ExecProtocol(ctx, func() *faulty { return &faulty{lost: lost, exit: true} }, testkit.Program("say", "1:x", "2:y"))
			testkit.Must(t, err)
			if _, err := tr.(*subprocess).wait(ctx); err != nil {
				t.Error(err)
			}
			if reason, err := lost.Await(ctx); reason != nil || err != nil {
				t.Error(reason, err)
			}
			if len(*told) != 3 || p.ended != 3 || !errors.Is(p.reason, loopnode.ErrGoexit) {
				t.Errorf("%v; %d pipes ended, reason %v", *told, p.ended, p.reason)
			}
			return nil
		})
	})
	t.Run("ExecProtocol tells that ConnectionMade called runtime.Goexit, and the child is killed", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newChildProbe(ctx)
			p.onMade = func(Transport) { runtime.Goexit() }
			_, _, err := ExecProtocol(ctx, func() *childProbe { return p }, testkit.Program("silent"))
			if !errors.Is(err, loopnode.ErrGoexit) {
				t.Error(err)
			}
			if code, ended := p.t.Returncode(); code != -9 || !ended {
				t.Error(code, ended)
			}
			return nil
		})
	})
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// faulty panics for data on stdout, the end of stdout, and the exit.
type faulty struct {
	BaseProtocol
	ended  int
	reason error
	lost   *loopnode.Future[error]
	exit   bool // leaves by runtime.Goexit instead
}

func (p *faulty) throw(v string) {
	if p.exit {
		runtime.Goexit()
	}
	panic(v)
}

func (p *faulty) PipeDataReceived(fd int, _ []byte) {
	if fd == 1 {
		p.throw("data")
	}
}

func (p *faulty) PipeConnectionLost(fd int, err error) {
	p.ended++
	if fd == 1 {
		p.reason = err
		p.throw("end")
	}
}

func (p *faulty) ProcessExited() { p.throw("exit") }

func (p *faulty) ConnectionLost(err error) { _ = p.lost.SetResult(err) }

// inOrder checks the order that a protocol of a child may rely on.
func inOrder(t *testing.T, log []string) {
	t.Helper()
	ends := 0
	for i, e := range log {
		switch {
		case e == "made" && i != 0, strings.HasPrefix(e, "lost") && i != len(log)-1:
			t.Error("out of order:", log)
		case strings.HasPrefix(e, "pipe"):
			ends++
			fd := e[5:6]
			if slices.ContainsFunc(log[i+1:], func(s string) bool {
				return s == "data "+fd || strings.HasPrefix(s, "pipe "+fd)
			}) {
				t.Error("something follows the end of pipe", fd, log)
			}
		}
	}
	exits := slices.DeleteFunc(slices.Clone(log), func(s string) bool { return !strings.HasPrefix(s, "exited") })
	if ends != 3 || len(exits) != 1 || !strings.HasSuffix(exits[0], " true") || log[0] != "made" || log[len(log)-1] != "lost <nil>" {
		t.Error("incomplete:", log)
	}
}

func TestProcessStreams(t *testing.T) {
	piped := func(o *options) { o.stdio = [3]Stdio{Pipe, Pipe, Pipe} }
	t.Run("SUB-04 bytes pass as they are", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("cat"), piped)
			testkit.Must(t, err)
			odd := []byte("\xff\xfe\r\n\x00\x80\n\r")
			out, errs, err := p.Communicate(ctx, odd)
			testkit.Must(t, err)
			if !bytes.Equal(out, odd) || len(errs) != 0 || errs == nil {
				t.Errorf("%q %q", out, errs)
			}
			return nil
		})
	})
	t.Run("Communicate reads both outputs while it writes, and swallows that nobody takes the input", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("cat"), piped)
			testkit.Must(t, err)
			sent := testkit.Sequence(2 << 20)
			out, _, err := p.Communicate(ctx, sent)
			testkit.Must(t, err)
			if !bytes.Equal(out, sent) {
				t.Errorf("%d of %d bytes", len(out), len(sent))
			}
			p, err = ExecProcess(ctx, testkit.Program("exit", "3"), piped)
			testkit.Must(t, err)
			if out, _, err = p.Communicate(ctx, sent); err != nil || len(out) != 0 {
				t.Error(len(out), err)
			}
			if code, ended := p.Returncode(); code != 3 || !ended {
				t.Error(code, ended)
			}
			p, err = ShellProcess(ctx, "exit 9")
			testkit.Must(t, err)
			if out, errs, err := p.Communicate(ctx, nil); out != nil || errs != nil || err != nil || p.Stdin != nil || p.Stdout != nil || p.Stderr != nil {
				t.Error("inherited streams are no pipes", out, errs, err)
			}
			if _, _, err := p.Communicate(ctx, []byte("x")); !errors.Is(err, loopnode.ErrInvalidArgument) {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("output without end is bounded, and the child stays the caller's", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("produce", "1000000"), piped, WithMaxOutput(5000))
			testkit.Must(t, err)
			out, _, err := p.Communicate(ctx, nil)
			if !errors.Is(err, ErrTooMuchOutput) || len(out) != 5000 {
				t.Error(len(out), err)
			}
			if _, ended := p.Returncode(); ended {
				t.Error("it was ended")
			}
			p.Close()
			_, err = p.Wait(ctx)
			return err
		})
	})
	t.Run("a cancelled Communicate leaves the child alone", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("hang"), piped)
			testkit.Must(t, err)
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (struct{}, error) {
				_, _, err := p.Communicate(ctx, []byte("x"))
				return struct{}{}, err
			})
			for range 5 {
				testkit.Must(t, loopnode.Sleep(ctx, 0))
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				t.Error(err)
			}
			testkit.Must(t, p.SendSignal(0))
			testkit.Must(t, p.Terminate())
			if code, err := p.Wait(ctx); code != -15 || err != nil {
				t.Error(code, err)
			}
			return nil
		})
	})
	t.Run("a child that writes faster than its reader reads has to wait", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p, err := ExecProcess(ctx, testkit.Program("produce", "20000000"), WithStdout(Pipe), WithStreamLimit(10000))
			testkit.Must(t, err)
			const pipeSize = 64 << 10
			conn := p.Transport().PipeTransport(1)
			for conn.IsReading() {
				testkit.Must(t, loopnode.Sleep(ctx, time.Millisecond))
			}
			for range 5 {
				testkit.Must(t, loopnode.Sleep(ctx, time.Millisecond))
			}
			testkit.Must(t, p.Kill())
			kept, err := io.ReadAll(p.Stdout)
			testkit.Must(t, err)
			if most := 20000 + readBufferSize + pipeSize; len(kept) > most || len(kept) == 0 {
				t.Errorf("%d bytes were on their way, at most %d were wanted", len(kept), most)
			}
			p.Close()
			_, err = p.Wait(ctx)
			return err
		})
	})
}

const readBufferSize = 256 << 10 // the loop's
