package transportactors

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestWaitersGiveUp(t *testing.T) {
	t.Run("waits that were given up leave nothing behind", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			st, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			for range 3 {
				for _, wait := range []func(ctx context.Context) error{s.WaitClosed, func(ctx context.Context) error { return st.With(ctx).WaitClosed() }} {
					if err := loopnode.Timeout(ctx, time.Millisecond, wait); !errors.Is(err, loopnode.ErrTimeout) {
						return fmt.Errorf("the wait ended with %w", err)
					}
				}
			}
			if a, b := len(s.waiters), len(st.enders); a+b > 0 {
				return fmt.Errorf("%d and %d are left", a, b)
			}
			_ = st.Close()
			if err := st.WaitClosed(); err != nil {
				return err
			}
			return p.wait(ctx)
		})
	})
}
