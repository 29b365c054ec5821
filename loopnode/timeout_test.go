package loopnode

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func cancellingNow(ctx context.Context) int { return taskOf(ctx).cancelling }

func TestTimeout(t *testing.T) {
	t.Run("AWT-12 expiry cancels the task once and comes out as a timeout", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			inside := 0
			err := Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
				err := Sleep(ctx, time.Hour)
				inside = cancellingNow(ctx)
				return err
			})
			isErr(t, err, ErrTimeout)
			isErr(t, err, context.DeadlineExceeded)
			if errors.Is(err, ErrCancelled) || inside != 1 || cancellingNow(ctx) != 0 || ctx.Err() != nil {
				t.Errorf("err %v, requests inside %d, after %d, ctx %v", err, inside, cancellingNow(ctx), ctx.Err())
			}
			return Sleep(ctx, 0)
		})
	})
	t.Run("the error says how long the limit was, and what the body says beside its cancellation", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			for want, wrap := range map[string]string{"timed out after 2ms": "%w", "timed out after 2ms: asking the printer: cancelled": "asking the printer: %w"} {
				err := Timeout(ctx, 2*time.Millisecond, func(ctx context.Context) error { return fmt.Errorf(wrap, Sleep(ctx, time.Hour)) })
				if !errors.Is(err, ErrTimeout) || err.Error() != want {
					t.Errorf("%v, want %s", err, want)
				}
			}
			return nil
		})
	})
	t.Run("AWT-12 a foreign cancellation stays one, before and after expiry", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			for _, late := range []bool{false, true} {
				var seen error
				k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
					d := time.Hour
					if late {
						d = time.Millisecond
					}
					seen = Timeout(ctx, d, func(ctx context.Context) error {
						err := Sleep(ctx, time.Hour)
						if late {
							taskOf(ctx).cancel() // another request next to the expiry
						}
						return err
					})
					return 0, seen
				})
				pass(t, ctx, 2)
				if !late {
					k.Cancel()
				}
				_, err := k.Await(ctx)
				isErr(t, err, ErrCancelled)
				if errors.Is(seen, ErrTimeout) || !k.Cancelled() {
					t.Errorf("late %v: came out as %v", late, seen)
				}
			}
			return nil
		})
	})
	t.Run("AWT-12 requests that were open on entry do not hide the expiry", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				isErr(t, Sleep(ctx, time.Hour), ErrCancelled)
				err := Timeout(ctx, time.Millisecond, func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
				isErr(t, err, ErrTimeout)
				return cancellingNow(ctx), nil
			})
			pass(t, ctx, 1)
			k.Cancel()
			left, err := k.Await(ctx)
			same(t, []int{left}, []int{1})
			return err
		})
	})
	t.Run("AWT-13 each expiry belongs to its own scope, also when the loop was busy", func(t *testing.T) {
		inVirtualTask(t, func(ctx context.Context, l *Loop, clock *jumpClock) error {
			var inner, outer *TimeoutScope
			var innerErr error
			err := Timeout(ctx, 2*time.Millisecond, func(ctx context.Context) error {
				outer = CurrentTimeout(ctx)
				innerErr = Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
					inner = CurrentTimeout(ctx)
					clock.spend(5 * time.Millisecond)
					return Sleep(ctx, time.Hour)
				})
				return innerErr
			})
			isErr(t, err, ErrTimeout)
			if !inner.Expired() || !outer.Expired() || inner == outer || cancellingNow(ctx) != 0 {
				t.Errorf("inner %v outer %v requests %d", inner.Expired(), outer.Expired(), cancellingNow(ctx))
			}
			err = Timeout(ctx, time.Hour, func(ctx context.Context) error {
				outer = CurrentTimeout(ctx)
				innerErr = Timeout(ctx, time.Millisecond, func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
				return Sleep(ctx, 0)
			})
			isErr(t, innerErr, ErrTimeout)
			if outer.Expired() {
				t.Error("the outer scope took the inner one's expiry")
			}
			return err
		})
	})
	t.Run("AWT-14 a deadline can be read, moved and taken away; outside of a task it is an error", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var s *TimeoutScope
			err := Timeout(ctx, time.Hour, func(ctx context.Context) error {
				s = CurrentTimeout(ctx)
				far := s.When()
				must(t, s.Reschedule(Never))
				if _, ok := ctx.Deadline(); ok || s.When() != Never {
					t.Error("the limit is still there")
				}
				past := l.Time().Add(-time.Second)
				must(t, s.Reschedule(past))
				if d, ok := ctx.Deadline(); s.When() != past || far <= past || s.Expired() || !ok || time.Until(d) > 0 {
					t.Error("the new deadline does not show")
				}
				return Sleep(ctx, 0) // the next turn
			})
			isErr(t, err, ErrTimeout)
			if !s.Expired() {
				t.Error("not expired")
			}
			isErr(t, s.Reschedule(Never), ErrInvalidState)
			must(t, TimeoutAt(ctx, Never, func(ctx context.Context) error {
				s = CurrentTimeout(ctx)
				return Sleep(ctx, time.Millisecond)
			}))
			isErr(t, s.Reschedule(0), ErrInvalidState)
			isErr(t, Timeout(l.Context(context.Background()), 1, func(context.Context) error { return nil }), ErrInvalidState)
			child := CreateTask(&s.ctx, "", func(ctx context.Context) (bool, error) { return CurrentTimeout(ctx) == nil, nil })
			if none, err := child.Await(ctx); !none || err != nil || CurrentTimeout(ctx) != nil {
				t.Error("a limit leaked into another task")
			}
			return nil
		})
	})
	t.Run("another error than the cancellation passes, and so does a panic", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			err := Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
				_ = Sleep(ctx, time.Hour)
				return errBoom
			})
			isErr(t, err, errBoom)
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				return 0, Timeout(ctx, time.Hour, func(ctx context.Context) error { panic(errBoom) })
			})
			_, err = k.Await(ctx)
			isErr(t, err, errBoom)
			must(t, Timeout(ctx, time.Hour, func(ctx context.Context) error { return Sleep(ctx, 0) }))
			if armed(l) {
				t.Error("a timer outlived its scope")
			}
			return nil
		})
	})
}

func TestWaitFor(t *testing.T) {
	t.Run("AWT-06 a timeout cancels the task and waits until it has ended", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			ended := false
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				err := Sleep(ctx, time.Hour)
				_ = Sleep(context.WithoutCancel(ctx), 0)
				_ = Sleep(ctx, 0)
				ended = true
				return 0, err
			})
			_, err := WaitForFuture(ctx, k, time.Millisecond)
			isErr(t, err, ErrTimeout)
			if !ended || !k.Cancelled() {
				t.Error("did not wait for the end of the task")
			}
			return nil
		})
	})
	t.Run("AWT-07 a result in the same turn wins; a value or another error instead of the cancellation comes back", func(t *testing.T) {
		inVirtualTask(t, func(ctx context.Context, l *Loop, clock *jumpClock) error {
			f := NewFuture[int](l)
			l.CallLater(time.Millisecond, func() { must(t, f.SetResult(3)) })
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return WaitForFuture(ctx, f, 2*time.Millisecond) })
			pass(t, ctx, 2)
			clock.spend(5 * time.Millisecond) // both timers are due in one turn
			v, err := k.Await(ctx)
			must(t, err)
			stubborn := CreateTask(ctx, "", func(ctx context.Context) (int, error) { _ = Sleep(ctx, time.Hour); return 4, nil })
			w, err := WaitForFuture(ctx, stubborn, time.Millisecond)
			must(t, err)
			same(t, []int{v, w}, []int{3, 4})
			failing := CreateTask(ctx, "", func(ctx context.Context) (int, error) { _ = Sleep(ctx, time.Hour); return 0, errBoom })
			_, err = WaitForFuture(ctx, failing, time.Millisecond)
			isErr(t, err, errBoom)
			return nil
		})
	})
	t.Run("AWT-08 no time left: a done future counts, a function does not start, a task is cancelled", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			must(t, f.SetResult(1))
			v, err := WaitForFuture(ctx, f, 0)
			must(t, err)
			_, err = WaitFor(ctx, func(context.Context) (int, error) { t.Error("started"); return 0, nil }, -1)
			isErr(t, err, ErrTimeout)
			k := asleep(ctx)
			pass(t, ctx, 1)
			_, err = WaitForFuture(ctx, k, 0)
			isErr(t, err, ErrTimeout)
			w, err := WaitFor(ctx, func(ctx context.Context) (int, error) { return 2, Sleep(ctx, time.Millisecond) }, Forever)
			same(t, []int{v, w}, []int{1, 2})
			if !k.Cancelled() {
				t.Error("the task was not cancelled")
			}
			return err
		})
	})
	t.Run("AWT-09 cancelling the wait cancels the task, and no cancellation is lost", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			inner := asleep(ctx)
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return WaitForFuture(ctx, inner, time.Hour) })
			pass(t, ctx, 2)
			k.Cancel()
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !inner.Cancelled() || !k.Cancelled() {
				t.Error("not cancelled")
			}
			f := NewFuture[int](l)
			k = CreateTask(ctx, "", func(ctx context.Context) (int, error) { return WaitForFuture(ctx, f, time.Hour) })
			pass(t, ctx, 2)
			must(t, f.SetResult(1))
			k.Cancel() // the result is there, the task has not run yet
			_, err = k.Await(ctx)
			isErr(t, err, ErrCancelled)
			return nil
		})
	})
	t.Run("TSK-04 waiting for a ready function costs no turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			turned := false
			l.CallSoon(func() { turned = true })
			v, err := WaitFor(ctx, func(context.Context) (int, error) { return 1, nil }, time.Hour)
			if v != 1 || turned {
				t.Errorf("got %d, a turn passed: %v", v, turned)
			}
			return err
		})
	})
}
