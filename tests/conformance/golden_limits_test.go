package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenLimits(t *testing.T) {
	t.Run("a time limit cancels, waits for the clean-up and tells", func(t *testing.T) {
		golden(t, "g13_wait_for", limits)
	})
}

// little is a time limit that is exceeded.
const little = 20 * time.Millisecond

// tidy sleeps, and cleans up for two turns when it is cancelled; then it
// returns end, nil for the cancellation.
func tidy(say func(...any), end error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		err := loopnode.Sleep(ctx, long)
		say("sleep is cancelled")
		if err := turns(ctx, 2); err != nil {
			return 0, err
		}
		say("sleep has cleaned up")
		if end != nil {
			return 0, end
		}
		return 0, err
	}
}

func limits(t *testing.T, say func(...any)) {
	tried := func(name string, v any, err error) {
		if err != nil {
			say(name, "fails with", why(err))
			return
		}
		say(name, "gives", v)
	}
	waitFor := func(ctx context.Context, d time.Duration, fn func(context.Context) (int, error)) {
		v, err := loopnode.WaitFor(ctx, fn, d)
		tried("wait_for", v, err)
	}
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		say("-- in time")
		quick := func(ctx context.Context) (int, error) { return 1, turns(ctx, 2) }
		waitFor(ctx, long, quick)
		waitFor(ctx, loopnode.Forever, quick)

		say("-- too slow")
		waitFor(ctx, little, tidy(say, nil))

		say("-- too slow, and fails when it is cancelled")
		waitFor(ctx, little, tidy(say, errors.New("boom")))

		future := func(d time.Duration) {
			f := loopnode.NewFuture[int](l)
			v, err := loopnode.WaitForFuture(ctx, f, d)
			tried("wait_for", v, err)
			say("cancelled:", pythonBool(f.Cancelled()))
		}
		say("-- a future is cancelled by the limit")
		future(little)

		say("-- no time at all")
		future(0)
		f := loopnode.NewFuture[int](l)
		if err := f.SetResult(3); err != nil {
			return err
		}
		v, err := loopnode.WaitForFuture(ctx, f, 0)
		tried("wait_for", v, err)

		say("-- cancelled from outside")
		task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
			waitFor(ctx, long, tidy(say, nil))
			return nil
		}))
		if err := turns(ctx, 2); err != nil {
			return err
		}
		task.Cancel("out")
		if _, err := task.Await(ctx); err != nil {
			return err
		}

		say("-- timeout scopes, the inner one first")
		tried("scopes", "on", innerFirst(ctx, say))
		say("-- timeout scopes, the outer one first")
		task = loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
			tried("scopes", "on", outerFirst(ctx, say, func() int { return task.Cancelling() }))
			return nil
		}))
		if _, err := task.Await(ctx); err != nil {
			return err
		}

		say("-- the limit is over and the task is cancelled, too")
		task = loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
			tried("scope", "on", loopnode.Timeout(ctx, 0, func(ctx context.Context) error {
				task.Cancel("else")
				return loopnode.Sleep(ctx, long)
			}))
			return nil
		}))
		_, err = task.Await(ctx)
		return err
	})
}

func innerFirst(ctx context.Context, say func(...any)) error {
	return loopnode.Timeout(ctx, long, func(ctx context.Context) error {
		outer := loopnode.CurrentTimeout(ctx)
		var inner *loopnode.TimeoutScope
		err := loopnode.Timeout(ctx, little, func(ctx context.Context) error {
			inner = loopnode.CurrentTimeout(ctx)
			return loopnode.Sleep(ctx, long)
		})
		if errors.Is(err, loopnode.ErrTimeout) {
			say("inner expired:", pythonBool(inner.Expired()), "outer:", pythonBool(outer.Expired()))
		}
		return turns(ctx, 1)
	})
}

func outerFirst(ctx context.Context, say func(...any), requests func() int) error {
	var outer *loopnode.TimeoutScope
	err := loopnode.Timeout(ctx, little, func(ctx context.Context) error {
		outer = loopnode.CurrentTimeout(ctx)
		var inner *loopnode.TimeoutScope
		err := loopnode.Timeout(ctx, long, func(ctx context.Context) error {
			inner = loopnode.CurrentTimeout(ctx)
			return loopnode.Sleep(ctx, long)
		})
		if errors.Is(err, loopnode.ErrCancelled) {
			say("inner expired:", pythonBool(inner.Expired()))
		}
		return err
	})
	say("outer expired:", pythonBool(outer.Expired()), "open requests:", requests())
	return err
}
