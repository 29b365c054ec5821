package loopnode

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// stepClock is a kernel whose clock the test moves.
type stepClock struct {
	Backend
	now Instant
}

func (c *stepClock) Now() Instant { return c.now }

func TestDebugChecks(t *testing.T) {
	t.Run("DBG-04 what cannot be called is refused when it is scheduled, in debug mode or not", func(t *testing.T) {
		for _, debug := range []bool{false, true} {
			l, log := newLoop(t, func(c *Config) { c.Debug = debug })
			for what, err := range map[string]error{
				"soon": l.CallSoon(nil).Err(), "later": l.CallLater(time.Hour, nil).Err(), "at": l.CallAt(Never, nil).Err(),
				"threadsafe": l.Ref().CallSoonThreadsafe(nil),
				"executor":   RunInExecutor[int](l.Context(context.Background()), nil, nil).Exception(),
			} {
				if !errors.Is(err, ErrInvalidArgument) {
					t.Errorf("debug %v, %s: %v", debug, what, err)
				}
			}
			if l.core.Ready.Len() != 0 || l.core.Timers.Len() != 0 || !strings.Contains(log.String(), "refused") {
				t.Errorf("debug %v: something was scheduled, or nothing logged", debug)
			}
		}
	})
	t.Run("DBG-06 a callback that lasts exactly the threshold is slow", func(t *testing.T) {
		real, err := newKernel()
		must(t, err)
		clock := &stepClock{Backend: real}
		l, log := newLoop(t, func(c *Config) { c.Debug, c.SlowCallback, c.Backend = true, time.Second, clock })
		l.CallSoon(func() { clock.now = clock.now.Add(time.Second - 1) })
		runTurns(t, l, 1)
		if log.String() != "" {
			t.Fatal("below the threshold:", log)
		}
		l.CallSoon(func() { clock.now = clock.now.Add(time.Second) })
		runTurns(t, l, 1)
		if !strings.Contains(log.String(), "took 1.000 seconds") {
			t.Fatal("at the threshold:", log)
		}
	})
}

func TestUnclosedLoop(t *testing.T) {
	t.Run("LOOP-21 a dropped loop is reported and lets go of what it had", func(t *testing.T) {
		log := &logBuffer{}
		func() {
			l, err := New(Config{Name: "forgotten", Logger: testLogger(log)})
			must(t, err)
			_, err = RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
				return 0, Sleep(ctx, 0) // leaves an idle coroutine
			}))
			must(t, err)
		}()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "unclosed event loop"); <-tick.C {
			if runtime.GC(); time.Now().After(end) {
				t.Fatal("nobody noticed")
			}
		}
		if s := log.String(); !strings.Contains(s, "[WARN]") || !strings.Contains(s, "forgotten") {
			t.Fatal(s)
		}
	})
	t.Run("LOOP-21 a loop that runs is not dropped, and a closed one is not reported", func(t *testing.T) {
		log := &logBuffer{}
		done := make(chan struct{})
		func() {
			l, err := New(Config{Logger: testLogger(log)})
			must(t, err)
			go func() {
				defer close(done)
				if err := Run(context.Background(), func(ctx context.Context) error {
					for range 20 {
						runtime.GC()
						if err := Sleep(ctx, time.Millisecond); err != nil {
							return err
						}
					}
					return nil
				}, WithLoopFactory(func() (*Loop, error) { return l, nil })); err != nil {
					t.Error(err)
				}
			}()
		}()
		<-done
		for range 5 {
			runtime.GC()
		}
		if log.String() != "" {
			t.Fatal(log)
		}
	})
}

func TestExceptionContexts(t *testing.T) {
	// reports runs fn on a loop in debug mode that is then closed, and returns
	// what the handler got.
	reports := func(t *testing.T, fn func(ctx context.Context, l *Loop)) (out []ExceptionContext) {
		l, _ := newLoop(t, func(c *Config) { c.Debug = true })
		l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) { out = append(out, ec) })
		ctx := context.WithValue(l.Context(context.Background()), valueKey{}, "mine")
		fn(ctx, l)
		runTurns(t, l, 3)
		must(t, l.Close())
		return out
	}
	keys := func(ec ExceptionContext) (out []string) {
		for _, f := range ec.fields() {
			out = append(out, f.key)
		}
		return out
	}
	fail := func(context.Context) (int, error) { return 0, errors.New("boom") }

	t.Run("ERR-02 every report of the loop says what happened, and names what it concerns", func(t *testing.T) {
		for _, c := range []struct {
			what string
			do   func(ctx context.Context, l *Loop)
			want []string
		}{
			{"a callback", func(_ context.Context, l *Loop) { l.CallSoon(explode) }, []string{"handle", "source_traceback"}},
			{"a future", func(_ context.Context, l *Loop) { _ = NewFuture[int](l).SetException(errors.New("boom")) }, []string{"future", "source_traceback"}},
			{"a failed task", func(ctx context.Context, _ *Loop) { CreateTask(ctx, "", fail) }, []string{"future", "source_traceback"}},
			{"a pending task", func(ctx context.Context, _ *Loop) {
				CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
			}, []string{"source_traceback", "task"}},
			{"a close hook", func(_ context.Context, l *Loop) { l.OnClose(explode) }, nil},
			{"a handle in a callback", func(_ context.Context, l *Loop) {
				l.CallSoon(func() { l.CallExceptionHandler(ExceptionContext{Message: "by hand"}) })
			}, []string{"handle_traceback"}},
		} {
			got := reports(t, c.do)
			if len(got) != 1 || got[0].Message == "" || !slices.Equal(keys(got[0]), c.want) {
				t.Errorf("%s: want %v, got %v", c.what, c.want, got)
				continue
			}
			if what := "a pending task"; c.what != what && c.what != "a handle in a callback" && got[0].Exception == nil {
				t.Errorf("%s: no exception", c.what)
			}
		}
	})
	t.Run("ERR-02 a user's report may hold anything, or nothing", func(t *testing.T) {
		all := ExceptionContext{
			Message: "m", Exception: errors.New("e"), Future: 1, Task: 2, Handle: 3, Protocol: 4, Transport: 5, Generator: 6,
			Source: "s", Running: "r", Extra: map[string]any{"socket": 7, "mine": []int{8}},
		}
		got := reports(t, func(_ context.Context, l *Loop) {
			l.CallExceptionHandler(ExceptionContext{})
			l.CallExceptionHandler(all)
		})
		if len(got) != 2 || got[0].String() != "" {
			t.Fatal(got)
		}
		want := []string{"asyncgen", "future", "handle", "handle_traceback", "mine", "protocol", "socket", "source_traceback", "task", "transport"}
		if !slices.Equal(keys(got[1]), want) || !strings.Contains(got[1].String(), "exception=e") {
			t.Fatal(keys(got[1]))
		}
	})
	t.Run("ERR-06 the handler gets the ctx of the callback, task or future concerned", func(t *testing.T) {
		for what, do := range map[string]func(ctx context.Context, l *Loop){
			"a callback":    func(ctx context.Context, l *Loop) { l.CallSoonContext(ctx, func(context.Context) { panic("boom") }) },
			"a failed task": func(ctx context.Context, _ *Loop) { CreateTask(ctx, "", fail) },
			"a pending task": func(ctx context.Context, _ *Loop) {
				CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
			},
		} {
			got := reports(t, do)
			if len(got) != 1 || got[0].Context == nil || got[0].Context.Value(valueKey{}) != "mine" || loopOf(got[0].Context) == nil {
				t.Errorf("%s: %+v", what, got)
			}
		}
		got := reports(t, func(_ context.Context, l *Loop) { l.CallSoon(explode) })
		if len(got) != 1 || loopOf(got[0].Context) == nil || got[0].Context.Value(valueKey{}) != nil {
			t.Errorf("without a ctx of its own: %+v", got)
		}
	})
}

func TestAdviceOfTheWatchdog(t *testing.T) {
	for _, c := range []struct{ head, says string }{
		{"goroutine 7 [chan receive, 2 minutes]:\nmain.f()", "Recv(ctx, ch)"},
		{"goroutine 7 [select]:", "WaitDone(ctx)"},
		{"goroutine 7 [sleep]:", "Sleep(ctx, d)"},
		{"goroutine 7 [sync.Mutex.Lock]:", "tasksync"},
		{"goroutine 7 [syscall]:", "ToThread"},
	} {
		e := &StuckError{Frame: "main.f", State: goroutineState(c.head)}
		if !strings.Contains(e.Error(), c.says) {
			t.Errorf("%s: %s", c.head, e)
		}
	}
	if s := (&StuckError{State: "running"}).advice(); s != "" {
		t.Error("a busy loop gets the advice", s)
	}
}

func TestAChannelInATaskIsNamed(t *testing.T) {
	l, log := newLoop(t, func(c *Config) { c.Stuck = 10 * time.Millisecond })
	gate, tick := make(chan struct{}), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	// goroutine: owner: the test; ends when the report has come, or is given up.
	go func() {
		defer close(gate)
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
			if strings.Contains(log.String(), "chan receive blocks the loop") {
				return
			}
		}
	}()
	_, err := RunUntilComplete(l, Go(l.Context(context.Background()), "blocks", func(context.Context) error { <-gate; return nil }))
	must(t, err)
	if !strings.Contains(log.String(), "use Recv(ctx, ch)") {
		t.Error(log)
	}
}
