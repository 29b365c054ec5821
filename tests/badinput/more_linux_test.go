package badinput

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
	ta "github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

var (
	nilTCP  net.Addr = (*net.TCPAddr)(nil)
	badPort net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 70000}
)

// strangeAddr is an address that no socket has.
type strangeAddr struct{}

func (strangeAddr) Network() string { return "strange" }
func (strangeAddr) String() string  { return "somewhere" }

func TestProcesses(t *testing.T) {
	start := func(args []string, opts ...subprocess.Option) func(e *env) error {
		return func(e *env) error {
			p, err := subprocess.ExecProcess(e.ctx, args, opts...)
			if err == nil {
				_, err = p.Wait(e.ctx)
				p.Close()
				return err
			}
			return second(p, err)
		}
	}
	made := func(factory func() *subprocess.BaseProtocol) func(e *env) error {
		return func(e *env) error {
			return child(e, func(ctx context.Context) error {
				_, _, err := subprocess.ExecProtocol(ctx, factory, []string{"/bin/sleep", "100"})
				return err
			})
		}
	}
	file := func(e *env, mode os.FileMode, text string) string {
		path := e.TempDir() + "/program"
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			e.Fatal(err)
		}
		return path
	}
	check(t, []row{
		{name: "no arguments", do: start(nil), is: loopnode.ErrInvalidArgument, says: []string{"arguments is empty"}},
		{name: "an empty program", do: start([]string{""}), is: loopnode.ErrInvalidArgument, says: []string{"no program"}},
		{name: "a NUL in an argument", do: start([]string{"true", "a\x00b"}), is: loopnode.ErrInvalidArgument, says: []string{"argument 1", "NUL"}},
		{name: "a NUL in the environment", do: start([]string{"true"}, subprocess.WithEnv("A=\x00")), is: loopnode.ErrInvalidArgument, says: []string{"environment", "NUL"}},
		{name: "an argument of 2 MiB", do: start([]string{"true", strings.Repeat("x", 2<<20)}), is: syscall.E2BIG, says: []string{"argument list too long"}},
		{name: "a program that is not there", do: start([]string{"no-such-program-here"}), is: os.ErrNotExist, says: []string{"no-such-program-here", "not found in PATH"}},
		{name: "a path that is not there", do: start([]string{"/nonexistent/program"}), is: os.ErrNotExist, says: []string{"/nonexistent/program"}},
		{name: "a folder", do: start([]string{"/"}), is: os.ErrPermission, says: []string{"/"}},
		{name: "a file that may not run", is: os.ErrPermission, says: []string{"program"}, do: func(e *env) error { return start([]string{file(e, 0o600, "#!/bin/sh\n")})(e) }},
		{name: "a file that is no program", is: syscall.ENOEXEC, says: []string{"exec format error"}, do: func(e *env) error { return start([]string{file(e, 0o700, "text")})(e) }},
		{name: "a folder to start in that is not there", do: start([]string{"true"}, subprocess.WithDir("/nonexistent/dir")), is: os.ErrNotExist, says: []string{"/nonexistent/dir"}},
		{name: "a folder to start in that is a file", do: start([]string{"true"}, subprocess.WithDir("/etc/passwd")), is: syscall.ENOTDIR, says: []string{"/etc/passwd"}},
		{name: "a nil option", do: start([]string{"true"}, nil)},
		{name: "no Stdio", do: start([]string{"true"}, subprocess.WithStdin(nil)), is: loopnode.ErrInvalidArgument, says: []string{"descriptor 0"}},
		{name: "a nil file for stdout", do: start([]string{"true"}, subprocess.WithStdout(subprocess.File(nil))), is: loopnode.ErrInvalidArgument, says: []string{"descriptor 1"}},
		{name: "a closed file for stdout", is: os.ErrClosed, says: []string{"descriptor 1"}, do: func(e *env) error {
			f := tempFile(e)
			f.Close()
			return start([]string{"true"}, subprocess.WithStdout(subprocess.File(f)))(e)
		}},
		{name: "a nil file to pass", do: start([]string{"true"}, subprocess.WithFiles(nil)), is: loopnode.ErrInvalidArgument, says: []string{"WithFiles", "nil"}},
		{name: "a negative process group", do: start([]string{"true"}, subprocess.WithProcessGroup(-2)), is: loopnode.ErrInvalidArgument, says: []string{"-2"}},
		{name: "death signal 99", do: start([]string{"true"}, subprocess.WithDeathSignal(99)), is: loopnode.ErrInvalidArgument, says: []string{"signal 99"}},
		{name: "a limit of 0", do: start([]string{"true"}, subprocess.WithStreamLimit(0)), is: loopnode.ErrInvalidArgument, says: []string{"positive"}},
		{name: "a factory that makes nil", do: made(func() *subprocess.BaseProtocol { return nil }), is: loopnode.ErrInvalidArgument, says: []string{"factory returned nil"}},
		{name: "a factory that panics", do: made(func() *subprocess.BaseProtocol { panic(errMine) }), is: errMine},
		{name: "a factory that calls Goexit", do: made(func() *subprocess.BaseProtocol { goexit(); return nil }), is: loopnode.ErrGoexit},
		{name: "a signal for a process that has ended", is: subprocess.ErrProcessLookup, says: []string{"no such process"}, do: func(e *env) error {
			p, err := subprocess.ExecProcess(e.ctx, []string{"true"})
			if err != nil {
				return err
			}
			defer p.Close()
			_, err = p.Wait(e.ctx)
			return errors.Join(err, p.SendSignal(syscall.SIGTERM))
		}},
		{name: "signal 99", is: loopnode.ErrInvalidArgument, says: []string{"signal 99"}, do: func(e *env) error {
			p, err := subprocess.ExecProcess(e.ctx, []string{"sleep", "100"})
			if err != nil {
				return err
			}
			err = p.SendSignal(99)
			_ = p.Kill()
			_, _ = p.Wait(e.ctx)
			p.Close()
			return err
		}},
		{name: "input for a program that has ended", do: func(e *env) error {
			p, err := subprocess.ExecProcess(e.ctx, []string{"true"}, subprocess.WithStdin(subprocess.Pipe))
			if err != nil {
				return err
			}
			defer p.Close()
			if _, err := p.Wait(e.ctx); err != nil {
				return err
			}
			_, _, err = p.Communicate(e.ctx, make([]byte, 1<<20))
			return err
		}},
	})
}

func TestSignals(t *testing.T) {
	nothing := func() {}
	add := func(sig os.Signal, fn func()) func(e *env) error {
		return func(e *env) error { return e.loop.AddSignalHandler(sig, fn) }
	}
	check(t, []row{
		{name: "signal 0", do: add(syscall.Signal(0), nothing), is: loopnode.ErrInvalidArgument, says: []string{"signal number 0", "range"}},
		{name: "signal -1", do: add(syscall.Signal(-1), nothing), is: loopnode.ErrInvalidArgument, says: []string{"-1", "range"}},
		{name: "signal 99", do: add(syscall.Signal(99), nothing), is: loopnode.ErrInvalidArgument, says: []string{"99", "range"}},
		{name: "no signal", do: add(nil, nothing), is: loopnode.ErrInvalidArgument, says: []string{"syscall.SIGTERM"}},
		{name: "SIGKILL", do: add(syscall.SIGKILL, nothing), is: loopnode.ErrUncatchable, says: []string{"signal 9"}},
		{name: "SIGSEGV", do: add(syscall.SIGSEGV, nothing), is: loopnode.ErrUncatchable},
		{name: "no handler", do: add(syscall.SIGUSR1, nil), is: loopnode.ErrInvalidArgument, says: []string{"nil"}},
		{name: "on a closed loop", is: loopnode.ErrLoopClosed, do: func(e *env) error { return closedLoop(e).AddSignalHandler(syscall.SIGUSR1, nothing) }},
		{name: "on another goroutine", is: loopnode.ErrWrongGoroutine, do: func(e *env) error {
			return elsewhere(func() error { return e.loop.AddSignalHandler(syscall.SIGUSR1, nothing) })
		}},
		{name: "on a second loop", is: loopnode.ErrBusy, says: []string{"loop bad", "remove its handler"}, do: func(e *env) error {
			l, done := anotherLoop(e)
			defer done()
			if err := e.loop.AddSignalHandler(syscall.SIGUSR1, nothing); err != nil {
				return err
			}
			defer e.loop.RemoveSignalHandler(syscall.SIGUSR1)
			return l.AddSignalHandler(syscall.SIGUSR1, nothing)
		}},
		{name: "removed twice", do: func(e *env) error {
			if e.loop.RemoveSignalHandler(syscall.SIGUSR1) || e.loop.RemoveSignalHandler(nil) || e.loop.RemoveSignalHandler(syscall.Signal(99)) {
				e.Error("something was removed")
			}
			return nil
		}},
	})
}

func TestLookups(t *testing.T) {
	ask := func(host, service string, hints lookup.Hints) func(e *env) error {
		return func(e *env) error { _, err := lookup.Getaddrinfo(e.ctx, host, service, hints); return err }
	}
	name := func(a netip.AddrPort, flags lookup.NIFlags) func(e *env) error {
		return func(e *env) error { _, _, err := lookup.Getnameinfo(e.ctx, a, flags); return err }
	}
	home := netip.MustParseAddrPort("127.0.0.1:80")
	check(t, []row{
		{name: "neither host nor service", do: ask("", "", lookup.Hints{}), is: loopnode.ErrInvalidArgument, says: []string{"neither host nor service"}},
		{name: "unknown flags", do: ask("127.0.0.1", "1", lookup.Hints{Flags: 1 << 30}), is: loopnode.ErrInvalidArgument, says: []string{"0x40000000"}},
		{name: "family 99", do: ask("127.0.0.1", "1", lookup.Hints{Family: 99}), is: loopnode.ErrInvalidArgument, says: []string{"family 99"}},
		{name: "port 65536", do: ask("127.0.0.1", "65536", lookup.Hints{}), is: loopnode.ErrInvalidArgument, says: []string{"65536"}},
		{name: "a name where a number is due", do: ask("localhost", "1", lookup.Hints{Flags: lookup.AINumericHost}), is: lookup.EAINoName, says: []string{"localhost"}},
		{name: "a look-up in a callback", is: loopnode.ErrWouldBlock, do: func(e *env) error {
			f := loopnode.NewFuture[error](e.loop)
			e.loop.CallSoon(func() {
				_, err := lookup.Getaddrinfo(e.loop.Context(noCtx), "some.example", "1", lookup.Hints{})
				_ = f.SetResult(err)
			})
			err, _ := f.Await(e.ctx)
			return err
		}},
		{name: "the name of no address", do: name(netip.AddrPort{}, 0), is: loopnode.ErrInvalidArgument},
		{name: "unknown name flags", do: name(home, 1<<30), is: loopnode.ErrInvalidArgument},
	})
}

func TestTLSOptions(t *testing.T) {
	secure := ta.WithTLS(&tls.Config{})
	check(t, []row{
		{name: "no configuration", do: connect("tcp", "127.0.0.1:1", ta.WithTLS(nil)), is: loopnode.ErrInvalidArgument, says: []string{"nil", "&tls.Config{}"}},
		{name: "no name of the server", do: connect("unix", "/tmp/x", secure), is: loopnode.ErrInvalidArgument, says: []string{"WithServerHostname"}},
		{name: "a name without TLS", do: connect("tcp", "127.0.0.1:1", ta.WithServerHostname("x")), is: loopnode.ErrInvalidArgument, says: []string{"need WithTLS"}},
		{name: "a handshake timeout of 0", do: connect("tcp", "127.0.0.1:1", secure, ta.WithHandshakeTimeout(0)), is: loopnode.ErrInvalidArgument, says: []string{"handshake timeout", "positive", "0s"}},
		{name: "a negative shutdown timeout", do: connect("tcp", "127.0.0.1:1", secure, ta.WithShutdownTimeout(-1)), is: loopnode.ErrInvalidArgument, says: []string{"shutdown timeout", "positive"}},
		{name: "an old version", do: connect("tcp", "127.0.0.1:1", ta.WithTLS(&tls.Config{MaxVersion: tls.VersionTLS10})), is: loopnode.ErrInvalidArgument, says: []string{"TLS 1.0", "TLS 1.2"}},
		{name: "a server without a certificate", do: listen("tcp", "127.0.0.1:0", secure), is: loopnode.ErrInvalidArgument, says: []string{"certificate", "GetCertificate"}},
		{name: "a port that speaks no TLS", says: []string{"tls", "HTTP"}, is: errPlain, do: func(e *env) error {
			address, done := serve(e, func(p *proto) {
				p.data = func([]byte) {}
				p.made = func(t ta.Transport) { _ = t.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }
			})
			defer done()
			err := connect("tcp", address, secure)(e)
			var header tls.RecordHeaderError
			if errors.As(err, &header) {
				return errors.Join(errPlain, err, errors.New(string(header.RecordHeader[:])))
			}
			return err
		}},
		{name: "a peer that never answers", is: loopnode.ErrTimeout, do: func(e *env) error {
			address, done := serve(e, nil)
			defer done()
			return connect("tcp", address, secure, ta.WithHandshakeTimeout(50*time.Millisecond))(e)
		}},
		{name: "StartTLS of nothing", is: loopnode.ErrInvalidArgument, says: []string{"transport"}, do: func(e *env) error {
			_, err := ta.StartTLS(e.ctx, nil, newProto(e), &tls.Config{}, false)
			return err
		}},
		{name: "StartTLS without a protocol", is: loopnode.ErrInvalidArgument, says: []string{"protocol"}, do: func(e *env) error {
			return connected(e, func(t ta.Transport, _ *proto) error {
				_, err := ta.StartTLS(e.ctx, t, nil, &tls.Config{}, false)
				return err
			})
		}},
		{name: "StartTLS of a closed transport", is: ta.ErrClosed, do: func(e *env) error {
			return connected(e, func(t ta.Transport, p *proto) error {
				t.Close()
				_, err := ta.StartTLS(e.ctx, t, p, &tls.Config{}, false)
				return err
			})
		}},
	})
}

var errPlain = errors.New("no TLS record")
