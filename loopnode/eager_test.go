package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"
)

func value[T any](v T) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return v, nil }
}

func TestTaskFactory(t *testing.T) {
	type key struct{}
	t.Run("TSK-23 the factory sees every task with its options and may change it; nil restores the default", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			if l.TaskFactory() != nil {
				t.Error("there is a factory at the beginning")
			}
			var seen []string
			var starts []TaskStart
			l.SetTaskFactory(func(of *Loop, spec *TaskSpec) error {
				if of != l || spec.Context == nil {
					t.Errorf("factory of %v got %v and ctx %v", l, of, spec.Context)
				}
				seen, starts = append(seen, spec.Name), append(starts, spec.Start)
				spec.Name = "made " + spec.Name
				spec.Context = context.WithValue(spec.Context, key{}, "from the factory")
				body := spec.Body
				spec.Body = func(ctx context.Context) error {
					seen = append(seen, "before")
					defer func() { seen = append(seen, "after") }()
					return body(ctx)
				}
				return nil
			})
			if l.TaskFactory() == nil {
				t.Error("the factory is not told")
			}
			read := func(ctx context.Context) (string, error) {
				v, _ := ctx.Value(key{}).(string)
				return v, nil
			}
			k := CreateTask(ctx, "a", read)
			if k.Name() != "made a" {
				t.Errorf("name %q", k.Name())
			}
			v, err := k.Await(ctx)
			if err != nil || v != "from the factory" {
				t.Errorf("got %q, %v", v, err)
			}
			same(t, seen, []string{"a", "before", "after"})

			seen = nil
			vs, err := Gather(ctx, EnsureFuture(ctx, Coroutine[string](read)), EnsureFuture(ctx, Coroutine[string](read)))
			if err != nil || len(vs) != 2 {
				t.Errorf("gathered %v, %v", vs, err)
			}
			same(t, seen, []string{"", "", "before", "after", "before", "after"})

			starts = nil
			CreateTask(ctx, "", read, EagerStart(true))
			CreateTask(ctx, "", read, EagerStart(false))
			CreateTask(ctx, "", read)
			same(t, starts, []TaskStart{StartEager, StartSoon, StartDefault})

			l.SetTaskFactory(nil)
			if l.TaskFactory() != nil || CreateTask(ctx, "plain", read).Name() != "plain" {
				t.Error("the default is not back")
			}
			return Sleep(ctx, 0)
		})
	})
	t.Run("a factory that fails, or panics, makes a task that is born failed", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			defer l.SetTaskFactory(nil)
			refused := errors.New("refused")
			never := func(context.Context) (int, error) { t.Error("it ran"); return 0, nil }
			for _, factory := range []TaskFactory{
				func(*Loop, *TaskSpec) error { return refused },
				func(*Loop, *TaskSpec) error { panic(refused) },
			} {
				l.SetTaskFactory(factory)
				k := CreateTask(ctx, "", never)
				_, err := k.Await(ctx)
				isErr(t, err, refused)
				if len(AllTasks(l)) != 1 {
					t.Error("the refused task is listed")
				}
			}
			return nil
		})
	})
	t.Run("a factory without context leaves the loop", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error { spec.Context = nil; return nil })
			defer l.SetTaskFactory(nil)
			v, err := CreateTask(ctx, "", value(7)).Await(ctx)
			if v != 7 {
				t.Errorf("got %v, %v", v, err)
			}
			return err
		})
	})
}

func TestEager(t *testing.T) {
	t.Run("TSK-24 a task that does not wait is done at once and was never queued", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", value(42), EagerStart(true))
			if v, err := k.Result(); v != 42 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
			if l.core.Ready.Len() != 0 || l.inbox.Pending() {
				t.Error("something was queued")
			}
			f := NewFuture[int](l)
			var trace []string
			waits := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				trace = append(trace, "starts")
				v, err := f.Await(ctx)
				trace = append(trace, "goes on")
				return v, err
			}, EagerStart(true))
			trace = append(trace, "created")
			must(t, f.SetResult(1))
			if v, err := waits.Await(ctx); v != 1 || err != nil {
				t.Errorf("got %v, %v", v, err)
			}
			same(t, trace, []string{"starts", "created", "goes on"})

			done := NewFuture[int](l)
			must(t, done.SetResult(3)) // awaiting what is done does not wait
			if !CreateTask(ctx, "", done.Await, EagerStart(true)).Done() {
				t.Error("awaiting a done future suspended the eager task")
			}
			boom := errors.New("boom")
			failed := CreateTask(ctx, "", func(context.Context) (int, error) { return 0, boom }, EagerStart(true))
			isErr(t, failed.Exception(), boom)
			return nil
		})
	})
	t.Run("TSK-24 recursive gathers and groups of eager tasks take no turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			l.SetTaskFactory(EagerTasks)
			defer l.SetTaskFactory(nil)
			turned := false
			l.CallSoon(func() { turned = true })
			tasks := 0
			var gathers, groups func(ctx context.Context, depth int) (int, error)
			gathers = func(ctx context.Context, depth int) (int, error) {
				tasks++
				if depth == 0 {
					return 1, nil
				}
				child := func(ctx context.Context) (int, error) { return gathers(ctx, depth-1) }
				vs, err := Gather(ctx, Awaitable[int](CreateTask(ctx, "", child)), CreateTask(ctx, "", child))
				if err != nil {
					return 0, err
				}
				return vs[0] + vs[1], nil
			}
			groups = func(ctx context.Context, depth int) (int, error) {
				tasks++
				if depth == 0 {
					return 1, nil
				}
				child := func(ctx context.Context) (int, error) { return groups(ctx, depth-1) }
				var a, b *Task[int]
				err := WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
					a, b = GroupTask(g, "", child), GroupTask(g, "", child)
					return nil
				})
				if err != nil {
					return 0, err
				}
				return a.value + b.value, nil
			}
			for _, recurse := range []func(context.Context, int) (int, error){gathers, groups} {
				tasks = 0
				v, err := recurse(ctx, 10)
				if err != nil || v != 1024 || tasks != 2047 {
					t.Errorf("%d leaves, %d tasks, %v", v, tasks, err)
				}
			}
			if turned {
				t.Error("a turn of the loop was needed")
			}
			return nil
		})
	})
	t.Run("TSK-25 in the eager step the new task is current, listed and named, and its ctx is its own", func(t *testing.T) {
		type key struct{}
		inTask(t, func(ctx context.Context, l *Loop) error {
			outer, _ := CurrentTask(ctx)
			var mine context.Context
			k := CreateTask(ctx, "eager", func(inner context.Context) (int, error) {
				me, ok := CurrentTask(inner)
				if !ok || me.Name() != "eager" {
					t.Errorf("current task %v, %v", me, ok)
				}
				if _, ok := CurrentTask(ctx); ok {
					t.Error("the creator counts as current too")
				}
				found := false
				for _, other := range AllTasks(l) {
					found = found || other == me
				}
				if !found {
					t.Error("the eager task is not listed")
				}
				mine = context.WithValue(inner, key{}, "inside")
				return 0, nil
			}, EagerStart(true))
			if now, ok := CurrentTask(ctx); !ok || now != outer {
				t.Errorf("after the eager step the current task is %v, %v", now, ok)
			}
			if !k.Done() || len(AllTasks(l)) != 1 {
				t.Error("the task that ended eagerly is listed")
			}
			if mine.Value(key{}) != "inside" || ctx.Value(key{}) != nil {
				t.Error("the task's context shows outside")
			}
			blocked := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, 0) }, EagerStart(true))
			if all := AllTasks(l); len(all) != 2 || all[1].Name() != blocked.Name() {
				t.Errorf("tasks: %v", all)
			}
			_, err := blocked.Await(ctx)
			return err
		})
	})
	t.Run("TSK-26 cancelling works after a step that blocked and does nothing after one that ended", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", value(1), EagerStart(true))
			if k.Cancel("late") || k.Cancelled() || k.Cancelling() != 0 {
				t.Error("cancelled after it was done")
			}
			blocked := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) }, EagerStart(true))
			if !blocked.Cancel("the message") {
				t.Error("cannot be cancelled")
			}
			_, err := blocked.Await(ctx)
			var c *CancelledError
			if !errors.As(err, &c) || c.Msg != "the message" || !blocked.Cancelled() {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("TSK-27 eager only on the running loop, and each call may say otherwise", func(t *testing.T) {
		l, _ := newLoop(t)
		l.SetTaskFactory(EagerTasks)
		ran := false
		early := CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { ran = true; return 0, nil })
		if ran || early.Done() {
			t.Error("ran before the loop did")
		}
		l.CallSoon(func() { // a callback may create eager tasks too
			ctx := l.Context(context.Background())
			if k := CreateTask(ctx, "", value(0)); !k.Done() {
				t.Error("not eager in a callback")
			}
			if k := CreateTask(ctx, "", value(0), EagerStart(false)); k.Done() {
				t.Error("eager although the call says no")
			}
			l.SetTaskFactory(nil)
			if k := CreateTask(ctx, "", value(0), EagerStart(true)); !k.Done() {
				t.Error("not eager although the call says so")
			}
		})
		runTurns(t, l, 3)
		if !early.Done() {
			t.Error("never ran")
		}
		other := runAside(t)
		k := make(chan bool, 1)
		inTask(t, func(ctx context.Context, _ *Loop) error { // on another loop it is posted
			CreateTask(other.Context(ctx), "", func(context.Context) (int, error) { k <- other.here(); return 0, nil }, EagerStart(true))
			return nil
		})
		if !<-k {
			t.Error("the eager task ran on its creator's loop")
		}
	})
	t.Run("a panic and a Goexit in the eager step stay with their task", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", func(context.Context) (int, error) { panic("eager") }, EagerStart(true))
			if err := k.Exception(); err == nil || err.Error() != "panic: eager" {
				t.Errorf("got %v", err)
			}
			k = CreateTask(ctx, "", func(context.Context) (int, error) { exitGoroutine(); return 0, nil }, EagerStart(true))
			isErr(t, k.Exception(), ErrGoexit)
			return Sleep(ctx, 0)
		})
	})
}
