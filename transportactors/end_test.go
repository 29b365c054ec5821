//go:build linux

package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

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
			serving(t, func(ctx context.Context, _ *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
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
	t.Run("ACC-01 an accepted socket becomes a transport", func(t *testing.T) {
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
	ln, err := sock.OpenListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sock.ListenOptions{})
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
