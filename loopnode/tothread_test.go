package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWorkers(t *testing.T) {
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	t.Run("EXE-09 a job gets nothing behind its back; ToThread hands the values over", func(t *testing.T) {
		l, _ := newLoop(t)
		ctx := context.WithValue(l.Context(context.Background()), valueKey{}, "mine")
		_, err := RunUntilComplete(l, CreateTask(ctx, "", func(ctx context.Context) (int, error) {
			if _, err := RunInExecutor(ctx, nil, func() (int, error) {
				if onLoop() || l.here() {
					t.Error("a job runs on the loop")
				}
				return 0, nil // it has no ctx: there are no values to see
			}).Await(ctx); err != nil {
				return 0, err
			}
			v, err := ToThread(ctx, func(away context.Context) (any, error) {
				if on, err := Running(away); !errors.Is(err, ErrNoRunningLoop) {
					t.Error("a worker sees the loop", on)
				}
				if _, on := CurrentTask(away); on || taskOf(away) != nil {
					t.Error("a worker sees the task")
				}
				return away.Value(valueKey{}), nil
			})
			if v != "mine" {
				t.Error("ToThread's function sees", v)
			}
			if _, err := ToThread[int](ctx, nil); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			return 0, err
		}))
		must(t, err)
	})
	t.Run("ToThread's ctx ends with the task", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			began, ended := make(chan struct{}), make(chan struct{})
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				return ToThread(ctx, func(away context.Context) (int, error) {
					close(began)
					<-away.Done()
					close(ended)
					return 0, away.Err()
				})
			})
			_ = Sleep(ctx, 0)
			_ = Sleep(ctx, 0)
			comes(t, began)
			k.Cancel()
			_, err := k.Await(ctx)
			if !errors.Is(err, ErrCancelled) {
				t.Error(err)
			}
			comes(t, ended)
			return nil
		})
	})
	t.Run("EXE-03 nil is no executor and the old default stays", func(t *testing.T) {
		l, _ := newLoop(t)
		mine := NewPool(1)
		must(t, l.SetDefaultExecutor(mine))
		if err := l.SetDefaultExecutor(nil); !errors.Is(err, ErrInvalidArgument) || l.pools.def != Executor(mine) {
			t.Fatal(err)
		}
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			return RunInExecutor(ctx, nil, func() (int, error) { return 1, nil }).Await(ctx)
		}))
		must(t, err)
		must(t, mine.Shutdown(limit))
	})
}
