package tasksync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// churn runs n tasks and cancels some of them at random turns, also before
// they start and several times.
func churn(t testing.TB, ctx context.Context, r *rand.Rand, n int, body func(ctx context.Context, r *rand.Rand) error) {
	t.Helper()
	var ks []*loopnode.Task[struct{}]
	for range n {
		ks = append(ks, chore(ctx, func(ctx context.Context) error { return body(ctx, r) }))
		if r.IntN(3) == 0 {
			testloop.Pass(t, ctx, r.IntN(3))
		}
		if r.IntN(2) == 0 {
			ks[r.IntN(len(ks))].Cancel()
		}
	}
	for _, k := range ks {
		if _, err := k.Await(ctx); err != nil && !errors.Is(err, loopnode.ErrCancelled) {
			t.Error(err)
		}
	}
}

// lapse lets up to three turns pass.
func lapse(ctx context.Context, r *rand.Rand) error {
	for range r.IntN(4) {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// TestChurn: whatever is cancelled when, no permit is lost and none is made,
// and nobody who may go on is left waiting (the test would not end).
func TestChurn(t *testing.T) {
	const rounds, tasks = 60, 30
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
				lockChurn(t, ctx, r, tasks)
				semaphoreChurn(t, ctx, r, tasks)
				conditionChurn(t, ctx, r, tasks)
				queueChurn(t, ctx, r, tasks)
				return nil
			})
		})
	}
}

func lockChurn(t *testing.T, ctx context.Context, r *rand.Rand, tasks int) {
	var lock Lock
	inside := 0
	churn(t, ctx, r, tasks, func(ctx context.Context, r *rand.Rand) error {
		if err := lock.Acquire(ctx); err != nil {
			return err
		}
		if inside++; inside != 1 {
			t.Errorf("%d hold the lock", inside)
		}
		err := lapse(ctx, r)
		inside--
		return errors.Join(err, lock.Release())
	})
	if lock.Locked() || lock.queue.list.Len() != 0 {
		t.Errorf("locked %v, %d wait", lock.Locked(), lock.queue.list.Len())
	}
}

func semaphoreChurn(t *testing.T, ctx context.Context, r *rand.Rand, tasks int) {
	const permits = 3
	s, err := NewBoundedSemaphore(permits)
	testloop.Must(t, err)
	inside := 0
	churn(t, ctx, r, tasks, func(ctx context.Context, r *rand.Rand) error {
		if err := s.Acquire(ctx); err != nil {
			return err
		}
		if inside++; inside > permits {
			t.Errorf("%d are inside", inside)
		}
		err := lapse(ctx, r)
		inside--
		return errors.Join(err, s.Release())
	})
	if s.value != permits || s.queue.list.Len() != 0 {
		t.Errorf("%d permits, %d wait", s.value, s.queue.list.Len())
	}
}

// conditionChurn uses a condition as a semaphore of one: a lost notification
// would leave somebody waiting.
func conditionChurn(t *testing.T, ctx context.Context, r *rand.Rand, tasks int) {
	c := NewCondition(nil)
	free := true
	churn(t, ctx, r, tasks, func(ctx context.Context, r *rand.Rand) error {
		if err := c.Acquire(ctx); err != nil {
			return err
		}
		if err := c.WaitUntil(ctx, func() bool { return free }); err != nil {
			return errors.Join(err, c.Release())
		}
		free = false
		testloop.Must(t, c.Release())
		err := lapse(ctx, r)
		free = true
		c.queue.take(1) // as Notify, which the cancelled could not wait for
		return err
	})
	if c.Locked() || c.queue.list.Len() != 0 || !free {
		t.Errorf("locked %v, %d wait, free %v", c.Locked(), c.queue.list.Len(), free)
	}
}

func queueChurn(t *testing.T, ctx context.Context, r *rand.Rand, tasks int) {
	q := NewQueue[int](2)
	put, got := 0, 0
	consumers := make([]*loopnode.Task[struct{}], 3)
	for i := range consumers {
		consumers[i] = chore(ctx, func(ctx context.Context) error {
			for {
				if _, err := q.Get(ctx); err != nil {
					return err
				}
				got++
				testloop.Must(t, q.TaskDone())
			}
		})
	}
	churn(t, ctx, r, tasks, func(ctx context.Context, r *rand.Rand) error {
		if r.IntN(4) == 0 { // also getters come and go
			if _, err := loopnode.WaitFor(ctx, func(ctx context.Context) (int, error) {
				v, err := q.Get(ctx)
				if err == nil {
					got++
					testloop.Must(t, q.TaskDone())
				}
				return v, err
			}, 1); err != nil && !errors.Is(err, loopnode.ErrTimeout) {
				return err
			}
			return nil
		}
		err := q.Put(ctx, 1)
		if err == nil {
			put++
		}
		return err
	})
	testloop.Must(t, q.Join(ctx))
	q.Shutdown(false)
	for _, k := range consumers {
		_, err := k.Await(ctx)
		testloop.IsErr(t, err, ErrQueueShutdown)
	}
	if put != got || q.getters.list.Len()+q.putters.list.Len() != 0 {
		t.Errorf("put %d, got %d", put, got)
	}
}
