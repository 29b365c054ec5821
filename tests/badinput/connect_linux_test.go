package badinput

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
	ta "github.com/loopmesh/loopmesh/transportactors"
)

// badAddresses are refused by clients and servers alike.
var badAddresses = []struct {
	name, network, address string
	says                   []string
}{
	{"network tcp5", "tcp5", "127.0.0.1:1", []string{`"tcp5"`, "tcp, tcp4, tcp6 or unix"}},
	{"network udp", "udp", "127.0.0.1:1", []string{`"udp"`, "tcp, tcp4, tcp6 or unix"}},
	{"no network", "", "127.0.0.1:1", []string{`""`, "tcp, tcp4, tcp6 or unix"}},
	{"a network with a NUL", "tcp\x00", "127.0.0.1:1", []string{`"tcp\x00"`}},
	{"no address", "tcp", "", []string{"missing port"}},
	{"no port", "tcp", "127.0.0.1", []string{`"127.0.0.1"`, "missing port"}},
	{"port 65536", "tcp", "127.0.0.1:65536", []string{"65536"}},
	{"port 70000 by name", "tcp", "localhost:70000", []string{"70000"}},
	{"port -1", "tcp", "127.0.0.1:-1", []string{"-1"}},
	{"a port of 30 digits", "tcp", "127.0.0.1:" + strings.Repeat("9", 30), []string{"999"}},
	{"too many colons", "tcp", "::1:80", []string{`"::1:80"`, "too many colons"}},
	{"an open bracket", "tcp", "[::1:80", []string{"missing ']'"}},
	{"a host with a NUL", "tcp", "a\x00b:80", []string{`a\x00b`}},
	{"a host with a line break", "tcp", "a\nb:80", []string{`a\nb`}},
	{"a host with a space", "tcp", "a b:80", []string{`a b`}},
	{"a host of 300 characters", "tcp", strings.Repeat("h", 300) + ":80", []string{"hhh"}},
	{"a host that is not UTF-8", "tcp", "\xff\xfe:80", []string{`\xff\xfe`}},
	{"a label of 64 characters", "tcp", strings.Repeat("l", 64) + ".example:80", []string{"lll"}},
	{"an empty label", "tcp", "a..b:80", []string{"a..b"}},
	{"an IPv6 zone that is no interface", "tcp", "[fe80::1%nope]:80", []string{"nope"}},
	{"a unix path of 200 bytes", "unix", "/" + strings.Repeat("p", 199), []string{"200 bytes", "107", "shorter"}},
	{"a unix path with a NUL", "unix", "/tmp/a\x00b", []string{"NUL", `a\x00b`}},
	{"an empty unix path", "unix", "", []string{"empty"}},
}

func TestAddressesToConnectTo(t *testing.T) {
	var rows []row
	for _, a := range badAddresses {
		rows = append(rows,
			row{name: "connect: " + a.name, do: connect(a.network, a.address), is: loopnode.ErrInvalidArgument, says: a.says},
			row{name: "listen: " + a.name, do: listen(a.network, a.address), is: loopnode.ErrInvalidArgument, says: a.says})
	}
	check(t, append(rows,
		row{name: "a local address without a port", do: connect("tcp", "127.0.0.1:1", ta.WithLocalAddress("127.0.0.1")),
			is: loopnode.ErrInvalidArgument, says: []string{"missing port"}},
		row{name: "a local address of the other family", do: connect("tcp", "127.0.0.1:1", ta.WithLocalAddress("[::1]:0")),
			is: loopnode.ErrInvalidArgument, says: []string{"127.0.0.1:1", "no local address of its family"}},
		row{name: "an IPv6 address for tcp4", do: connect("tcp4", "[::1]:80"), is: lookup.EAIAddrFamily, says: []string{"::1"}},
		row{name: "an IPv4 address for tcp6", do: connect("tcp6", "127.0.0.1:80"), is: lookup.EAIAddrFamily, says: []string{"127.0.0.1"}},
		row{name: "a socket and an address", do: connect("tcp", "127.0.0.1:1", ta.WithSocket(0)),
			is: loopnode.ErrInvalidArgument, says: []string{"WithSocket", "127.0.0.1:1", "together"}},
		row{name: "nobody listens", do: func(e *env) error { a := freePort(e); return connect("tcp", a)(e) },
			is: syscall.ECONNREFUSED, says: []string{"connect call failed (127.0.0.1:", "refused"}},
		row{name: "nobody listens, all errors", do: func(e *env) error { a := freePort(e); return connect("tcp", a, ta.WithAllErrors())(e) },
			is: syscall.ECONNREFUSED, says: []string{"127.0.0.1:", "refused"}},
		row{name: "a unix path that is not there", do: connect("unix", "/nonexistent/socket"), is: syscall.ENOENT, says: []string{"/nonexistent/socket"}},
		row{name: "a unix path that is a file", do: func(e *env) error {
			f := tempFile(e)
			defer f.Close()
			return connect("unix", f.Name())(e)
		}, is: syscall.ECONNREFUSED},
		row{name: "a listener whose loop is closed", do: func(e *env) error {
			l, done := anotherLoop(e)
			var address string
			err := elsewhere(func() error {
				return second(loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
					s, err := ta.CreateServer(ctx, func() ta.Protocol { return &proto{end: loopnode.NewFuture[error](l)} }, "tcp", "127.0.0.1:0")
					if err == nil {
						address = s.Addrs()[0].String()
					}
					return 0, err
				})))
			})
			done()
			return errors.Join(err, connect("tcp", address)(e))
		}, is: syscall.ECONNREFUSED},
	))
}

func TestConnectionsAndServersThatCannotBe(t *testing.T) {
	mk := func(e *env) func() *proto { return func() *proto { return newProto(e) } }
	check(t, []row{
		{name: "no factory", is: loopnode.ErrInvalidArgument, says: []string{"factory"},
			do: func(e *env) error {
				_, _, err := ta.CreateConnection[*proto](e.ctx, nil, "tcp", "127.0.0.1:1")
				return err
			}},
		{name: "no factory for a server", is: loopnode.ErrInvalidArgument, says: []string{"factory"},
			do: func(e *env) error { return second(ta.CreateServer[ta.Protocol](e.ctx, nil, "tcp", "127.0.0.1:0")) }},
		{name: "no handler for StartServer", is: loopnode.ErrInvalidArgument, says: []string{"StartServer"},
			do: func(e *env) error { return second(ta.StartServer(e.ctx, nil, "tcp", "127.0.0.1:0")) }},
		{name: "no loop in ctx", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error {
				_, _, err := ta.CreateConnection(context.Background(), mk(e), "tcp", "127.0.0.1:1")
				return err
			}},
		{name: "a nil ctx", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error {
				return second(ta.CreateServer(noCtx, func() ta.Protocol { return newProto(e) }, "tcp", "127.0.0.1:0"))
			}},
		{name: "a ctx of a loop that does not run", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error {
				l, done := anotherLoop(e)
				defer done()
				_, _, err := ta.CreateConnection(l.Context(noCtx), mk(e), "tcp", "127.0.0.1:1")
				return err
			}},
		{name: "on another goroutine", is: loopnode.ErrWrongGoroutine, says: []string{"in a task of loop bad"},
			do: func(e *env) error {
				return elsewhere(func() error {
					_, _, err := ta.CreateConnection(e.ctx, mk(e), "tcp", "127.0.0.1:1")
					return err
				})
			}},
		{name: "in a callback", is: loopnode.ErrWouldBlock, says: []string{"task"},
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				f := loopnode.NewFuture[error](e.loop)
				e.loop.CallSoon(func() {
					_, _, err := ta.CreateConnection(e.loop.Context(noCtx), mk(e), "tcp", address)
					_ = f.SetResult(err)
				})
				err, _ := f.Await(e.ctx)
				return err
			}},
		{name: "a ctx that is over", is: loopnode.ErrCancelled,
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				ctx, stop := context.WithCancel(e.ctx)
				stop()
				_, _, err := ta.CreateConnection(ctx, mk(e), "tcp", address)
				return err
			}},
		{name: "a nil option", do: func(e *env) error {
			address, done := serve(e, nil, nil)
			defer done()
			return connect("tcp", address, nil)(e)
		}},
		{name: "a factory that makes nil", is: loopnode.ErrInvalidArgument, says: []string{"factory returned nil"},
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				_, _, err := ta.CreateConnection(e.ctx, func() ta.Protocol { return nil }, "tcp", address)
				return err
			}},
		{name: "a factory that makes a nil pointer", is: loopnode.ErrInvalidArgument, says: []string{"factory returned nil"},
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				_, _, err := ta.CreateConnection(e.ctx, func() *proto { return nil }, "tcp", address)
				return err
			}},
		{name: "a factory that panics", is: errMine, says: []string{"panic: mine"},
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				_, _, err := ta.CreateConnection(e.ctx, func() *proto { panic(errMine) }, "tcp", address)
				return err
			}},
		{name: "a factory that calls Goexit", is: loopnode.ErrGoexit,
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				return child(e, func(ctx context.Context) error {
					_, _, err := ta.CreateConnection(ctx, func() *proto { goexit(); return nil }, "tcp", address)
					return err
				})
			}},
		{name: "a server's factory that makes nil", reports: "factory returned nil", do: func(e *env) error {
			return served(e, func() ta.Protocol { return nil })
		}},
		{name: "a server's factory that panics", reports: "panic: mine", do: func(e *env) error {
			return served(e, func() ta.Protocol { panic(errMine) })
		}},
		{name: "a server's factory that calls Goexit", reports: "Goexit", do: func(e *env) error {
			return served(e, func() ta.Protocol { goexit(); return nil })
		}},
		{name: "a negative backlog", do: listen("tcp", "127.0.0.1:0", ta.WithBacklog(-1)), is: loopnode.ErrInvalidArgument, says: []string{"backlog -1"}},
		{name: "a backlog beyond all bounds lets clients in", do: func(e *env) error {
			for _, n := range []int{0, 1 << 31, 1 << 32, math.MaxInt} {
				address, done := serve(e, nil, ta.WithBacklog(n))
				err := connect("tcp", address)(e)
				done()
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "a stream limit of 0", is: loopnode.ErrInvalidArgument, says: []string{"limit 0", "positive"},
			do: func(e *env) error { return second(ta.OpenConnection(e.ctx, "tcp", "127.0.0.1:1", ta.WithLimit(0))) }},
		{name: "a stream limit beyond all bounds", do: func(e *env) error {
			address, done := serve(e, func(p *proto) { p.made = func(t ta.Transport) { _ = t.Write([]byte("hello")) } })
			defer done()
			s, err := ta.OpenConnection(e.ctx, "tcp", address, ta.WithLimit(math.MaxInt))
			if err != nil {
				return err
			}
			defer s.Close()
			got := make([]byte, 5)
			_, err = s.Read(got)
			if !s.Transport().IsReading() {
				e.Error("it stopped reading")
			}
			return err
		}},
		{name: "a negative delay", do: connect("tcp", "127.0.0.1:1", ta.WithHappyEyeballs(-1)), is: loopnode.ErrInvalidArgument, says: []string{"-1ns", "negative"}},
		{name: "an interleave beyond all bounds", do: func(e *env) error {
			address, done := serve(e, nil)
			defer done()
			return errors.Join(connect("tcp", address, ta.WithInterleave(math.MaxInt))(e), connect("tcp", address, ta.WithInterleave(math.MinInt))(e))
		}},
		{name: "connections on a loop of another node", is: loopnode.ErrNotLocal, says: []string{"n2/io", "of this process"},
			do: listen("tcp", "127.0.0.1:0", ta.WithLoops(loopnode.RemoteRef(actors.Address{Node: "n2", Path: "io"})))},
		{name: "connections on a closed loop", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return listen("tcp", "127.0.0.1:0", ta.WithLoops(closedLoop(e).Ref()))(e) }},
		{name: "a port that is taken", is: syscall.EADDRINUSE, says: []string{"bind", "127.0.0.1:", "already in use"},
			do: func(e *env) error {
				address, done := serve(e, nil)
				defer done()
				return listen("tcp", address)(e)
			}},
		{name: "an address of nobody here", is: syscall.EADDRNOTAVAIL, says: []string{"192.0.2.1"}, do: listen("tcp", "192.0.2.1:0")},
		{name: "a unix path in no folder", is: syscall.ENOENT, says: []string{"/nonexistent/s"}, do: listen("unix", "/nonexistent/s")},
		{name: "a unix path that is a file", is: syscall.EADDRINUSE, says: []string{"not a socket", "not removed"},
			do: func(e *env) error {
				f := tempFile(e)
				defer f.Close()
				return listen("unix", f.Name())(e)
			}},
		{name: "a unix path that is a folder", is: syscall.EADDRINUSE, says: []string{"not a socket", "not removed"},
			do: func(e *env) error { return listen("unix", e.TempDir())(e) }},
		{name: "a unix path that somebody listens at", is: syscall.EADDRINUSE, says: []string{"living socket"},
			do: func(e *env) error {
				path := e.TempDir() + "/s"
				s, err := ta.CreateUnixServer(e.ctx, func() ta.Protocol { return newProto(e) }, path)
				if err != nil {
					return err
				}
				defer s.Close()
				return listen("unix", path)(e)
			}},
	})
}

// served connects to a server of factory, whose connection must end.
func served(e *env, factory func() ta.Protocol) error {
	s, err := ta.CreateServer(e.ctx, factory, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.loop.SetDebug(true) // which tells about connections that never came to be
	defer e.loop.SetDebug(false)
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		return err
	}
	defer c.Close()
	for s.Failed() == 0 {
		if err := loopnode.Sleep(e.ctx, 1e6); err != nil {
			return err
		}
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		e.Errorf("read %d, %v", n, err)
	}
	s.Close()
	return s.WaitClosed(e.ctx)
}

func TestGivenSockets(t *testing.T) {
	adopt := func(fd int) func(e *env) error {
		return func(e *env) error {
			_, _, err := ta.ConnectAcceptedSocket(e.ctx, func() *proto { return newProto(e) }, fd)
			return err
		}
	}
	check(t, []row{
		{name: "a negative descriptor", do: adopt(-1), is: loopnode.ErrInvalidArgument, says: []string{"descriptor -1"}},
		{name: "the smallest descriptor", do: adopt(math.MinInt32), is: loopnode.ErrInvalidArgument},
		{name: "a closed descriptor", do: adopt(closedFD), is: loopnode.ErrInvalidArgument, says: []string{"987654", "bad file descriptor"}},
		{name: "a descriptor beyond 32 bits", do: adopt(1 << 40), is: loopnode.ErrInvalidArgument},
		{name: "a negative WithSocket", do: connect("", "", ta.WithSocket(-7)), is: loopnode.ErrInvalidArgument, says: []string{"descriptor -7"}},
		{name: "a negative WithSocket for a server", do: listen("", "", ta.WithSocket(-7)), is: loopnode.ErrInvalidArgument, says: []string{"descriptor -7"}},
		{name: "a datagram socket", is: loopnode.ErrInvalidArgument, says: []string{"stream socket was expected"},
			do: func(e *env) error {
				fd := socket(e, syscall.AF_INET, syscall.SOCK_DGRAM)
				defer syscall.Close(fd)
				return adopt(fd)(e)
			}},
		{name: "a regular file", is: loopnode.ErrInvalidArgument, says: []string{"stream socket was expected"},
			do: func(e *env) error {
				f := tempFile(e)
				defer f.Close()
				return adopt(int(f.Fd()))(e)
			}},
		{name: "the descriptor of a transport", is: loopnode.ErrInvalidArgument, says: []string{"belongs to an open transport"},
			do: func(e *env) error {
				return connected(e, func(t ta.Transport, _ *proto) error { return adopt(fdOf(t))(e) })
			}},
		{name: "a stream socket for a datagram endpoint", is: loopnode.ErrInvalidArgument, says: []string{"datagram socket was expected"},
			do: func(e *env) error {
				fd := socket(e, syscall.AF_INET, syscall.SOCK_STREAM)
				defer syscall.Close(fd)
				return datagrams("", "", "", ta.WithSocket(fd))(e)
			}},
	})
}

// fdOf is the descriptor of a transport.
func fdOf(t interface{ ExtraInfo(string) any }) int {
	return t.ExtraInfo("socket").(interface{ FD() int }).FD()
}
