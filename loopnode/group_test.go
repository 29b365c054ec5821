package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// groupErrors is what err, a *GroupError, holds.
func groupErrors(t testing.TB, err error) []error {
	t.Helper()
	var g *GroupError
	if !errors.As(err, &g) {
		t.Fatalf("got %v, want a *GroupError", err)
	}
	return g.Errs
}

func TestGroup(t *testing.T) {
	sleepy := func(ctx context.Context) error { return Sleep(ctx, time.Hour) }
	t.Run("AWT-15 the group waits for all, and children add siblings until it is over", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var got []string
			var kept *TaskGroup
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				kept = g
				g.Go("", func(ctx context.Context) error {
					pass(t, ctx, 3)
					g.Go("", func(ctx context.Context) error { pass(t, ctx, 3); got = append(got, "sibling"); return nil })
					got = append(got, "child")
					return nil
				})
				got = append(got, "body")
				return nil
			})
			same(t, got, []string{"body", "child", "sibling"})
			isErr(t, kept.Go("", sleepy).Exception(), ErrInvalidState)
			return err
		})
	})
	t.Run("a failure for which nobody waits any more is reported", func(t *testing.T) {
		l, log := newLoop(t)
		CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			return 0, WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				g.Go("child", func(ctx context.Context) error { _ = Sleep(ctx, time.Hour); return errBoom })
				if err := Sleep(ctx, 0); err != nil {
					return err
				}
				runtime.Goexit()
				return nil
			})
		})
		runTurns(t, l, 8)
		if !strings.Contains(log.String(), errBoom.Error()) {
			t.Errorf("the child's failure is lost: %s", log)
		}
	})
	t.Run("AWT-16 the first failure cancels siblings and body, all failures come together", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			second := errors.New("second")
			var body error
			var sibling *Task[struct{}]
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				sibling = g.Go("", sleepy)
				g.Go("", func(ctx context.Context) error { _ = Sleep(ctx, time.Hour); return second })
				g.Go("", func(ctx context.Context) error { pass(t, ctx, 2); return errBoom })
				body = Sleep(ctx, time.Hour)
				return body
			})
			same(t, groupErrors(t, err), []error{errBoom, second})
			isErr(t, body, ErrCancelled)
			if !sibling.Cancelled() || errors.Is(err, ErrCancelled) || cancellingNow(ctx) != 0 {
				t.Errorf("sibling cancelled %v, requests %d", sibling.Cancelled(), cancellingNow(ctx))
			}
			err = WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				sibling = g.Go("", sleepy)
				pass(t, ctx, 1)
				return errBoom
			})
			same(t, groupErrors(t, err), []error{errBoom})
			if !sibling.Cancelled() {
				t.Error("the body's failure did not cancel the child")
			}
			return Sleep(ctx, 0)
		})
	})
	t.Run("AWT-17 cancelling the parent cancels and awaits the children and keeps the account", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			cleaned := false
			parent := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				return 0, WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
					g.Go("", func(ctx context.Context) error {
						err := sleepy(ctx)
						_ = Sleep(ctx, 0)
						cleaned = true
						return err
					})
					return nil
				})
			})
			pass(t, ctx, 3)
			parent.Cancel()
			_, err := parent.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !cleaned || !parent.Cancelled() || parent.Cancelling() != 1 {
				t.Errorf("cleaned %v cancelled %v requests %d", cleaned, parent.Cancelled(), parent.Cancelling())
			}
			// A failing child beats the cancellation, which then hits the next wait.
			var next error
			parent = CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
					g.Go("", func(ctx context.Context) error { _ = sleepy(ctx); return errBoom })
					return nil
				})
				next = Sleep(ctx, 0)
				return 0, err
			})
			pass(t, ctx, 3)
			parent.Cancel()
			_, err = parent.Await(ctx)
			same(t, groupErrors(t, err), []error{errBoom})
			isErr(t, next, ErrCancelled)
			if parent.Cancelling() != 1 {
				t.Errorf("%d requests", parent.Cancelling())
			}
			return nil
		})
	})
	t.Run("AWT-18 a fatal error comes back bare", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			fatal := Fatal(errBoom)
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				g.Go("", func(ctx context.Context) error { _ = sleepy(ctx); return errors.New("other") })
				pass(t, ctx, 1)
				return fatal
			})
			if err != fatal {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("AWT-18 a fatal error of a child ends the run, and the group gives it bare", func(t *testing.T) {
		l, _ := newLoop(t)
		fatal := Fatal(errBoom)
		var got error
		parent := CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			got = WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				g.Go("", func(context.Context) error { return fatal })
				g.Go("", sleepy)
				return nil
			})
			return 0, nil
		})
		if _, err := RunUntilComplete(l, parent); err != fatal {
			t.Fatalf("the run ended with %v", err)
		}
		_, err := RunUntilComplete(l, parent)
		must(t, err)
		if got != fatal {
			t.Errorf("the group returned %v", got)
		}
	})
	t.Run("AWT-19 no task starts in a group that was not entered, is over or is aborting", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			ran := false
			run := func(context.Context) error { ran = true; return nil }
			isErr(t, (&TaskGroup{}).Go("", run).Exception(), ErrInvalidState)
			var kept *TaskGroup
			var aborting error
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				kept = g
				g.Go("", func(ctx context.Context) error { return errBoom })
				_ = sleepy(ctx)
				aborting = g.Go("", run).Exception()
				return nil
			})
			isErr(t, err, errBoom)
			isErr(t, aborting, ErrInvalidState)
			isErr(t, kept.Go("", run).Exception(), ErrInvalidState)
			pass(t, ctx, 2)
			if ran {
				t.Error("a refused function ran")
			}
			isErr(t, WithTaskGroup(l.Context(context.Background()), func(context.Context, *TaskGroup) error { return nil }), ErrInvalidState)
			return nil
		})
	})
	t.Run("a panic of the body is its failure", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var child *Task[struct{}]
			err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				child = g.Go("", sleepy)
				panic(errBoom)
			})
			isErr(t, err, errBoom)
			if !child.Cancelled() {
				t.Error("the child runs on")
			}
			return nil
		})
	})
}
