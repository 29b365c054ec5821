package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"
)

// chore is a task without a result.
func chore(ctx context.Context, fn func(ctx context.Context) error) *Task[struct{}] {
	return CreateTask(ctx, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

func ended(t testing.TB, ctx context.Context, ks ...*Task[struct{}]) {
	t.Helper()
	for _, k := range ks {
		_, err := k.Await(ctx)
		must(t, err)
	}
}

func TestLock(t *testing.T) {
	t.Run("the lock goes to those who wait, in order, also past a newcomer", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var lock Lock
			var got []string
			enter := func(name string) *Task[struct{}] {
				return chore(ctx, func(ctx context.Context) error {
					must(t, lock.Acquire(ctx))
					got = append(got, name)
					return lock.Release()
				})
			}
			must(t, lock.Acquire(ctx))
			a, b := enter("a"), enter("b")
			pass(t, ctx, 1)
			must(t, lock.Release())
			must(t, lock.Acquire(ctx)) // open, but others wait
			got = append(got, "me")
			must(t, lock.Release())
			ended(t, ctx, a, b)
			same(t, got, []string{"a", "b", "me"})
			isErr(t, lock.Release(), ErrInvalidState)
			return nil
		})
	})
	t.Run("a task cancelled when its turn has come hands it on", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var lock Lock
			must(t, lock.Acquire(ctx))
			a := chore(ctx, lock.Acquire)
			b := chore(ctx, lock.Acquire)
			pass(t, ctx, 1)
			must(t, lock.Release())
			a.Cancel()
			ended(t, ctx, b)
			if !a.Cancelled() || !lock.Locked() {
				t.Errorf("a %v, locked %v", a, lock.Locked())
			}
			return nil
		})
	})
	t.Run("outside of a task, on another loop and after a time limit it is an error", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var lock Lock
			isErr(t, lock.Acquire(l.Context(context.Background())), ErrInvalidState)
			must(t, lock.Acquire(ctx))
			isErr(t, Timeout(ctx, time.Millisecond, lock.Acquire), ErrTimeout)
			limit, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			isErr(t, lock.Acquire(limit), ErrTimeout)
			if lock.queue.list.Len() != 0 {
				t.Error("somebody is left in the queue")
			}
			return nil
		})
	})
}

func TestEvent(t *testing.T) {
	inTask(t, func(ctx context.Context, l *Loop) error {
		var e Event
		a, b := chore(ctx, e.Wait), chore(ctx, e.Wait)
		pass(t, ctx, 2)
		if a.Done() || e.IsSet() {
			t.Error("did not wait")
		}
		e.Set()
		e.Clear() // those who waited go on all the same
		ended(t, ctx, a, b)
		c := chore(ctx, e.Wait)
		pass(t, ctx, 2)
		c.Cancel()
		e.Set()
		_, err := c.Await(ctx)
		isErr(t, err, ErrCancelled)
		return e.Wait(ctx)
	})
}

func TestSemaphore(t *testing.T) {
	t.Run("it lets its number through, in order", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			s, err := NewSemaphore(2)
			must(t, err)
			inside, most := 0, 0
			var order []int
			var ks []*Task[struct{}]
			for i := range 6 {
				ks = append(ks, chore(ctx, func(ctx context.Context) error {
					must(t, s.Acquire(ctx))
					order = append(order, i)
					inside++
					most = max(most, inside)
					pass(t, ctx, 1)
					inside--
					return s.Release()
				}))
			}
			ended(t, ctx, ks...)
			same(t, order, []int{0, 1, 2, 3, 4, 5})
			same(t, []int{most, s.value}, []int{2, 2})
			return nil
		})
	})
	t.Run("a permit promised to a cancelled task goes to the next", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			s, err := NewSemaphore(1)
			must(t, err)
			must(t, s.Acquire(ctx))
			a, b := chore(ctx, s.Acquire), chore(ctx, s.Acquire)
			pass(t, ctx, 1)
			must(t, s.Release())
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
		must(t, err)
		isErr(t, s.Release(), ErrTooManyReleases)
		_, err = NewBoundedSemaphore(-1)
		isErr(t, err, ErrInvalidArgument)
	})
}

func TestCondition(t *testing.T) {
	t.Run("notify wakes as many as told, and they get the lock in turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			c := NewCondition(nil)
			woken := 0
			wait := func(ctx context.Context) error {
				must(t, c.Acquire(ctx))
				err := c.Wait(ctx)
				woken++
				return errors.Join(err, c.Release())
			}
			ks := []*Task[struct{}]{chore(ctx, wait), chore(ctx, wait), chore(ctx, wait)}
			pass(t, ctx, 2)
			isErr(t, c.Notify(1), ErrInvalidState)
			isErr(t, c.Wait(ctx), ErrInvalidState)
			must(t, c.Acquire(ctx))
			must(t, c.Notify(2))
			must(t, c.Release())
			pass(t, ctx, 6)
			same(t, []int{woken}, []int{2})
			must(t, c.Acquire(ctx))
			must(t, c.NotifyAll())
			must(t, c.Release())
			ended(t, ctx, ks...)
			return nil
		})
	})
	t.Run("a cancelled wait holds the lock again and passes its notification on", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			c := NewCondition(nil)
			held := false
			a := chore(ctx, func(ctx context.Context) error {
				must(t, c.Acquire(ctx))
				err := c.Wait(ctx)
				held = c.Locked()
				return errors.Join(err, c.Release())
			})
			b := chore(ctx, func(ctx context.Context) error {
				must(t, c.Acquire(ctx))
				return errors.Join(c.Wait(ctx), c.Release())
			})
			pass(t, ctx, 2)
			must(t, c.Acquire(ctx))
			must(t, c.Notify(1)) // a
			a.Cancel()
			must(t, c.Release())
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
		inTask(t, func(ctx context.Context, l *Loop) error {
			b, err := NewBarrier(3)
			must(t, err)
			for range 2 {
				var ks []Awaitable[int]
				for range 2 {
					ks = append(ks, CreateTask(ctx, "", b.Wait))
				}
				pass(t, ctx, 3)
				if ks[0].Done() || b.Waiting() != 2 {
					t.Errorf("waiting %d", b.Waiting())
				}
				last, err := b.Wait(ctx)
				must(t, err)
				got, err := Gather(ctx, ks...)
				must(t, err)
				same(t, append(got, last), []int{0, 1, 2})
			}
			return nil
		})
	})
	t.Run("abort and reset break the wait; a cancelled task leaves", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			b, err := NewBarrier(2)
			must(t, err)
			for _, stop := range []func(context.Context) error{b.Reset, b.Abort} {
				k := CreateTask(ctx, "", b.Wait)
				pass(t, ctx, 2)
				must(t, stop(ctx))
				_, err := k.Await(ctx)
				isErr(t, err, ErrBrokenBarrier)
			}
			_, err = b.Wait(ctx)
			isErr(t, err, ErrBrokenBarrier)
			if !b.Broken() {
				t.Error("not broken")
			}
			must(t, b.Reset(ctx))
			k := CreateTask(ctx, "", b.Wait)
			pass(t, ctx, 2)
			k.Cancel()
			_, err = k.Await(ctx)
			isErr(t, err, ErrCancelled)
			if b.Waiting() != 0 {
				t.Errorf("waiting %d", b.Waiting())
			}
			return nil
		})
	})
}
