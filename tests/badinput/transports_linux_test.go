package badinput

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
	ta "github.com/loopmesh/loopmesh/transportactors"
)

func TestTransports(t *testing.T) {
	type do = func(t ta.Transport, p *proto) error
	with := func(fn do) func(e *env) error { return func(e *env) error { return connected(e, fn) } }
	check(t, []row{
		{name: "nothing written", do: with(func(t ta.Transport, _ *proto) error {
			return errors.Join(t.Write(nil), t.Write([]byte{}), t.Writelines(nil), t.Writelines([][]byte{nil, {}}))
		})},
		{name: "Write after Close", is: ta.ErrClosed, says: []string{"transport is closed"},
			do: with(func(t ta.Transport, _ *proto) error { t.Close(); t.Close(); t.Abort(); return t.Write([]byte("x")) })},
		{name: "Write after Abort", is: ta.ErrClosed,
			do: with(func(t ta.Transport, _ *proto) error { t.Abort(); return t.Write([]byte("x")) })},
		{name: "Write after WriteEOF", is: ta.ErrWriteEOF,
			do: with(func(t ta.Transport, _ *proto) error {
				return errors.Join(t.WriteEOF(), t.WriteEOF(), t.Write([]byte("x")))
			})},
		{name: "everything after the end", do: func(e *env) error {
			return connected(e, func(t ta.Transport, p *proto) error {
				t.Close()
				if err := p.over(e); err != nil {
					return err
				}
				_, _ = t.PauseReading(), t.ResumeReading()
				_ = t.WriteEOF()
				_ = t.SetWriteBufferLimits(1, 0)
				_, _ = t.WriteBufferLimits()
				_, _, _, _ = t.WriteBufferSize(), t.IsReading(), t.IsClosing(), t.Protocol()
				t.SetProtocol(nil)
				_, _, _ = t.ExtraInfo("socket"), t.ExtraInfo("nothing"), t.ExtraInfo("peercred")
				if err := t.Ref().Write([]byte("x")); !errors.Is(err, ta.ErrClosed) {
					e.Errorf("Ref.Write: %v", err)
				}
				_, _ = fmt.Sprint(t), t.Ref().Close()
				return nil
			})
		}},
		{name: "marks the wrong way round", is: loopnode.ErrInvalidArgument, says: []string{"high", "1", "low", "2"},
			do: with(func(t ta.Transport, _ *proto) error { return t.SetWriteBufferLimits(1, 2) })},
		{name: "marks beyond all bounds", do: with(func(t ta.Transport, _ *proto) error {
			return errors.Join(t.SetWriteBufferLimits(-1, math.MaxInt), t.SetWriteBufferLimits(math.MaxInt, -1),
				t.SetWriteBufferLimits(math.MinInt, math.MinInt), t.SetWriteBufferLimits(math.MaxInt, math.MaxInt))
		})},
		{name: "Write on a foreign goroutine", is: loopnode.ErrWrongGoroutine, says: []string{"Transport.Ref"},
			do: func(e *env) error {
				return connected(e, func(t ta.Transport, _ *proto) error {
					e.loop.SetDebug(true)
					defer e.loop.SetDebug(false)
					return elsewhere(func() error { return t.Write([]byte("x")) })
				})
			}},
		{name: "ConnectionMade panics", is: errMine, reports: "panic: mine", do: func(e *env) error {
			address, done := serve(e, nil)
			defer done()
			_, _, err := ta.CreateConnection(e.ctx, func() *proto {
				p := newProto(e)
				p.made = func(ta.Transport) { panic(errMine) }
				return p
			}, "tcp", address)
			return err
		}},
		{name: "DataReceived panics", is: errMine, reports: "panic: mine", do: func(e *env) error {
			return talk(e, func(p *proto) { p.data = func([]byte) { panic(errMine) } })
		}},
		{name: "DataReceived calls Goexit", is: loopnode.ErrGoexit, reports: "Goexit", do: func(e *env) error {
			return talk(e, func(p *proto) {
				n := 0
				p.data = func([]byte) {
					if n++; n == 1 {
						goexit()
					}
				}
			})
		}},
		{name: "ConnectionLost panics", reports: "panic: mine", do: func(e *env) error {
			return talk(e, func(p *proto) { p.lost = func(error) { panic(errMine) } })
		}},
		{name: "ConnectionLost calls Goexit", reports: "Goexit", do: func(e *env) error {
			return talk(e, func(p *proto) { p.lost = func(error) { goexit() } })
		}},
		{name: "a protocol without methods", do: with(func(t ta.Transport, p *proto) error {
			t.SetProtocol(7)
			defer t.SetProtocol(p)
			return t.Write([]byte("x"))
		})},
		{name: "a server used after Close", is: ta.ErrClosed, do: func(e *env) error {
			s, err := ta.CreateServer(e.ctx, func() ta.Protocol { return newProto(e) }, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			s.Close()
			s.Close()
			s.CloseClients()
			s.AbortClients()
			if len(s.Sockets())+len(s.Addrs()) != 0 || s.IsServing() {
				e.Error("a closed server has sockets")
			}
			return errors.Join(s.WaitClosed(e.ctx), s.StartServing())
		}},
	})
}

// talk is a connection whose near end does what set says while the far one
// writes and closes, and why the near one ended.
func talk(e *env, set func(p *proto)) error {
	address, done := serve(e, func(p *proto) {
		p.made = func(t ta.Transport) { _ = t.Write([]byte("hello")); t.Close() }
	})
	defer done()
	_, p, err := ta.CreateConnection(e.ctx, func() *proto { p := newProto(e); set(p); return p }, "tcp", address)
	if err != nil {
		return err
	}
	return p.over(e)
}

func TestDatagrams(t *testing.T) {
	refused := func(name, network, local, remote string, says ...string) row {
		return row{name: name, do: datagrams(network, local, remote), is: loopnode.ErrInvalidArgument, says: says}
	}
	to := func(s string) ta.Addr { return ta.UDPAddr(netip.MustParseAddrPort(s)) }
	open := func(local, remote string, do func(e *env, t ta.DatagramTransport, p *packets) error) func(e *env) error {
		return func(e *env) error {
			t, p, err := ta.CreateDatagramEndpoint(e.ctx, func() *packets { return &packets{} }, "udp4", local, remote)
			if err != nil {
				return err
			}
			defer t.Close()
			return do(e, t, p)
		}
	}
	path := func(e *env) string { return filepath.Join(e.TempDir(), "s") }
	gone := func(e *env, p string) {
		if _, err := os.Lstat(p); err == nil {
			e.Errorf("the file %s is left", p)
		}
	}
	check(t, []row{
		refused("network udp5", "udp5", "127.0.0.1:0", "", `"udp5"`, "udp, udp4, udp6 or unixgram"),
		refused("network tcp", "tcp", "127.0.0.1:0", "", `"tcp"`, "udp"),
		refused("no address and no family", "udp", "", "", "udp4, udp6 or unixgram"),
		refused("no port", "udp", "127.0.0.1", "", "missing port"),
		refused("port 65536", "udp", "127.0.0.1:65536", "", "65536"),
		refused("a host with a NUL", "udp", "", "a\x00b:1", `a\x00b`),
		refused("two families", "udp", "127.0.0.1:0", "[::1]:1", "no family has both"),
		refused("a path of 200 bytes", "unixgram", "/"+strings.Repeat("p", 199), "", "200 bytes", "107"),
		{name: "no factory", is: loopnode.ErrInvalidArgument, says: []string{"factory"}, do: func(e *env) error {
			_, _, err := ta.CreateDatagramEndpoint[*packets](e.ctx, nil, "udp", "127.0.0.1:0", "")
			return err
		}},
		{name: "a factory that makes nil", is: loopnode.ErrInvalidArgument, says: []string{"factory returned nil"}, do: func(e *env) error {
			at := path(e)
			_, _, err := ta.CreateDatagramEndpoint(e.ctx, func() *packets { return nil }, "unixgram", at, "")
			gone(e, at)
			return err
		}},
		{name: "a factory that panics", is: errMine, do: func(e *env) error {
			at := path(e)
			_, _, err := ta.CreateDatagramEndpoint(e.ctx, func() *packets { panic(errMine) }, "unixgram", at, "")
			gone(e, at)
			return err
		}},
		{name: "a factory that calls Goexit", is: loopnode.ErrGoexit, do: func(e *env) error {
			at := path(e)
			err := child(e, func(ctx context.Context) error {
				_, _, err := ta.CreateDatagramEndpoint(ctx, func() *packets { goexit(); return nil }, "unixgram", at, "")
				return err
			})
			gone(e, at)
			return err
		}},
		{name: "an address of the other family", is: loopnode.ErrInvalidArgument, says: []string{"[::1]:9", "another family"},
			do: open("127.0.0.1:0", "", func(_ *env, t ta.DatagramTransport, _ *packets) error { return t.SendTo([]byte("x"), to("[::1]:9")) })},
		{name: "no address at all", is: loopnode.ErrInvalidArgument, says: []string{"needs an address"},
			do: open("127.0.0.1:0", "", func(_ *env, t ta.DatagramTransport, _ *packets) error { return t.Write([]byte("x")) })},
		{name: "a path for a UDP endpoint", is: loopnode.ErrInvalidArgument, says: []string{"another family"},
			do: open("127.0.0.1:0", "", func(_ *env, t ta.DatagramTransport, _ *packets) error {
				return t.SendTo([]byte("x"), ta.UnixAddr("/tmp/x"))
			})},
		{name: "another peer than the connected one", is: loopnode.ErrInvalidArgument, says: []string{"connected to 127.0.0.1:9", "cannot send to 127.0.0.1:10"},
			do: open("", "127.0.0.1:9", func(_ *env, t ta.DatagramTransport, _ *packets) error {
				return t.SendTo([]byte("x"), to("127.0.0.1:10"))
			})},
		{name: "a datagram of 70000 bytes", is: syscall.EMSGSIZE,
			do: open("127.0.0.1:0", "", func(e *env, t ta.DatagramTransport, p *packets) error {
				err := t.SendTo(make([]byte, 70000), to("127.0.0.1:9"))
				if err := errors.Join(err, loopnode.Sleep(e.ctx, 0)); err != nil || t.IsClosing() {
					return err
				}
				return errors.Join(p.errs...)
			})},
		{name: "SendTo after Close", is: ta.ErrClosed,
			do: open("127.0.0.1:0", "", func(_ *env, t ta.DatagramTransport, _ *packets) error {
				t.Close()
				t.Close()
				return t.SendTo([]byte("x"), to("127.0.0.1:9"))
			})},
	})
}

func TestFilesAndPipes(t *testing.T) {
	send := func(file func(e *env) loopnode.File, offset, count int64) func(e *env) error {
		return func(e *env) error {
			return connected(e, func(t ta.Transport, _ *proto) error {
				f := file(e)
				if c, ok := f.(*os.File); ok && c != nil {
					defer c.Close()
				}
				return second(ta.Sendfile(e.ctx, t, f, offset, count))
			})
		}
	}
	regular := func(e *env) loopnode.File { return tempFile(e) }
	pipe := func(e *env) (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			e.Fatal(err)
		}
		return r, w
	}
	check(t, []row{
		{name: "no file", do: send(func(*env) loopnode.File { return nil }, 0, 1), is: loopnode.ErrInvalidArgument, says: []string{"file", "nil"}},
		{name: "a nil *os.File", do: send(func(*env) loopnode.File { return (*os.File)(nil) }, 0, 1), is: loopnode.ErrInvalidArgument},
		{name: "a closed file", do: send(func(e *env) loopnode.File { f := tempFile(e); f.Close(); return f }, 0, 1),
			is: loopnode.ErrInvalidArgument, says: []string{"closed"}},
		{name: "a folder", do: send(func(e *env) loopnode.File { f, _ := os.Open(e.TempDir()); return f }, 0, 1),
			is: loopnode.ErrInvalidArgument, says: []string{"regular file", "directory"}},
		{name: "a negative offset", do: send(regular, -1, 1), is: loopnode.ErrInvalidArgument, says: []string{"offset", "-1"}},
		{name: "a negative count", do: send(regular, 0, -1), is: loopnode.ErrInvalidArgument, says: []string{"count", "-1"}},
		{name: "a count of 0", do: send(regular, 0, 0), is: loopnode.ErrInvalidArgument, says: []string{"count", "0"}},
		{name: "an offset beyond the file", do: send(regular, 1<<40, loopnode.ToEnd)},
		{name: "no transport", is: loopnode.ErrInvalidArgument, says: []string{"transport"}, do: func(e *env) error {
			f := tempFile(e)
			defer f.Close()
			return second(ta.Sendfile(e.ctx, nil, f, 0, 1))
		}},
		{name: "a pipe of nil", is: loopnode.ErrInvalidArgument, do: func(e *env) error {
			_, _, err := ta.ConnectReadPipe(e.ctx, func() *proto { return newProto(e) }, nil)
			return err
		}},
		{name: "a pipe that is a file", is: loopnode.ErrInvalidArgument, says: []string{"RunInExecutor"}, do: func(e *env) error {
			f := tempFile(e)
			defer f.Close()
			_, _, err := ta.ConnectReadPipe(e.ctx, func() *proto { return newProto(e) }, f)
			return err
		}},
		{name: "a pipe that is closed", is: loopnode.ErrInvalidArgument, says: []string{"closed"}, do: func(e *env) error {
			r, w := pipe(e)
			_, _ = r.Close(), w.Close()
			_, _, err := ta.ConnectReadPipe(e.ctx, func() *proto { return newProto(e) }, r)
			return err
		}},
		{name: "the wrong end of a pipe", is: loopnode.ErrInvalidArgument, says: []string{"writing only"}, do: func(e *env) error {
			r, w := pipe(e)
			defer r.Close()
			defer w.Close()
			_, _, err := ta.ConnectReadPipe(e.ctx, func() *proto { return newProto(e) }, w)
			return err
		}},
		{name: "a pipe's factory that calls Goexit", is: loopnode.ErrGoexit, do: func(e *env) error {
			r, w := pipe(e)
			defer r.Close()
			defer w.Close()
			return child(e, func(ctx context.Context) error {
				_, _, err := ta.ConnectReadPipe(ctx, func() *proto { goexit(); return nil }, r)
				return err
			})
		}},
		{name: "a pipe's factory that makes nil", is: loopnode.ErrInvalidArgument, says: []string{"factory returned nil"}, do: func(e *env) error {
			r, w := pipe(e)
			defer r.Close()
			defer w.Close()
			_, _, err := ta.ConnectReadPipe(e.ctx, func() *proto { return nil }, r)
			return err
		}},
	})
}

func TestDescriptors(t *testing.T) {
	nothing := func() {}
	check(t, []row{
		{name: "a negative descriptor", is: loopnode.ErrInvalidArgument, says: []string{"descriptor -1"}, do: func(e *env) error { return e.loop.AddReader(-1, nothing) }},
		{name: "a nil reader", is: loopnode.ErrInvalidArgument, says: []string{"nil"}, do: func(e *env) error { return e.loop.AddReader(0, nil) }},
		{name: "a closed descriptor", is: syscall.EBADF, says: []string{"not open"}, do: func(e *env) error { return e.loop.AddReader(closedFD, nothing) }},
		{name: "a descriptor beyond 32 bits", is: syscall.EBADF, do: func(e *env) error { return e.loop.AddReader(1<<32, nothing) }},
		{name: "a regular file", is: syscall.EPERM, says: []string{"regular file"}, do: func(e *env) error {
			f := tempFile(e)
			defer f.Close()
			return e.loop.AddWriter(int(f.Fd()), nothing)
		}},
		{name: "the descriptor of a transport", is: loopnode.ErrBusy, says: []string{"open transport"}, do: func(e *env) error {
			return connected(e, func(t ta.Transport, _ *proto) error { return e.loop.AddReader(fdOf(t), nothing) })
		}},
		{name: "nothing to remove", do: func(e *env) error {
			if e.loop.RemoveReader(-1) || e.loop.RemoveWriter(closedFD) {
				e.Error("something was removed")
			}
			return nil
		}},
		{name: "after Close", is: loopnode.ErrLoopClosed, says: []string{"gone"}, do: func(e *env) error { return closedLoop(e).AddReader(0, nothing) }},
		{name: "Watch of a negative descriptor", is: syscall.EBADF, says: []string{"-3"}, do: func(e *env) error {
			_, err := loopaccess.Of(e.loop).Watch(-3, nothing, nothing)
			return err
		}},
		{name: "Watch without functions", is: loopnode.ErrInvalidArgument, says: []string{"nil"}, do: func(e *env) error {
			fd := socket(e, syscall.AF_INET, syscall.SOCK_DGRAM)
			defer syscall.Close(fd)
			_, err := loopaccess.Of(e.loop).Watch(fd, nil, nil)
			return err
		}},
	})
}

func TestSocketOperations(t *testing.T) {
	on := func(kind int, do func(e *env, fd int) error) func(e *env) error {
		return func(e *env) error {
			fd := socket(e, syscall.AF_INET, kind)
			defer syscall.Close(fd)
			return do(e, fd)
		}
	}
	check(t, []row{
		{name: "a negative size", is: loopnode.ErrInvalidArgument, says: []string{"-1"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error { _, err := loopnode.SockRecv(e.ctx, fd, -1); return err })},
		{name: "a negative descriptor", is: loopnode.ErrInvalidArgument, says: []string{"-1"}, do: func(e *env) error { _, err := loopnode.SockRecv(e.ctx, -1, 1); return err }},
		{name: "a closed descriptor", is: syscall.EBADF, says: []string{"987654"}, do: func(e *env) error { return loopnode.SockSendall(e.ctx, closedFD, []byte("x")) }},
		{name: "a blocking socket", is: loopnode.ErrInvalidArgument, says: []string{"blocks", "SOCK_NONBLOCK"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return errors.Join(syscall.SetNonblock(fd, false), loopnode.SockSendall(e.ctx, fd, []byte("x")))
		})},
		{name: "not connected", is: syscall.EPIPE, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error { return loopnode.SockSendall(e.ctx, fd, []byte("x")) })},
		{name: "not listening", is: syscall.EINVAL, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error { _, _, err := loopnode.SockAccept(e.ctx, fd); return err })},
		{name: "no address", is: loopnode.ErrInvalidArgument, says: []string{"address"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error { return loopnode.SockConnect(e.ctx, fd, nil) })},
		{name: "a nil address in its type", is: loopnode.ErrInvalidArgument, says: []string{"nil"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, nilTCP)
		})},
		{name: "a nil address to send to", is: loopnode.ErrInvalidArgument, says: []string{"nil"}, do: on(syscall.SOCK_DGRAM, func(e *env, fd int) error {
			_, err := loopnode.SockSendto(e.ctx, fd, []byte("x"), nilTCP)
			return err
		})},
		{name: "an address without a port", is: loopnode.ErrInvalidArgument, says: []string{"missing port"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, lookup.HostPort("127.0.0.1"))
		})},
		{name: "an address of an unknown kind", is: loopnode.ErrInvalidArgument, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, strangeAddr{})
		})},
		{name: "an address without an IP address", is: loopnode.ErrInvalidArgument, says: []string{"no IP address"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, &net.TCPAddr{Port: 80})
		})},
		{name: "an address with port 70000", is: loopnode.ErrInvalidArgument, says: []string{"70000"}, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, badPort)
		})},
		{name: "an IPv6 zone that is no interface", is: loopnode.ErrInvalidArgument, says: []string{`no interface "nope"`}, do: on(syscall.SOCK_DGRAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, &net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: "nope"})
		})},
		{name: "a path of 200 bytes", is: loopnode.ErrInvalidArgument, says: []string{"200 bytes", "107"}, do: on(syscall.SOCK_DGRAM, func(e *env, fd int) error {
			return loopnode.SockConnect(e.ctx, fd, &net.UnixAddr{Name: strings.Repeat("p", 200), Net: "unixgram"})
		})},
		{name: "a descriptor beyond 32 bits", is: syscall.EBADF, do: func(e *env) error { _, err := loopnode.SockRecv(e.ctx, 1<<32, 1); return err }},
		{name: "the socket of a transport", is: loopnode.ErrBusy, says: []string{"open transport"}, do: func(e *env) error {
			return connected(e, func(t ta.Transport, _ *proto) error { _, err := loopnode.SockRecv(e.ctx, fdOf(t), 1); return err })
		}},
		{name: "outside of any loop", is: loopnode.ErrNoRunningLoop, do: on(syscall.SOCK_STREAM, func(e *env, fd int) error {
			return elsewhere(func() error { _, err := loopnode.SockRecv(context.Background(), fd, 1); return err })
		})},
	})
}
