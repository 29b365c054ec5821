package transportactors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
)

// exhausted is a server in a process whose descriptors run out: the parent's
// clients take the last ones. It tells what its exception handler hears, and
// gives descriptors back when it is told a line.
func exhausted() error {
	var told []loopnode.ExceptionContext
	l, err := loopnode.New(loopnode.Config{
		Logger:           hclog.NewNullLogger(),
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
	})
	if err != nil {
		return err
	}
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		s, err := CreateServer(ctx, func() Protocol { return &echoes{} }, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		held, err := useUp()
		if err != nil {
			return 0, err
		}
		if err := unix.Close(held[0]); err != nil { // one client fits
			return 0, err
		}
		fmt.Println(s.Addrs()[0])
		lines := make(chan error, 1)
		go func() {
			_, err := bufio.NewReader(os.Stdin).ReadString('\n')
			lines <- err
			_ = l.Ref().CallSoonThreadsafe(func() {})
		}()
		for {
			if len(told) > 0 && held != nil {
				fmt.Println(told[0].Message, told[0].Exception, told[0].Extra["socket"])
				if err := loopnode.Sleep(ctx, 500*time.Millisecond); err != nil {
					return 0, err
				}
				fmt.Println(len(told))
				for _, fd := range held[1:] {
					_ = unix.Close(fd)
				}
				held = nil
			}
			select {
			case err := <-lines:
				s.CloseClients()
				s.Close()
				return 0, errors.Join(err, s.WaitClosed(ctx))
			default:
			}
			if err := loopnode.Sleep(ctx, 10*time.Millisecond); err != nil {
				return 0, err
			}
		}
	}))
	return errors.Join(err, l.Close())
}

// useUp opens descriptors until there are no more.
func useUp() (held []int, err error) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		return nil, err
	}
	for {
		fd, err := unix.Dup(1)
		if err == unix.EMFILE {
			return held, nil
		}
		if err != nil {
			return nil, err
		}
		held = append(held, fd)
	}
}

func TestDescriptorsRunOut(t *testing.T) {
	t.Run("SRV-13 with every descriptor in use the server rests, its clients wait, and all are served later", func(t *testing.T) {
		c := startChild(t, "exhausted")
		address := c.says(t)
		var clients []net.Conn
		for range 3 {
			client, err := net.DialTimeout("tcp", address, patience)
			must(t, err)
			defer client.Close()
			must(t, client.SetDeadline(time.Now().Add(patience)))
			clients = append(clients, client)
		}
		if said := c.says(t); said != "socket.accept() out of system resource too many open files "+address {
			t.Errorf("the handler heard %q", said)
		}
		if reports := c.says(t); reports != "1" {
			t.Errorf("%s reports within the rest", reports)
		}
		for i, client := range clients {
			text := fmt.Sprintf("client %d", i)
			_, err := io.WriteString(client, text)
			must(t, err)
			back := make([]byte, len(text))
			if _, err := io.ReadFull(client, back); err != nil || string(back) != text {
				t.Errorf("%s got %q, %v", text, back, err)
			}
		}
		c.tell(t, "end")
		c.end(t)
	})
}
