package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// price measures what awaiting costs, in turns.
func price(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		count := countTurns(l)
		defer count.end()
		if err := turns(ctx, 1); err != nil {
			return err
		}
		ready := func(context.Context) (int, error) { return 1, nil }
		for _, step := range []struct {
			name  string
			await func() error
		}{
			{"call", func() error { _, err := ready(ctx); return err }},
			{"done future", func() error {
				f := loopnode.NewFuture[int](l)
				if err := f.SetResult(1); err != nil {
					return err
				}
				_, err := f.Await(ctx)
				return err
			}},
			{"sleep 0", func() error { return loopnode.Sleep(ctx, 0) }},
			{"task", func() error { _, err := loopnode.CreateTask(ctx, "", ready).Await(ctx); return err }},
			{"gather", func() error {
				_, err := loopnode.Gather(ctx, loopnode.CreateTask(ctx, "", ready), loopnode.CreateTask(ctx, "", ready))
				return err
			}},
			{"wait", func() error {
				_, _, err := loopnode.Wait(ctx, []loopnode.Waiter{loopnode.CreateTask(ctx, "", ready)})
				return err
			}},
			{"shield", func() error {
				_, err := loopnode.Shield(ctx, loopnode.CreateTask(ctx, "", ready)).Await(ctx)
				return err
			}},
			{"wait_for", func() error {
				_, err := loopnode.WaitFor(ctx, ready, 10*time.Second)
				return err
			}},
		} {
			before := count.now
			if err := step.await(); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			say(step.name, count.now-before)
		}
		return nil
	})
}
