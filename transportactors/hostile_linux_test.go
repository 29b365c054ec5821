package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// hostile are clients that do one bad thing each, many at a time.
var hostile = map[string]func(c *net.TCPConn) error{
	"reset at once": func(c *net.TCPConn) error { return c.SetLinger(0) },
	"garbage": func(c *net.TCPConn) error {
		_, err := c.Write([]byte("\x16\x03\x01\xff\xff not a handshake at all \x00\x00\x00"))
		return err
	},
	"garbage and a reset": func(c *net.TCPConn) error {
		_, err := c.Write(make([]byte, 32<<10))
		return errors.Join(err, c.SetLinger(0))
	},
	"half a record": func(c *net.TCPConn) error {
		_, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1})
		return err
	},
	"the end of the output": func(c *net.TCPConn) error { return c.CloseWrite() },
}

func TestHostilePeers(t *testing.T) {
	const many = 200
	bothKinds(t, func(t *testing.T, opts []ConnOption) {
		for name, behave := range hostile {
			t.Run(name, func(t *testing.T) {
				inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
					server := append(serverTLS(opts), WithFirstByteTimeout(5*time.Second), WithIdleTimeout(2*time.Second))
					s, err := CreateServer(ctx, func() Protocol { return &StreamProtocol{Limit: 1 << 10} }, "tcp", "127.0.0.1:0", server...)
					must(t, err)
					_, err = aside(ctx, func() (int, error) { return 0, swarm(s, many, behave) })
					must(t, err)
					// A good client is served, and nothing of the others is left.
					good := newProbe(ctx)
					_, _, err = CreateConnection(ctx, func() *probe { return good }, "tcp", s.Addrs()[0].String(), asClient(opts)...)
					if err != nil {
						return fmt.Errorf("a good client: %w", err)
					}
					good.t.Abort()
					s.Close()
					if err := s.WaitClosed(ctx); err != nil {
						return fmt.Errorf("%d connections are left: %w", s.count, err)
					}
					if left := StatsOf(s.loop); left != (Stats{}) || len(*told) != 0 {
						return fmt.Errorf("left %+v, told %v", left, *told)
					}
					return nil
				})
			})
		}
	})
}

// swarm has many clients at once; they hang up when all have behaved.
func swarm(s *Server, many int, behave func(*net.TCPConn) error) (err error) {
	var all []*net.TCPConn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	for range many {
		c, err := peer(s)
		if err != nil {
			return err
		}
		all = append(all, c)
		_ = behave(c) // the server may be quicker
	}
	return nil
}
