package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestEyeballsOnSockets(t *testing.T) {
	t.Run("CON-13 CON-14 an address that does not answer is overtaken, and its socket closed", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			silent, full, err := fullListener()
			defer func() {
				for _, fd := range full {
					_ = sock.Close(fd)
				}
			}()
			if err != nil {
				return err
			}
			before := descriptors()
			good := s.Addrs()[0]
			fd, err := connectFirst(ctx, s.loop, []net.Addr{silent, good, silent}, nil, options{delay: 20 * time.Millisecond})
			if err != nil {
				return err
			}
			if to := sock.PeerAddr(fd); to == nil || to.String() != good.String() {
				return fmt.Errorf("connected to %v", to)
			}
			if err := errors.Join(sock.Close(fd), p.wait(ctx), turns(ctx, 2)); err != nil {
				return err
			}
			if after := descriptors(); after != before {
				return fmt.Errorf("%d descriptors before, %d after", before, after)
			}
			return nil
		})
	})
	t.Run("CON-14 a cancelled race closes the sockets of all its attempts", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			silent, full, err := fullListener()
			defer func() {
				for _, fd := range full {
					_ = sock.Close(fd)
				}
			}()
			if err != nil {
				return err
			}
			l, before := mustLoop(ctx), descriptors()
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				return connectFirst(ctx, l, []net.Addr{silent, silent, silent}, nil, options{delay: time.Millisecond})
			})
			if err := until(ctx, func() bool { return descriptors() == before+3 }); err != nil {
				return err
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) || descriptors() != before {
				return fmt.Errorf("%d descriptors before, %d after: %w", before, descriptors(), err)
			}
			return nil
		})
	})
}
