package tasksync

import (
	"context"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// TestDebugChecks: in debug mode a call from another goroutine is refused and
// changes nothing, once a task has waited.
func TestDebugChecks(t *testing.T) {
	testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		var lock Lock
		var event Event
		sem, err := NewBoundedSemaphore(1)
		testloop.Must(t, err)
		cond, queue := NewCondition(nil), NewQueue[int](0)
		testloop.Must(t, errors.Join(lock.Acquire(ctx), sem.Acquire(ctx)))
		waiting := []*loopnode.Task[struct{}]{
			chore(ctx, lock.Acquire), chore(ctx, event.Wait), chore(ctx, sem.Acquire),
			chore(ctx, func(ctx context.Context) error {
				return errors.Join(cond.Acquire(ctx), cond.Wait(ctx))
			}),
			chore(ctx, func(ctx context.Context) error { _, err := queue.Get(ctx); return err }),
		}
		testloop.Pass(t, ctx, 2)
		l.SetDebug(true)
		off := func(call func() error) error {
			_, err := loopnode.RunInExecutor(ctx, nil, func() (int, error) { return 0, call() }).Await(ctx)
			return err
		}
		for name, call := range map[string]func() error{
			"Lock.Release": lock.Release, "Semaphore.Release": sem.Release,
			"Condition.Notify": func() error { return cond.Notify(1) }, "Queue.TryPut": func() error { return queue.TryPut(1) },
			"Queue.TryGet": func() error { _, err := queue.TryGet(); return err }, "Queue.TaskDone": queue.TaskDone,
		} {
			if err := off(call); !errors.Is(err, loopnode.ErrWrongGoroutine) {
				t.Errorf("%s: %v", name, err)
			}
		}
		testloop.Must(t, off(func() error { event.Set(); queue.Shutdown(true); return nil }))
		if event.IsSet() || queue.shut || !lock.Locked() || sem.value != 0 {
			t.Error("a refused call changed something")
		}
		event.Set()
		testloop.Must(t, off(func() error { event.Clear(); return nil }))
		if !event.IsSet() {
			t.Error("Clear from another goroutine was not refused")
		}
		l.SetDebug(false)
		testloop.Must(t, errors.Join(lock.Release(), sem.Release(), queue.TryPut(1), cond.Acquire(ctx), cond.Notify(1), cond.Release()))
		ended(t, ctx, waiting...)
		return nil
	})
}

func TestReleasedTooOften(t *testing.T) {
	s, err := NewBoundedSemaphore(1)
	testloop.Must(t, err)
	testloop.IsErr(t, s.Release(), ErrTooManyReleases)
	testloop.IsErr(t, s.Release(), loopnode.ErrInvalidState)
	testloop.IsErr(t, NewQueue[int](0).TaskDone(), loopnode.ErrInvalidState)
	testloop.IsErr(t, (&Lock{}).Release(), loopnode.ErrInvalidState)
}
