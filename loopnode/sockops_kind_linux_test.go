package loopnode

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// notSockets are open files of every other kind, by name.
func notSockets(t *testing.T) map[string]int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, []byte("content"), 0o600))
	open := func(path string, flags int) int {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC))
	t.Cleanup(func() { _ = unix.Close(p[0]); _ = unix.Close(p[1]) })
	return map[string]int{
		"a regular file":             open(path, unix.O_RDWR|unix.O_NONBLOCK),
		"a regular file that blocks": open(path, unix.O_RDWR),
		"the reading end of a pipe":  p[0],
		"the writing end of a pipe":  p[1],
		"a device":                   open("/dev/null", unix.O_RDWR|unix.O_NONBLOCK),
		"a directory":                open(filepath.Dir(path), unix.O_RDONLY|unix.O_NONBLOCK),
	}
}

func TestSockNotASocket(t *testing.T) {
	to := &net.UnixAddr{Name: "/nowhere", Net: "unix"}
	ops := map[string]func(ctx context.Context, fd int) error{
		"SockRecv":         func(ctx context.Context, fd int) error { _, err := SockRecv(ctx, fd, 10); return err },
		"SockRecv of 0":    func(ctx context.Context, fd int) error { _, err := SockRecv(ctx, fd, 0); return err },
		"SockRecvInto":     func(ctx context.Context, fd int) error { _, err := SockRecvInto(ctx, fd, make([]byte, 10)); return err },
		"SockRecvInto nil": func(ctx context.Context, fd int) error { _, err := SockRecvInto(ctx, fd, nil); return err },
		"SockRecvfrom":     func(ctx context.Context, fd int) error { _, _, err := SockRecvfrom(ctx, fd, 10); return err },
		"SockRecvfromInto": func(ctx context.Context, fd int) error {
			_, _, err := SockRecvfromInto(ctx, fd, make([]byte, 10))
			return err
		},
		"SockSendall":         func(ctx context.Context, fd int) error { return SockSendall(ctx, fd, []byte("x")) },
		"SockSendall nothing": func(ctx context.Context, fd int) error { return SockSendall(ctx, fd, nil) },
		"SockSendto":          func(ctx context.Context, fd int) error { _, err := SockSendto(ctx, fd, []byte("x"), to); return err },
		"SockAccept":          func(ctx context.Context, fd int) error { _, _, err := SockAccept(ctx, fd); return err },
		"SockConnect":         func(ctx context.Context, fd int) error { return SockConnect(ctx, fd, to) },
		"SockSendfile": func(ctx context.Context, fd int) error {
			_, err := SockSendfile(ctx, fd, strings.NewReader("x"), 0, ToEnd)
			return err
		},
	}
	t.Run("SOK-12 an operation on what is no socket answers ENOTSOCK at once", func(t *testing.T) {
		onSockets(t, func(ctx context.Context, _ *Loop, p *counting) {
			for kind, fd := range notSockets(t) {
				before, _ := unix.Seek(fd, 0, unix.SEEK_CUR)
				for name, op := range ops {
					k := CreateTask(ctx, name, func(ctx context.Context) (int, error) { return 0, op(ctx, fd) })
					must(t, Sleep(ctx, 0))
					if !k.Done() {
						t.Errorf("%s on %s waits", name, kind)
						k.Cancel()
					}
					if _, err := k.Await(ctx); !errors.Is(err, syscall.ENOTSOCK) || !strings.Contains(err.Error(), "RunInExecutor") {
						t.Errorf("%s on %s: %v", name, kind, err)
					}
				}
				if after, _ := unix.Seek(fd, 0, unix.SEEK_CUR); after != before {
					t.Errorf("%s was read: its position went from %d to %d", kind, before, after)
				}
			}
			if p.adds != 0 {
				t.Error("the poller was asked", p.adds)
			}
		})
	})
}
