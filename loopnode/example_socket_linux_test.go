package loopnode_test

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/lookup"
)

// A socket for the loop is made with SOCK_NONBLOCK; accepted ones are so
// already.
func ExampleSockConnect() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		listener, port, err := listening()
		if err != nil {
			return err
		}
		defer unix.Close(listener)
		loopnode.CreateTask(ctx, "server", func(ctx context.Context) (any, error) {
			fd, _, err := loopnode.SockAccept(ctx, listener)
			if err != nil {
				return nil, err
			}
			defer unix.Close(fd)
			return nil, loopnode.SockSendall(ctx, fd, []byte("hello"))
		})
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := loopnode.SockConnect(ctx, fd, lookup.HostPort(fmt.Sprintf("localhost:%d", port))); err != nil {
			return err
		}
		p, err := loopnode.SockRecv(ctx, fd, 100)
		fmt.Println(string(p))
		return err
	})
	fmt.Println(err)
	// Output:
	// hello
	// <nil>
}

func listening() (fd, port int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 10)
	}
	if err != nil {
		return -1, 0, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return -1, 0, err
	}
	return fd, at.(*unix.SockaddrInet4).Port, nil
}
