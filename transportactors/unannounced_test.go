package transportactors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestUnannounced(t *testing.T) {
	t.Run("a connection that is aborted before ConnectionMade is ErrClosed", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			here := newProbe(ctx)
			tr, _, err := CreateConnection(ctx, func() *probe { abortNext(s.Loop()); return here }, "tcp", s.Addrs()[0].String())
			if !errors.Is(err, ErrClosed) || tr != nil || len(here.log) > 0 {
				return fmt.Errorf("got %v, %v after %v", tr, err, here.log)
			}
			return p.wait(ctx)
		})
	})
}

// abortNext aborts in the next turn what was made in this one.
func abortNext(l *loopnode.Loop) {
	l.CallSoon(func() {
		for _, t := range Transports(l) {
			t.Abort()
		}
	})
}

func TestHugeBacklog(t *testing.T) {
	t.Run("a server with the largest backlog accepts", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			s, err := serve(ctx, p, WithBacklog(math.MaxInt))
			if err != nil {
				return err
			}
			defer s.Close()
			tr, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			tr.Close()
			return p.wait(ctx)
		})
	})
}
