package tasksync

import (
	"context"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

func TestConditionAsCPython(t *testing.T) {
	t.Run("of several cancellations of a wait the last one comes back", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			c := NewCondition(nil)
			k := chore(ctx, func(ctx context.Context) error {
				testloop.Must(t, c.Acquire(ctx))
				return errors.Join(c.Wait(ctx), c.Release())
			})
			testloop.Pass(t, ctx, 2)
			testloop.Must(t, c.Acquire(ctx))
			k.Cancel("first")
			testloop.Pass(t, ctx, 2)
			k.Cancel("second")
			testloop.Pass(t, ctx, 1)
			testloop.Must(t, c.Release())
			_, err := k.Await(ctx)
			var e *loopnode.CancelledError
			if !errors.As(err, &e) || e.Msg != "second" {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("WaitUntil with an open lock is refused, whatever the predicate says", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			for _, holds := range []bool{true, false} {
				err := NewCondition(nil).WaitUntil(ctx, func() bool { return holds })
				testloop.IsErr(t, err, loopnode.ErrInvalidState)
			}
			return nil
		})
	})
}
