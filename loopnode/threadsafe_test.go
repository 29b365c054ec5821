package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

// onGoroutine runs l on a goroutine of its own until the test ends.
func onGoroutine(t *testing.T, l *Loop) {
	t.Helper()
	over := make(chan error, 1)
	go func() { over <- l.RunForever() }()
	t.Cleanup(func() {
		_ = l.Ref().Stop()
		if err := comes(t, over); err != nil && !errors.Is(err, ErrLoopClosed) {
			t.Error(err)
		}
	})
}

func TestThreadsafeTasks(t *testing.T) {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t.Run("EXE-13 result, error and cancellation travel both ways", func(t *testing.T) {
		l, _ := newLoop(t)
		onGoroutine(t, l)
		boom := errors.New("boom")
		v, err := RunCoroutineThreadsafe(l.Ref(), "ok", func(ctx context.Context) (int, error) {
			on, err := Running(ctx)
			if on != l {
				t.Error("it ran elsewhere")
			}
			_ = Sleep(ctx, time.Millisecond)
			return 7, err
		}).Result(limit)
		if v != 7 || err != nil {
			t.Fatal(v, err)
		}
		if _, err := RunCoroutineThreadsafe(l.Ref(), "", func(context.Context) (int, error) { return 0, boom }).Result(limit); err != boom {
			t.Fatal(err)
		}
		began, seen := make(chan struct{}), make(chan error, 1)
		s := RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (int, error) {
			close(began)
			err := Sleep(ctx, time.Hour)
			seen <- err
			return 0, err
		})
		comes(t, began)
		short, stop := context.WithTimeout(limit, time.Millisecond)
		if _, err := s.Result(short); !errors.Is(err, ErrTimeout) {
			t.Fatal("gave up waiting:", err)
		}
		stop()
		if !s.Cancel("enough") {
			t.Fatal("Cancel refused")
		}
		if err := comes(t, seen); !errors.Is(err, ErrCancelled) {
			t.Fatal("the task saw", err)
		}
		if _, err := s.Result(limit); !errors.Is(err, ErrCancelled) || s.Cancel() {
			t.Fatal(err)
		}
		self := RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (int, error) {
			me, _ := CurrentTask(ctx)
			me.Cancel()
			return 0, Sleep(ctx, time.Hour)
		})
		comes(t, self.Done())
		if _, err := self.Result(limit); !errors.Is(err, ErrCancelled) {
			t.Fatal(err)
		}
	})
	t.Run("EXE-13 what cannot become a task is the outcome", func(t *testing.T) {
		l, _ := newLoop(t)
		ok := func(context.Context) (int, error) { return 0, nil }
		if _, err := RunCoroutineThreadsafe[int](l.Ref(), "", nil).Result(limit); !errors.Is(err, ErrInvalidArgument) {
			t.Fatal(err)
		}
		if _, err := RunCoroutineThreadsafe(RemoteRef(actors.Address{Node: "b", Path: "l"}), "", ok).Result(limit); !errors.Is(err, ErrNotLocal) {
			t.Fatal(err)
		}
		pending := RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
		runTurns(t, l, 2)
		must(t, l.Close())
		for _, s := range []*SafeTask[int]{pending, RunCoroutineThreadsafe(l.Ref(), "", ok)} {
			if _, err := s.Result(limit); !errors.Is(err, ErrLoopClosed) || s.Cancel() {
				t.Fatal(err)
			}
		}
	})
	t.Run("EXE-13 waiting on the loop itself is refused, an outcome is not", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			s := RunCoroutineThreadsafe(l.Ref(), "", func(context.Context) (int, error) { return 3, nil })
			if _, err := s.Result(ctx); !errors.Is(err, ErrWouldBlock) {
				t.Error(err)
			}
			for range 5 {
				_ = Sleep(ctx, 0)
			}
			v, err := s.Result(ctx)
			if v != 3 {
				t.Error(v)
			}
			return err
		})
	})
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
