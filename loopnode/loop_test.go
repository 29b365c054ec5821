package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestRunningLoop(t *testing.T) {
	t.Run("GET-01 the running loop is the one that executes the code", func(t *testing.T) {
		if _, err := Running(context.Background()); !errors.Is(err, ErrNoRunningLoop) {
			t.Fatalf("outside of a loop: %v", err)
		}
		inTask(t, func(ctx context.Context, l *Loop) error {
			got, err := Running(ctx)
			if got != l {
				t.Errorf("running is %v, want %v", got, l)
			}
			return err
		})
	})
	t.Run("GET-05 two new loops share nothing", func(t *testing.T) {
		a, _ := newLoop(t)
		b, _ := newLoop(t)
		ran := false
		a.CallSoon(func() { ran = true })
		runTurns(t, b, 2)
		if ran || a.Name() == b.Name() || a.Ref() == b.Ref() {
			t.Fatalf("ran=%v names %s %s", ran, a.Name(), b.Name())
		}
	})
	t.Run("GET-06 LOOP-08 a nested start fails and the outer loop stays the running one", func(t *testing.T) {
		inner, _ := newLoop(t)
		inTask(t, func(ctx context.Context, l *Loop) error {
			if err := inner.RunForever(); !errors.Is(err, ErrNestedLoop) {
				t.Errorf("nested run: %v", err)
			}
			got, err := Running(ctx)
			if got != l {
				t.Errorf("running is %v", got)
			}
			return err
		})
	})
}

func TestRun(t *testing.T) {
	t.Run("LOOP-01 the result or the error of the task comes back", func(t *testing.T) {
		l, _ := newLoop(t)
		v, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { return 42, nil }))
		if v != 42 || err != nil {
			t.Fatalf("got %d, %v", v, err)
		}
		boom := errors.New("boom")
		_, err = RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { return 0, boom }))
		if err != boom {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("LOOP-02 a future of another loop is refused", func(t *testing.T) {
		a, _ := newLoop(t)
		b, _ := newLoop(t)
		if _, err := RunUntilComplete(a, NewFuture[int](b)); !errors.Is(err, ErrWrongLoop) {
			t.Fatal(err)
		}
	})
	t.Run("LOOP-03 LOOP-04 stop leaves the future pending, and nothing stops a later run", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		l.CallSoon(l.Stop)
		if _, err := RunUntilComplete(l, f); !errors.Is(err, ErrLoopStopped) || f.Done() {
			t.Fatal(err)
		}
		must(t, f.SetResult(7))
		steps := 0
		var again func()
		again = func() {
			if steps++; steps == 3 {
				l.Stop()
				return
			}
			l.CallSoon(again)
		}
		l.CallSoon(again)
		must(t, l.RunForever())
		if steps != 3 {
			t.Fatalf("the later run ended after %d turns", steps)
		}
	})
	t.Run("LOOP-05 TSK-18 a fatal error of the main task escapes and is not reported", func(t *testing.T) {
		l, log := newLoop(t)
		boom := errors.New("exit now")
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { return 0, Fatal(boom) }))
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		ran := 0
		l.CallSoon(func() { l.CallSoon(func() { ran++; l.Stop() }) })
		must(t, l.RunForever())
		must(t, l.Close())
		if ran != 1 || strings.Contains(log.String(), "never retrieved") {
			t.Fatalf("ran %d, log %s", ran, log)
		}
	})
	t.Run("LOOP-06 a fatal error in another task leaves main to the next run", func(t *testing.T) {
		l, _ := newLoop(t)
		boom := errors.New("exit")
		gate := NewFuture[int](l)
		main := CreateTask(l.Context(context.Background()), "main", func(ctx context.Context) (int, error) { return gate.Await(ctx) })
		CreateTask(l.Context(context.Background()), "sub", func(context.Context) (int, error) { panic(Fatal(boom)) })
		if _, err := RunUntilComplete(l, main); !errors.Is(err, boom) || main.Done() {
			t.Fatal(err)
		}
		must(t, gate.SetResult(5))
		if v, err := RunUntilComplete(l, main); v != 5 || err != nil {
			t.Fatal(v, err)
		}
	})
	t.Run("LOOP-07 LOOP-17 a running loop refuses to run again and to close", func(t *testing.T) {
		l, _ := newLoop(t)
		var run, closing error
		l.CallSoon(func() { run, closing = l.RunForever(), l.Close(); l.Stop() })
		must(t, l.RunForever())
		if !errors.Is(run, ErrLoopRunning) || !errors.Is(closing, ErrLoopRunning) || l.IsClosed() {
			t.Fatal(run, closing)
		}
	})
	t.Run("LOOP-09 LOOP-13 stop finishes the batch and keeps what it scheduled", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		log := func(s string) func() { return func() { got = append(got, s) } }
		l.CallSoon(func() { got = append(got, "a"); l.Stop(); l.CallSoon(log("b2")) })
		l.CallSoon(func() { got = append(got, "b"); l.CallSoon(func() { got = append(got, "c"); l.Stop() }) })
		must(t, l.RunForever())
		same(t, got, []string{"a", "b"})
		must(t, l.RunForever())
		same(t, got, []string{"a", "b", "b2", "c"})
	})
	t.Run("LOOP-11 LOOP-12 stop before the run means one turn", func(t *testing.T) {
		l, _ := newLoop(t)
		got := 0
		l.CallSoon(func() { got++; l.CallSoon(func() { got += 10 }) })
		l.Stop()
		l.Stop()
		must(t, l.RunForever())
		if got != 1 {
			t.Fatal(got)
		}
		must(t, l.Close())
		l.Stop()
	})
	t.Run("LOOP-14 timers survive the gap between two runs", func(t *testing.T) {
		l, _ := newLoop(t)
		fired := false
		l.CallLater(time.Millisecond, func() { fired = true })
		l.Stop()
		must(t, l.RunForever())
		for start := l.Time(); l.Time().Sub(start) < 2*time.Millisecond; {
			runtime.Gosched()
		}
		runTurns(t, l, 1)
		if !fired {
			t.Fatal("an overdue timer did not fire in the first turn")
		}
	})
	t.Run("LOOP-15 single turns can be driven, and the state is restored", func(t *testing.T) {
		l, _ := newLoop(t)
		during := false
		l.CallSoon(func() { during = l.IsRunning(); panic("x") })
		runTurns(t, l, 1)
		if !during || l.IsRunning() {
			t.Fatal(during, l.IsRunning())
		}
	})
	t.Run("LOOP-16 LOOP-18 LOOP-19 closing is final and runs nothing", func(t *testing.T) {
		l, _ := newLoop(t)
		ran := false
		l.CallSoon(func() { ran = true })
		must(t, l.Close())
		must(t, l.Close())
		if ran || !l.IsClosed() {
			t.Fatal("close ran a callback, or is not final")
		}
		never := func() { t.Error("ran on a closed loop") }
		for what, err := range map[string]error{
			"run": l.RunForever(), "soon": l.CallSoon(never).Err(), "later": l.CallLater(0, never).Err(), "at": l.CallAt(0, never).Err(),
			"threadsafe": l.Ref().CallSoonThreadsafe(never), "reader": l.AddReader(0, never), "writer": l.AddWriter(0, never),
			"task": CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { never(); return 0, nil }).Exception(),
			"exec": RunInExecutor(l.Context(context.Background()), nil, func() (int, error) { never(); return 0, nil }).Exception(),
		} {
			if !errors.Is(err, ErrLoopClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if l.RemoveReader(0) || l.RemoveWriter(0) {
			t.Error("removed from a closed loop")
		}
		l.SetDebug(true)
		_ = l.Time()
		if NewFuture[int](l).Done() {
			t.Error("a new future is done")
		}
	})
	t.Run("LOOP-20 SCH-10 posting while the loop closes is refused or dropped, never a crash", func(t *testing.T) {
		for range 50 {
			l, _ := newLoop(t)
			done := make(chan error)
			for range 4 {
				go func() {
					var err error
					for err == nil {
						err = l.Ref().CallSoonThreadsafe(func() {})
					}
					done <- err
				}()
			}
			runTurns(t, l, 3)
			must(t, l.Close())
			for range 4 {
				if err := <-done; !errors.Is(err, ErrLoopClosed) {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestRunFunction(t *testing.T) {
	t.Run("LOOP-25 leftovers are cancelled and awaited, their errors reported", func(t *testing.T) {
		log := &logBuffer{}
		cleaned := false
		err := Run(context.Background(), func(ctx context.Context) error {
			CreateTask(ctx, "left", func(ctx context.Context) (int, error) {
				err := Sleep(ctx, time.Hour)
				_ = Sleep(ctx, 0)
				cleaned = errors.Is(err, ErrCancelled)
				return 0, errors.New("cleanup failed")
			})
			return Sleep(ctx, 0)
		}, WithConfig(Config{Logger: testLogger(log)}))
		must(t, err)
		if !cleaned || !strings.Contains(log.String(), "unhandled exception during Run shutdown") {
			t.Fatalf("cleaned %v, log %s", cleaned, log)
		}
	})
	t.Run("a cancelled ctx cancels main", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		err := Run(ctx, func(ctx context.Context) error {
			cancel()
			return Sleep(ctx, time.Hour)
		})
		if !errors.Is(err, ErrCancelled) {
			t.Fatal(err)
		}
	})
	t.Run("no main and a nested Run are errors", func(t *testing.T) {
		if err := Run(context.Background(), nil); !errors.Is(err, ErrInvalidArgument) {
			t.Fatal(err)
		}
		inTask(t, func(ctx context.Context, l *Loop) error {
			if err := Run(ctx, func(context.Context) error { return nil }); !errors.Is(err, ErrNestedLoop) {
				t.Errorf("nested Run: %v", err)
			}
			return nil
		})
	})
}

func TestCloseHooks(t *testing.T) {
	l, _ := newLoop(t)
	var removes []func()
	ran := 0
	l.OnClose(func() {
		ran++
		for _, remove := range removes {
			remove() // more than the list keeps for later
		}
	})
	for range 100 {
		removes = append(removes, l.OnClose(func() { ran += 1000 }))
	}
	l.OnClose(func() { ran++ })
	must(t, l.Close())
	if ran != 2 {
		t.Fatal(ran)
	}
}
