package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFutures(t *testing.T) {
	t.Run("FUT-01 FUT-02 states go one way", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		if _, err := f.Result(); !errors.Is(err, ErrInvalidState) || f.Done() {
			t.Fatal(err)
		}
		must(t, f.SetResult(3))
		if v, err := f.Result(); v != 3 || err != nil || f.Exception() != nil {
			t.Fatal(v, err)
		}
		if err := f.SetResult(4); !errors.Is(err, ErrInvalidState) {
			t.Fatal(err)
		}
		if err := f.SetException(errors.New("x")); !errors.Is(err, ErrInvalidState) {
			t.Fatal(err)
		}
		if v, _ := f.Result(); v != 3 {
			t.Fatal("the state changed")
		}
	})
	t.Run("FUT-03 cancel changes the state once and carries the message", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		if !f.Cancel("enough") || f.Cancel() || !f.Cancelled() {
			t.Fatal("cancel")
		}
		var ce *CancelledError
		if _, err := f.Result(); !errors.As(err, &ce) || ce.Msg != "enough" || !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	t.Run("FUT-04 FUT-05 done callbacks are queued in order", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		f := NewFuture[int](l)
		log := func(s string) func(*Future[int]) { return func(*Future[int]) { got = append(got, s) } }
		f.AddDoneCallback(func(g *Future[int]) {
			got = append(got, "1")
			g.AddDoneCallback(log("late"))
		})
		f.AddDoneCallback(log("2"))
		f.AddDoneCallback(log("3"))
		must(t, f.SetResult(1))
		got = append(got, "sync")
		l.CallSoon(func() { got = append(got, "cs") })
		runTurns(t, l, 1)
		same(t, got, []string{"sync", "1", "2", "3", "cs"})
		runTurns(t, l, 1)
		same(t, got, []string{"sync", "1", "2", "3", "cs", "late"})
	})
	t.Run("FUT-06 FUT-07 FUT-08 callbacks are removed by their id, until the future is done", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		n := 0
		count := func(*Future[int]) { n++ }
		a, b, c := f.AddDoneCallback(count), f.AddDoneCallback(count), f.AddDoneCallback(count)
		if f.RemoveDoneCallback(b) != 1 || f.RemoveDoneCallback(b) != 0 {
			t.Fatal("remove")
		}
		must(t, f.SetResult(1))
		if f.RemoveDoneCallback(a) != 0 || f.RemoveDoneCallback(c) != 0 {
			t.Fatal("a queued callback was recalled")
		}
		runTurns(t, l, 1)
		if n != 2 {
			t.Fatal(n)
		}
	})
	t.Run("FUT-10 a nil exception is refused", func(t *testing.T) {
		l, _ := newLoop(t)
		if err := NewFuture[int](l).SetException(nil); !errors.Is(err, ErrInvalidArgument) {
			t.Fatal(err)
		}
	})
	t.Run("FUT-12 a failure nobody looks at is reported", func(t *testing.T) {
		l, log := newLoop(t)
		must(t, NewFuture[int](l).SetException(errors.New("lonely")))
		spinUntil(func() bool {
			runtime.GC()
			runTurns(t, l, 1)
			return strings.Contains(log.String(), "never retrieved")
		})
		if s := log.String(); !strings.Contains(s, "never retrieved") || !strings.Contains(s, "lonely") {
			t.Fatal(s)
		}
	})
	t.Run("FUT-12 also when the loop closes first, and once", func(t *testing.T) {
		l, log := newLoop(t)
		f := NewFuture[int](l)
		must(t, f.SetException(errors.New("lonely")))
		must(t, l.Close())
		if n := strings.Count(log.String(), "never retrieved"); n != 1 {
			t.Fatal(n, log)
		}
		runtime.KeepAlive(f)
	})
	t.Run("FUT-13 a failure that was looked at is not reported", func(t *testing.T) {
		l, log := newLoop(t)
		for _, look := range []func(*Future[int]){
			func(f *Future[int]) { _, _ = f.Result() }, func(f *Future[int]) { _ = f.Exception() }, func(f *Future[int]) { f.Cancel() },
		} {
			f := NewFuture[int](l)
			must(t, f.SetException(errors.New("seen")))
			look(f)
		}
		NewFuture[int](l)
		must(t, NewFuture[int](l).SetResult(1))
		must(t, l.Close())
		if log.String() != "" {
			t.Fatal(log)
		}
	})
	t.Run("FUT-14 awaiting a done future costs no turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			turned := false
			l.CallSoon(func() { turned = true })
			f := NewFuture[int](l)
			must(t, f.SetResult(1))
			_, err := f.Await(ctx)
			if turned {
				t.Error("the loop ran in between")
			}
			return err
		})
	})
	t.Run("FUT-15 a future knows its loop", func(t *testing.T) {
		l, _ := newLoop(t)
		if NewFuture[int](l).Loop() != l {
			t.Fatal("wrong loop")
		}
	})
}

func TestTasks(t *testing.T) {
	bg := context.Background()
	t.Run("TSK-01 tasks start in call order, between callbacks", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		start := func(name string) {
			CreateTask(l.Context(bg), name, func(context.Context) (int, error) { got = append(got, name); return 0, nil })
		}
		start("t1")
		l.CallSoon(func() { got = append(got, "cs") })
		start("t2")
		if len(got) != 0 {
			t.Fatal("started inside CreateTask")
		}
		runTurns(t, l, 1)
		same(t, got, []string{"t1", "cs", "t2"})
	})
	t.Run("TSK-03 a wake-up takes exactly one turn a hop", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		turn, at := 0, map[string]int{}
		child := CreateTask(l.Context(bg), "child", func(ctx context.Context) (int, error) {
			v, err := f.Await(ctx)
			at["child"] = turn
			return v, err
		})
		parent := CreateTask(l.Context(bg), "parent", func(ctx context.Context) (int, error) {
			v, err := child.Await(ctx)
			at["parent"] = turn
			return v, err
		})
		child.AddDoneCallback(func(*Future[int]) { at["callback"] = turn })
		CreateTask(l.Context(bg), "grandparent", func(ctx context.Context) (int, error) {
			v, err := parent.Await(ctx)
			at["grandparent"] = turn
			return v, err
		})
		runTurns(t, l, 2)
		must(t, f.SetResult(1))
		for turn = 1; turn < 5; turn++ {
			runTurns(t, l, 1)
		}
		if at["child"] != 1 || at["callback"] != 2 || at["parent"] != 2 || at["grandparent"] != 3 {
			t.Fatal(at)
		}
	})
	t.Run("TSK-05 names are given or numbered, and can be changed", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "", func(context.Context) (int, error) { return 0, nil })
		if !strings.HasPrefix(k.Name(), "Task-") {
			t.Fatal(k.Name())
		}
		if k.SetName("x"); k.Name() != "x" {
			t.Fatal(k.Name())
		}
	})
	t.Run("TSK-06 a task refuses a result from outside", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "", func(context.Context) (int, error) { return 1, nil })
		if !errors.Is(k.SetResult(2), ErrInvalidState) || !errors.Is(k.SetException(errors.New("x")), ErrInvalidState) {
			t.Fatal("accepted")
		}
		if v, err := RunUntilComplete(l, k); v != 1 || err != nil {
			t.Fatal(v, err)
		}
	})
	t.Run("TSK-07 TSK-08 cancelling a waiting task cancels what it waits for", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		inner := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return f.Await(ctx) })
		outer := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return inner.Await(ctx) })
		runTurns(t, l, 2)
		if !outer.Cancel("stop") || outer.Cancelled() {
			t.Fatal("cancel is a request")
		}
		_, err := RunUntilComplete(l, outer)
		var ce *CancelledError
		if !errors.As(err, &ce) || ce.Msg != "stop" || !f.Cancelled() || !inner.Cancelled() || !outer.Cancelled() || outer.Cancel() {
			t.Fatal(err, f.Cancelled(), inner.Cancelled(), outer.Cancelled())
		}
	})
	t.Run("TSK-09 a task cancelled before its first step runs nothing", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
		k.Cancel()
		if _, err := RunUntilComplete(l, k); !errors.Is(err, ErrCancelled) {
			t.Fatal(err)
		}
	})
	t.Run("TSK-10 a task may refuse its cancellation", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			if err := Sleep(ctx, time.Hour); !errors.Is(err, ErrCancelled) {
				t.Errorf("sleep: %v", err)
			}
			return 9, Sleep(ctx, 0)
		})
		runTurns(t, l, 1)
		k.Cancel()
		if v, err := RunUntilComplete(l, k); v != 9 || err != nil || k.Cancelled() {
			t.Fatal(v, err)
		}
	})
	t.Run("TSK-11 a task that cancels itself ends at the next real wait, or cancelled", func(t *testing.T) {
		l, _ := newLoop(t)
		var k *Task[int]
		k = CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			k.Cancel()
			f := NewFuture[int](l)
			must(t, f.SetResult(1))
			if _, err := f.Await(ctx); err != nil {
				t.Errorf("awaiting a done future: %v", err)
			}
			return 5, nil
		})
		if _, err := RunUntilComplete(l, k); !errors.Is(err, ErrCancelled) || !k.Cancelled() {
			t.Fatal(err)
		}
	})
	t.Run("TSK-13 requests are counted and can be withdrawn", func(t *testing.T) {
		l, _ := newLoop(t)
		var k *Task[int]
		k = CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			k.Cancel()
			k.Cancel()
			if k.Cancelling() != 2 || ctx.Err() == nil || k.Uncancel() != 1 || k.Uncancel() != 0 || k.Uncancel() != 0 {
				t.Error("count is off")
			}
			if ctx.Err() != nil {
				t.Error("ctx is still done")
			}
			return 1, Sleep(ctx, 0)
		})
		if v, err := RunUntilComplete(l, k); v != 1 || err != nil || k.Cancel() || k.Cancelling() != 0 {
			t.Fatal(v, err)
		}
	})
	t.Run("TSK-14 the current task is the one whose step runs", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "me", func(ctx context.Context) (int, error) {
			if r, ok := CurrentTask(ctx); !ok || r.Name() != "me" {
				t.Error("not me")
			}
			done := NewFuture[int](l)
			l.CallSoon(func() {
				if _, ok := CurrentTask(ctx); ok {
					t.Error("a callback has a task")
				}
				_ = done.SetResult(0)
			})
			return done.Await(ctx)
		})
		_, err := RunUntilComplete(l, k)
		must(t, err)
	})
	t.Run("TSK-15 all tasks are those that are not done", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		for _, name := range []string{"a", "b"} {
			CreateTask(l.Context(bg), name, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		}
		runTurns(t, l, 1)
		runtime.GC()
		if all := AllTasks(l); len(all) != 2 || all[0].Name() != "a" || all[1].Name() != "b" {
			t.Fatal(all)
		}
		must(t, f.SetResult(1))
		runTurns(t, l, 1)
		if len(AllTasks(l)) != 0 {
			t.Fatal(AllTasks(l))
		}
	})
	t.Run("TSK-16 a task that is pending at close is reported and unwound", func(t *testing.T) {
		l, log := newLoop(t)
		unwound := false
		CreateTask(l.Context(bg), "stray", func(ctx context.Context) (int, error) {
			defer func() { unwound = true }()
			for {
				_ = Sleep(ctx, time.Hour) // ignores every error
			}
		})
		runTurns(t, l, 1)
		must(t, l.Close())
		if !unwound || !strings.Contains(log.String(), "destroyed but it is pending") || !strings.Contains(log.String(), "stray") {
			t.Fatal(unwound, log)
		}
	})
	t.Run("TSK-17 another loop's future and oneself cannot be awaited", func(t *testing.T) {
		other, _ := newLoop(t)
		l, _ := newLoop(t)
		var k *Task[int]
		k = CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			if _, err := NewFuture[int](other).Await(ctx); !errors.Is(err, ErrWrongLoop) {
				t.Errorf("other loop: %v", err)
			}
			return k.Await(ctx)
		})
		if _, err := RunUntilComplete(l, k); !errors.Is(err, ErrInvalidState) {
			t.Fatal(err)
		}
	})
	t.Run("TSK-19 an error or a panic completes the task", func(t *testing.T) {
		l, _ := newLoop(t)
		k := CreateTask(l.Context(bg), "", func(context.Context) (int, error) { explode(); return 0, nil })
		_, err := RunUntilComplete(l, k)
		if err == nil || !strings.Contains(err.Error(), "boom") {
			t.Fatal(err)
		}
		g := CreateTask(l.Context(bg), "", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		if _, err := RunUntilComplete(l, g); !errors.Is(err, ErrGoexit) {
			t.Fatal(err)
		}
	})
	t.Run("TSK-22 CTX-01 a task sees the values of the ctx it was created with", func(t *testing.T) {
		type key struct{}
		inTask(t, func(ctx context.Context, _ *Loop) error {
			child := CreateTask(context.WithValue(ctx, key{}, "v"), "", func(ctx context.Context) (any, error) { return ctx.Value(key{}), nil })
			v, err := child.Await(ctx)
			if v != "v" || ctx.Value(key{}) != nil {
				t.Errorf("child saw %v, parent sees %v", v, ctx.Value(key{}))
			}
			return err
		})
	})
}

func TestAwaitGuards(t *testing.T) {
	bg := context.Background()
	t.Run("waiting in a callback is an error, not a hang", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		var plain, sleep, borrowed error
		CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) {
			l.CallSoon(func() { _, borrowed = f.Await(ctx) })
			return f.Await(ctx)
		})
		l.CallSoon(func() { _, plain = f.Await(bg); sleep = Sleep(bg, time.Hour) })
		runTurns(t, l, 3)
		for _, err := range []error{plain, sleep, borrowed} {
			if !errors.Is(err, ErrWouldBlock) {
				t.Error(err)
			}
		}
	})
	t.Run("a wait with the ctx of another task is refused, and names both", func(t *testing.T) {
		inTask(t, func(outer context.Context, l *Loop) error {
			k := CreateTask(outer, "inner", func(context.Context) (int, error) { return 0, Sleep(outer, time.Hour) })
			_, err := k.Await(outer)
			if !errors.Is(err, ErrWouldBlock) || !strings.Contains(err.Error(), "task inner waits with the ctx of task ") {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("no running loop: the error says what to give", func(t *testing.T) {
		l, _ := newLoop(t)
		for want, ctx := range map[string]context.Context{"Loop.Context": bg, l.Name(): l.Context(bg)} {
			if _, err := Running(ctx); !errors.Is(err, ErrNoRunningLoop) || !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
		}
	})
	t.Run("a task's ctx on another goroutine is refused", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			got := make(chan error)
			go func() {
				_, err := NewFuture[int](l).Await(ctx)
				got <- err
			}()
			if err := <-got; !errors.Is(err, ErrWrongGoroutine) {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("another goroutine waits for a task of a running loop", func(t *testing.T) {
		l, _ := newLoop(t)
		ran := make(chan error)
		up := make(chan struct{})
		l.CallSoon(func() { close(up) })
		go func() { ran <- l.RunForever() }()
		<-up
		k := CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return 7, Sleep(ctx, time.Millisecond) })
		if v, err := k.Await(bg); v != 7 || err != nil {
			t.Fatal(v, err)
		}
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		if _, err := NewFuture[int](l).Await(ctx); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		must(t, l.Ref().Stop())
		must(t, <-ran)
	})
	t.Run("a ctx with a deadline ends the wait and not the future", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if _, err := f.Await(short); !errors.Is(err, ErrTimeout) || f.Done() {
				t.Error(err)
			}
			must(t, f.SetResult(4))
			v, err := f.Await(ctx)
			if v != 4 {
				t.Error(v)
			}
			return err
		})
	})
	t.Run("sleep gives its time, zero exactly one turn", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			turns := 0
			l.CallSoon(func() { turns++; l.CallSoon(func() { turns++ }) })
			must(t, Sleep(ctx, 0))
			if turns != 1 {
				t.Errorf("%d turns", turns)
			}
			start := l.Time()
			err := Sleep(ctx, 2*time.Millisecond)
			if d := l.Time().Sub(start); d < 2*time.Millisecond-clockResolution {
				t.Errorf("slept %v", d)
			}
			return err
		})
	})
}
