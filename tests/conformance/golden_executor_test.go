package conformance

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenExecutor(t *testing.T) {
	t.Run("a pool of one: order, failure, cancelled while queued and while running", func(t *testing.T) {
		golden(t, "g16_executor", executing)
	})
}

// gate is a function of a pool that waits to be let go.
type gate struct{ started, leave, ended chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{}), make(chan struct{})} }

func (g *gate) run() (int, error) {
	close(g.started)
	<-g.leave
	close(g.ended)
	return 1, nil
}

// running waits, in a task, until the function runs.
func (g *gate) running(ctx context.Context) error {
	_, err := loopnode.RunInExecutor(ctx, nil, func() (int, error) { <-g.started; return 0, nil }).Await(ctx)
	return err
}

func (g *gate) hasEnded() string {
	select {
	case <-g.ended:
		return pythonBool(true)
	default:
		return pythonBool(false)
	}
}

func executing(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, _ *loopnode.Loop) error {
		pool := loopnode.NewPool(1)
		var order []any // the pool's until one of its futures is done
		put := func(v any) func() (int, error) {
			return func() (int, error) { order = append(order, v); return 0, nil }
		}
		say("-- one after the other")
		told := []any{"told in the order"}
		var futures []loopnode.Waiter
		for i := range 4 {
			f := loopnode.RunInExecutor(ctx, pool, put(i))
			f.AddDoneCallback(func(*loopnode.Future[int]) { told = append(told, i) })
			futures = append(futures, f)
		}
		if _, _, err := loopnode.Wait(ctx, futures); err != nil {
			return err
		}
		say(order...)
		say(told...)

		say("-- a failure")
		_, err := loopnode.RunInExecutor(ctx, pool, func() (int, error) { return 0, errors.New("boom") }).Await(ctx)
		say("fails with", why(err))

		say("-- cancelled")
		told = []any{"told:"}
		watch := func(name string, f *loopnode.Future[int]) *loopnode.Future[int] {
			f.AddDoneCallback(func(f *loopnode.Future[int]) { told = append(told, name, why(f.Exception())) })
			return f
		}
		slow := newGate()
		running := watch("running", loopnode.RunInExecutor(ctx, pool, slow.run))
		queued := watch("queued", loopnode.RunInExecutor(ctx, pool, put("never")))
		last := watch("last", loopnode.RunInExecutor(ctx, pool, put("last")))
		if err := slow.running(ctx); err != nil {
			return err
		}
		say("cancel running:", pythonBool(running.Cancel()), "queued:", pythonBool(queued.Cancel()))
		if err := turns(ctx, 2); err != nil {
			return err
		}
		say(told...)
		say("the running one has ended:", slow.hasEnded())
		close(slow.leave)
		if _, err := last.Await(ctx); err != nil {
			return err
		}
		say("and now:", slow.hasEnded())
		say("last ran:", pythonBool(slices.Contains(order, any("last"))), "cancelled one ran:", pythonBool(slices.Contains(order, any("never"))))
		if err := turns(ctx, 1); err != nil {
			return err
		}
		say(told...)
		return errors.Join(executorWait(ctx, pool, say), executorShutDown(ctx, pool, say))
	})
}

func executorWait(ctx context.Context, pool *loopnode.Pool, say func(...any)) error {
	say("-- a task that waits is cancelled")
	slow := newGate()
	task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
		_, err := loopnode.RunInExecutor(ctx, pool, slow.run).Await(ctx)
		say("hears", why(err))
		return nil
	}))
	if err := slow.running(ctx); err != nil {
		return err
	}
	task.Cancel()
	err := finish(ctx, task)
	say("the function has ended:", slow.hasEnded())
	close(slow.leave)
	return err
}

func executorShutDown(ctx context.Context, pool *loopnode.Pool, say func(...any)) error {
	say("-- shut down")
	_, err := loopnode.RunInExecutor(ctx, nil, func() (int, error) { return 0, pool.Shutdown(context.Background()) }).Await(ctx)
	if err != nil {
		return err
	}
	_, err = loopnode.RunInExecutor(ctx, pool, func() (int, error) { return 0, nil }).Await(ctx)
	if errors.Is(err, loopnode.ErrShutdown) {
		say("refused")
	}
	return nil
}
