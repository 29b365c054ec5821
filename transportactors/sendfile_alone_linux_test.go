package transportactors

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestSendfileAlone(t *testing.T) {
	for _, s := range senders {
		t.Run(s.name+": a second file and StartTLS are refused while one goes, which goes on", func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				return s.alone(ctx, t)
			})
		})
	}
}

func (s sender) alone(ctx context.Context, t *testing.T) error {
	p := newProbe(ctx)
	tr, c, err := s.connect(ctx, p)
	if err != nil {
		return err
	}
	defer c.Close()
	first := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int64, error) {
		return Sendfile(ctx, tr, s.source(t, sendPattern(32<<20)), 0, loopnode.ToEnd)
	})
	if err := turns(ctx, 3); err != nil {
		return err
	}
	if _, err := Sendfile(ctx, tr, s.source(t, []byte("more")), 0, loopnode.ToEnd); !errors.Is(err, ErrSendfile) {
		return fmt.Errorf("the second file: %w", err)
	}
	if _, err := StartTLS(ctx, tr, newProbe(ctx), theTLSWorld().serverConfig(), true); !errors.Is(err, ErrSendfile) {
		return fmt.Errorf("StartTLS: %w", err)
	}
	if first.Done() || tr.IsClosing() {
		return errors.New("the first file was disturbed")
	}
	tr.Abort()
	if _, err := first.Await(ctx); !errors.Is(err, ErrClosed) {
		return fmt.Errorf("the first file: %w", err)
	}
	return p.wait(ctx)
}
