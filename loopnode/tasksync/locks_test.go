package tasksync

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// chore is a task without a result.
func chore(ctx context.Context, fn func(ctx context.Context) error) *loopnode.Task[struct{}] {
	return loopnode.CreateTask(ctx, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

func ended(t testing.TB, ctx context.Context, ks ...*loopnode.Task[struct{}]) {
	t.Helper()
	for _, k := range ks {
		_, err := k.Await(ctx)
		testloop.Must(t, err)
	}
}

func TestLock(t *testing.T) {
	t.Run("the lock goes to those who wait, in order, also past a newcomer", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			var lock Lock
			var got []string
			enter := func(name string) *loopnode.Task[struct{}] {
				return chore(ctx, func(ctx context.Context) error {
					testloop.Must(t, lock.Acquire(ctx))
					got = append(got, name)
					return lock.Release()
				})
			}
			testloop.Must(t, lock.Acquire(ctx))
			a, b := enter("a"), enter("b")
			testloop.Pass(t, ctx, 1)
			testloop.Must(t, lock.Release())
			testloop.Must(t, lock.Acquire(ctx)) // open, but others wait
			got = append(got, "me")
			testloop.Must(t, lock.Release())
			ended(t, ctx, a, b)
			testloop.Same(t, got, []string{"a", "b", "me"})
			testloop.IsErr(t, lock.Release(), loopnode.ErrInvalidState)
			return nil
		})
	})
	t.Run("a task cancelled when its turn has come hands it on", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			var lock Lock
			testloop.Must(t, lock.Acquire(ctx))
			a := chore(ctx, lock.Acquire)
			b := chore(ctx, lock.Acquire)
			testloop.Pass(t, ctx, 1)
			testloop.Must(t, lock.Release())
			a.Cancel()
			ended(t, ctx, b)
			if !a.Cancelled() || !lock.Locked() {
				t.Errorf("a %v, locked %v", a, lock.Locked())
			}
			return nil
		})
	})
	t.Run("outside of a task, on another loop and after a time limit it is an error", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			var lock Lock
			testloop.IsErr(t, lock.Acquire(l.Context(context.Background())), loopnode.ErrInvalidState)
			testloop.Must(t, lock.Acquire(ctx))
			testloop.IsErr(t, loopnode.Timeout(ctx, time.Millisecond, lock.Acquire), loopnode.ErrTimeout)
			limit, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			testloop.IsErr(t, lock.Acquire(limit), loopnode.ErrTimeout)
			if lock.queue.list.Len() != 0 {
				t.Error("somebody is left in the queue")
			}
			return nil
		})
	})
}

func TestEvent(t *testing.T) {
	testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		var e Event
		a, b := chore(ctx, e.Wait), chore(ctx, e.Wait)
		testloop.Pass(t, ctx, 2)
		if a.Done() || e.IsSet() {
			t.Error("did not wait")
		}
		e.Set()
		e.Clear() // those who waited go on all the same
		ended(t, ctx, a, b)
		c := chore(ctx, e.Wait)
		testloop.Pass(t, ctx, 2)
		c.Cancel()
		e.Set()
		_, err := c.Await(ctx)
		testloop.IsErr(t, err, loopnode.ErrCancelled)
		return e.Wait(ctx)
	})
}

func TestSemaphore(t *testing.T) {
	t.Run("it lets its number through, in order", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			s, err := NewSemaphore(2)
			testloop.Must(t, err)
			inside, most := 0, 0
			var order []int
			var ks []*loopnode.Task[struct{}]
			for i := range 6 {
				ks = append(ks, chore(ctx, func(ctx context.Context) error {
					testloop.Must(t, s.Acquire(ctx))
					order = append(order, i)
					inside++
					most = max(most, inside)
					testloop.Pass(t, ctx, 1)
					inside--
					return s.Release()
				}))
			}
			ended(t, ctx, ks...)
			testloop.Same(t, order, []int{0, 1, 2, 3, 4, 5})
			testloop.Same(t, []int{most, s.value}, []int{2, 2})
			return nil
		})
	})
	t.Run("a permit promised to a cancelled task goes to the next", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			s, err := NewSemaphore(1)
			testloop.Must(t, err)
			testloop.Must(t, s.Acquire(ctx))
			a, b := chore(ctx, s.Acquire), chore(ctx, s.Acquire)
			testloop.Pass(t, ctx, 1)
			testloop.Must(t, s.Release())
			a.Cancel()
			ended(t, ctx, b)
			if !a.Cancelled() || !s.Locked() {
				t.Error("the permit is lost")
			}
			return s.Release()
		})
	})
	t.Run("a bounded one refuses a release too many, a negative number is refused", func(t *testing.T) {
		s, err := NewBoundedSemaphore(1)
		testloop.Must(t, err)
		testloop.IsErr(t, s.Release(), ErrTooManyReleases)
		_, err = NewBoundedSemaphore(-1)
		testloop.IsErr(t, err, loopnode.ErrInvalidArgument)
	})
}

func TestCondition(t *testing.T) {
	t.Run("notify wakes as many as told, and they get the lock in turn", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			c := NewCondition(nil)
			woken := 0
			wait := func(ctx context.Context) error {
				testloop.Must(t, c.Acquire(ctx))
				err := c.Wait(ctx)
				woken++
				return errors.Join(err, c.Release())
			}
			ks := []*loopnode.Task[struct{}]{chore(ctx, wait), chore(ctx, wait), chore(ctx, wait)}
			testloop.Pass(t, ctx, 2)
			testloop.IsErr(t, c.Notify(1), loopnode.ErrInvalidState)
			testloop.IsErr(t, c.Wait(ctx), loopnode.ErrInvalidState)
			testloop.Must(t, c.Acquire(ctx))
			testloop.Must(t, c.Notify(2))
			testloop.Must(t, c.Release())
			testloop.Pass(t, ctx, 6)
			testloop.Same(t, []int{woken}, []int{2})
			testloop.Must(t, c.Acquire(ctx))
			testloop.Must(t, c.NotifyAll())
			testloop.Must(t, c.Release())
			ended(t, ctx, ks...)
			return nil
		})
	})
	t.Run("a cancelled wait holds the lock again and passes its notification on", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			c := NewCondition(nil)
			held := false
			a := chore(ctx, func(ctx context.Context) error {
				testloop.Must(t, c.Acquire(ctx))
				err := c.Wait(ctx)
				held = c.Locked()
				return errors.Join(err, c.Release())
			})
			b := chore(ctx, func(ctx context.Context) error {
				testloop.Must(t, c.Acquire(ctx))
				return errors.Join(c.Wait(ctx), c.Release())
			})
			testloop.Pass(t, ctx, 2)
			testloop.Must(t, c.Acquire(ctx))
			testloop.Must(t, c.Notify(1)) // a
			a.Cancel()
			testloop.Must(t, c.Release())
			ended(t, ctx, b)
			if !a.Cancelled() || !held || c.Locked() {
				t.Errorf("a %v held %v locked %v", a, held, c.Locked())
			}
			return nil
		})
	})
}

func TestBarrier(t *testing.T) {
	t.Run("nobody passes before all have come, each gets a number, and again", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			b, err := NewBarrier(3)
			testloop.Must(t, err)
			for range 2 {
				var ks []loopnode.Awaitable[int]
				for range 2 {
					ks = append(ks, loopnode.CreateTask(ctx, "", b.Wait))
				}
				testloop.Pass(t, ctx, 3)
				if ks[0].Done() || b.Waiting() != 2 {
					t.Errorf("waiting %d", b.Waiting())
				}
				last, err := b.Wait(ctx)
				testloop.Must(t, err)
				got, err := loopnode.Gather(ctx, ks...)
				testloop.Must(t, err)
				testloop.Same(t, append(got, last), []int{0, 1, 2})
			}
			return nil
		})
	})
	t.Run("abort and reset break the wait; a cancelled task leaves", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			b, err := NewBarrier(2)
			testloop.Must(t, err)
			for _, stop := range []func(context.Context) error{b.Reset, b.Abort} {
				k := loopnode.CreateTask(ctx, "", b.Wait)
				testloop.Pass(t, ctx, 2)
				testloop.Must(t, stop(ctx))
				_, err := k.Await(ctx)
				testloop.IsErr(t, err, ErrBrokenBarrier)
			}
			_, err = b.Wait(ctx)
			testloop.IsErr(t, err, ErrBrokenBarrier)
			if !b.Broken() {
				t.Error("not broken")
			}
			testloop.Must(t, b.Reset(ctx))
			k := loopnode.CreateTask(ctx, "", b.Wait)
			testloop.Pass(t, ctx, 2)
			k.Cancel()
			_, err = k.Await(ctx)
			testloop.IsErr(t, err, loopnode.ErrCancelled)
			if b.Waiting() != 0 {
				t.Errorf("waiting %d", b.Waiting())
			}
			return nil
		})
	})
}
