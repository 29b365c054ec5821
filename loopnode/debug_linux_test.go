package loopnode

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBlockingSockets(t *testing.T) {
	t.Run("DBG-08 every socket operation refuses a blocking descriptor before it reads or writes", func(t *testing.T) {
		for _, debug := range []bool{true, false} {
			l, _ := newLoop(t, func(c *Config) { c.Debug = debug })
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(pair[0])
			defer unix.Close(pair[1])
			_, err = unix.Write(pair[1], []byte("waiting"))
			must(t, err)
			_, err = RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
				for name, op := range map[string]func(fd int) error{
					"recv":     func(fd int) error { _, err := SockRecv(ctx, fd, 1); return err },
					"into":     func(fd int) error { _, err := SockRecvInto(ctx, fd, make([]byte, 1)); return err },
					"from":     func(fd int) error { _, _, err := SockRecvfrom(ctx, fd, 1); return err },
					"frominto": func(fd int) error { _, _, err := SockRecvfromInto(ctx, fd, make([]byte, 1)); return err },
					"sendall":  func(fd int) error { return SockSendall(ctx, fd, []byte("x")) },
					"sendto": func(fd int) error {
						_, err := SockSendto(ctx, fd, []byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
						return err
					},
					"accept":  func(fd int) error { _, _, err := SockAccept(ctx, fd); return err },
					"connect": func(fd int) error { return SockConnect(ctx, fd, &net.UnixAddr{Name: "/nowhere", Net: "unix"}) },
				} {
					if err := op(pair[0]); !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "block") {
						t.Errorf("debug %v, %s: %v", debug, name, err)
					}
				}
				return 0, nil
			}))
			must(t, err)
			buf := make([]byte, 20)
			if n, err := unix.Read(pair[0], buf); err != nil || string(buf[:n]) != "waiting" {
				t.Error("something was read:", n, err)
			}
			if n, _, err := unix.Recvfrom(pair[1], buf, unix.MSG_DONTWAIT); err != unix.EAGAIN {
				t.Error("something was written:", n, err)
			}
		}
	})
}
