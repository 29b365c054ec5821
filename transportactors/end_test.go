//go:build linux

package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestAfterClose(t *testing.T) {
	t.Run("TRN-03 nothing is received after close; TRN-08 closing is visible at once and for ever", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			there.onData = func([]byte) { there.t.Close() }
			_ = here.t.Write([]byte("first"))
			for !there.t.IsClosing() {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			_ = here.t.Write([]byte("second"))
			if err := there.wait(ctx); err != nil {
				return err
			}
			if string(there.data) != "first" || !there.t.IsClosing() {
				return fmt.Errorf("received %q", there.data)
			}
			return nil
		})
	})
	t.Run("TRN-05 a write after close is refused with and without a backlog", func(t *testing.T) {
		for _, backlog := range []int{0, 16 << 20} {
			within(t, func(_ context.Context, here, _ *probe) error {
				_ = here.t.Write(make([]byte, backlog))
				here.t.Close()
				if one, many := here.t.Write([]byte("x")), here.t.Writelines([][]byte{[]byte("x")}); !errors.Is(one, ErrClosed) || !errors.Is(many, ErrClosed) {
					return fmt.Errorf("with %d bytes queued: %v, %v", backlog, one, many)
				}
				return nil
			})
		}
	})
}

func TestKeptEOF(t *testing.T) {
	t.Run("RDT-04 the end of the stream is told once; PRO-01 the loss is last", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			there.onEOF = func() bool { return true }
			_ = here.t.WriteEOF()
			for len(there.log) < 2 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			_ = there.t.PauseReading()
			_ = there.t.ResumeReading()
			for range 10 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			there.t.Close()
			if err := there.wait(ctx); err != nil {
				return err
			}
			if want := []string{"made", "eof", "lost"}; !slices.Equal(there.log, want) {
				return fmt.Errorf("got %v", there.log)
			}
			return nil
		})
	})
}

func TestDescriptorCloses(t *testing.T) {
	t.Run("TRN-07 the descriptor closes behind ConnectionLost, whatever that does", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			s, here, there, err := pair(ctx)
			if err != nil {
				return err
			}
			socket, inside := here.t.ExtraInfo("socket").(*Socket), 0
			here.onLost = func(error) { inside = socket.FD(); panic("planted") }
			here.t.Close()
			if err := errors.Join(here.wait(ctx), there.wait(ctx)); err != nil {
				return err
			}
			if inside < 0 || socket.FD() != -1 || len(*told) != 1 {
				return fmt.Errorf("inside %d, after %d, told %v", inside, socket.FD(), *told)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
}

func TestMadeEnds(t *testing.T) {
	t.Run("CON-04 a connection ended inside ConnectionMade is returned, closing", func(t *testing.T) {
		for _, end := range []func(Transport){Transport.Close, Transport.Abort} {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				s, err := serve(ctx, newProbe(ctx))
				if err != nil {
					return err
				}
				defer s.Close()
				p := newProbe(ctx)
				p.onMade = end
				tr, _, err := CreateConnection(ctx, func() *probe { return p }, "tcp", s.Addrs()[0].String())
				if err != nil || !tr.IsClosing() {
					return fmt.Errorf("got %v, %w", tr, err)
				}
				return p.wait(ctx)
			})
		}
	})
}

func TestNoDelay(t *testing.T) {
	t.Run("CON-19 small writes leave at once on both sides", func(t *testing.T) {
		within(t, func(_ context.Context, here, there *probe) error {
			for _, p := range []*probe{here, there} {
				on, err := unix.GetsockoptInt(p.t.ExtraInfo("socket").(*Socket).FD(), unix.IPPROTO_TCP, unix.TCP_NODELAY)
				if err != nil || on == 0 {
					return fmt.Errorf("TCP_NODELAY is %d, %w", on, err)
				}
			}
			return nil
		})
	})
}

func TestBusyDescriptor(t *testing.T) {
	t.Run("TRN-13 a descriptor carries one transport", func(t *testing.T) {
		within(t, func(ctx context.Context, here, _ *probe) error {
			fd := here.t.ExtraInfo("socket").(*Socket).FD()
			_, _, err := ConnectAcceptedSocket(ctx, func() *probe { return newProbe(ctx) }, fd)
			if !errors.Is(err, loopnode.ErrBusy) || here.t.IsClosing() {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	})
}

func TestAcceptedSocket(t *testing.T) {
	t.Run("ACC-01 an accepted socket becomes a transport; ACC-03 which owns it", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(pair[1])
			tr, p, err := ConnectAcceptedSocket(ctx, func() *probe { return newProbe(ctx) }, pair[0])
			if err != nil {
				return err
			}
			if len(p.log) == 0 {
				return errors.New("returned before ConnectionMade")
			}
			if _, err := unix.Write(pair[1], []byte("hi")); err != nil {
				return err
			}
			p.onData = func([]byte) { tr.Close() }
			if err := p.wait(ctx); err != nil || string(p.data) != "hi" {
				return fmt.Errorf("%q, %w", p.data, err)
			}
			n, err := unix.Read(pair[1], make([]byte, 1))
			if n != 0 || err != nil {
				return fmt.Errorf("the other end read %d, %w", n, err)
			}
			return nil
		})
	})
	t.Run("ACC-02 what is no stream socket is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			_, _, err = ConnectAcceptedSocket(ctx, func() *probe { return newProbe(ctx) }, fd)
			if !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("got %v", err)
			}
			return unix.Close(fd) // still the caller's
		})
	})
}

func TestCancelledConnect(t *testing.T) {
	t.Run("CON-08 cancelling a connect closes its socket", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			at, full, err := fullListener()
			defer func() {
				for _, fd := range full {
					_ = sock.Close(fd)
				}
			}()
			if err != nil {
				return err
			}
			before := descriptors()
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				_, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", at.String())
				return 0, err
			})
			for descriptors() == before && !task.Done() {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				return fmt.Errorf("it ended with %v", err)
			}
			if after := descriptors(); after != before {
				return fmt.Errorf("%d descriptors before, %d after", before, after)
			}
			return nil
		})
	})
}

// fullListener is a listening socket that answers nobody any more: its backlog
// is full. All descriptors are the caller's.
func fullListener() (at net.Addr, fds []int, err error) {
	ln, err := sock.Bind(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sock.ListenOptions{})
	if err != nil {
		return nil, nil, err
	}
	fds = append(fds, ln)
	if err := sock.Listen(ln, 0); err != nil {
		return nil, fds, err
	}
	at = sock.LocalAddr(ln)
	for range 8 {
		fd, _, err := sock.Dial(at, nil)
		if err != nil {
			return nil, fds, err
		}
		fds = append(fds, fd)
	}
	return at, fds, nil
}

func TestSeveralAddresses(t *testing.T) {
	t.Run("CON-11 errors that differ are told together", func(t *testing.T) {
		one, two := fmt.Errorf("a: %w", syscall.ECONNREFUSED), fmt.Errorf("b: %w", syscall.EHOSTUNREACH)
		if err := together([]error{one, one}); err != one {
			t.Fatalf("equal ones gave %v", err)
		}
		err := together([]error{one, two})
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, syscall.EHOSTUNREACH) || !strings.HasPrefix(err.Error(), "multiple exceptions: a: ") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		p := newProbe(ctx)
		s, err := CreateServer(ctx, func() Protocol { return p }, "unix", path)
		if err != nil {
			return err
		}
		defer s.Close()
		c, err := OpenConnection(ctx, "unix", path)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("x"))
		_ = c.Close()
		return errors.Join(err, p.wait(ctx))
	})
}
