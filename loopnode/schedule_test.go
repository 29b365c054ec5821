package loopnode

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"
)

func TestCallbacks(t *testing.T) {
	t.Run("SCH-01 callbacks run in order, once, never inside CallSoon", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []int
		for i := range 5 {
			l.CallSoon(func() { got = append(got, i) })
		}
		if len(got) != 0 {
			t.Fatal("ran inside CallSoon")
		}
		runTurns(t, l, 2)
		same(t, got, []int{0, 1, 2, 3, 4})
	})
	t.Run("SCH-02 what a callback schedules waits for the next turn", func(t *testing.T) {
		l, _ := newLoop(t)
		n := 0
		var again func()
		again = func() { n++; l.CallSoon(again) }
		l.CallSoon(again)
		runTurns(t, l, 3)
		if n != 3 {
			t.Fatalf("%d runs in 3 turns", n)
		}
	})
	t.Run("SCH-05 a cancelled handle does not run, also within its batch", func(t *testing.T) {
		l, _ := newLoop(t)
		ran := false
		var second *Handle
		first := l.CallSoon(func() { second.Cancel(); second.Cancel() })
		second = l.CallSoon(func() { ran = true })
		runTurns(t, l, 1)
		if ran || !second.Cancelled() || first.Cancelled() {
			t.Fatal(ran, second.Cancelled(), first.Cancelled())
		}
		first.Cancel()
		if first.Cancelled() {
			t.Fatal("a callback that ran counts as cancelled")
		}
	})
	t.Run("SCH-06 a callback that ran or was cancelled keeps nothing alive", func(t *testing.T) {
		l, _ := newLoop(t)
		hold := func() (weak.Pointer[[64]int], func()) {
			v := new([64]int)
			return weak.Make(v), func() { v[0]++ }
		}
		ranRef, ran := hold()
		dropRef, dropped := hold()
		h1, h2 := l.CallSoon(ran), l.CallSoon(dropped)
		h2.Cancel()
		ran, dropped = nil, nil
		runTurns(t, l, 1)
		for range 10 {
			runtime.GC()
		}
		if ranRef.Value() != nil || dropRef.Value() != nil {
			t.Fatal("still reachable")
		}
		runtime.KeepAlive(h1)
		runtime.KeepAlive(h2)
	})
	t.Run("SCH-07 a threadsafe call shares the queue with CallSoon", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []int
		l.CallSoon(func() { got = append(got, 1) })
		must(t, l.Ref().CallSoonThreadsafe(func() { got = append(got, 2) }))
		l.CallSoon(func() { got = append(got, 3) })
		runTurns(t, l, 1)
		same(t, got, []int{1, 2, 3})
	})
	t.Run("SCH-08 no threadsafe call is lost, and a sleeping loop wakes", func(t *testing.T) {
		l, _ := newLoop(t)
		const senders, each = 8, 500
		n := 0
		for range senders {
			go func() {
				for range each {
					if l.Ref().CallSoonThreadsafe(func() {
						if n++; n == senders*each {
							l.Stop()
						}
					}) != nil {
						return
					}
				}
			}()
		}
		must(t, l.RunForever())
		if n != senders*each {
			t.Fatal(n)
		}
	})
	t.Run("SCH-09 a threadsafe handle is cancelled from elsewhere, or has run", func(t *testing.T) {
		l, _ := newLoop(t)
		for range 200 {
			ran := false
			h, err := l.Ref().CallSoonThreadsafeHandle(func() { ran = true })
			must(t, err)
			var won bool
			var wg sync.WaitGroup
			wg.Go(func() { h.Cancel(); won = h.Cancelled() })
			runTurns(t, l, 1)
			wg.Wait()
			<-h.Done()
			if won == ran || won != h.Cancelled() {
				t.Fatalf("won %v, ran %v", won, ran)
			}
		}
	})
	t.Run("a handle of a callback that the close drops is done and cancelled", func(t *testing.T) {
		l, _ := newLoop(t)
		h, err := l.Ref().CallSoonThreadsafeHandle(func() { t.Error("it ran on a closed loop") })
		must(t, err)
		must(t, l.Close())
		comes(t, h.Done())
		if !h.Cancelled() {
			t.Error("it does not say that it never will run")
		}
	})
	t.Run("SCH-20 a panic costs its callback and is reported with the user's frames", func(t *testing.T) {
		l, log := newLoop(t)
		ran := 0
		l.CallSoon(func() { explode() })
		l.CallSoon(func() { ran++ })
		runTurns(t, l, 1)
		if ran != 1 || !strings.Contains(log.String(), "Exception in callback") || !strings.Contains(log.String(), "loopnode.explode") {
			t.Fatalf("ran %d, log %s", ran, log)
		}
	})
	t.Run("SCH-21 a fatal error leaves the run and the queue stays", func(t *testing.T) {
		l, _ := newLoop(t)
		boom := errors.New("exit")
		var got []int
		l.CallSoon(func() { panic(Fatal(boom)) })
		l.CallSoon(func() { got = append(got, 1); l.Stop() })
		if err := l.RunForever(); !errors.Is(err, boom) || len(got) != 0 || l.IsClosed() {
			t.Fatal(err, got)
		}
		must(t, l.RunForever())
		same(t, got, []int{1})
	})
	t.Run("runtime.Goexit in a callback ends neither loop nor batch", func(t *testing.T) {
		l, log := newLoop(t)
		ran := false
		l.CallSoon(func() { runtime.Goexit() })
		l.CallSoon(func() { ran = true })
		runTurns(t, l, 1)
		if !ran || !strings.Contains(log.String(), "Goexit") {
			t.Fatalf("ran %v, log %s", ran, log)
		}
	})
	t.Run("a nil callback is refused with a reason", func(t *testing.T) {
		l, _ := newLoop(t)
		if err := l.CallSoon(nil).Err(); !errors.Is(err, ErrInvalidArgument) {
			t.Fatal(err)
		}
		if err := l.CallLater(0, nil).Err(); !errors.Is(err, ErrInvalidArgument) {
			t.Fatal(err)
		}
		runTurns(t, l, 1)
	})
}

func explode() { panic("boom") }

func TestTimers(t *testing.T) {
	t.Run("SCH-11 the clock is read anew and never goes back", func(t *testing.T) {
		l, _ := newLoop(t)
		a := l.Time()
		for l.Time() == a {
			runtime.Gosched()
		}
		if l.Time().Before(a) {
			t.Fatal("went back")
		}
		h := l.CallLater(time.Second, func() {})
		if d := h.When().Sub(a); d < time.Second {
			t.Fatalf("deadline %v after a", d)
		}
	})
	t.Run("SCH-12 a timer is not early", func(t *testing.T) {
		l, _ := newLoop(t)
		var at Instant
		h := l.CallLater(3*time.Millisecond, func() { at = l.Time(); l.Stop() })
		must(t, l.RunForever())
		if at.Add(clockResolution).Before(h.When()) {
			t.Fatalf("fired at %d, deadline %d", at, h.When())
		}
	})
	t.Run("SCH-13 SCH-15 past deadlines run in the next turn by deadline, equal ones in call order", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []int
		add := func(d time.Duration, i int) { l.CallAt(Instant(0).Add(d), func() { got = append(got, i) }) }
		add(-1, 2)
		add(-2, 1)
		for i := 10; i < 22; i++ {
			add(0, i)
		}
		runTurns(t, l, 1)
		same(t, got, []int{1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21})
	})
	t.Run("SCH-14 a timer of zero runs behind what is ready", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		l.CallLater(0, func() { got = append(got, "timer") })
		l.CallSoon(func() { got = append(got, "soon") })
		runTurns(t, l, 2)
		same(t, got, []string{"soon", "timer"})
	})
	t.Run("SCH-16 SCH-17 huge delays neither overflow nor fire", func(t *testing.T) {
		l, _ := newLoop(t)
		fired := false
		never := func() { fired = true }
		h := l.CallLater(math.MaxInt64, never)
		l.CallAt(Never, never)
		l.CallLater(math.MinInt64, l.Stop)
		must(t, l.RunForever())
		if fired || h.When() != Never {
			t.Fatal(fired, h.When())
		}
	})
	t.Run("SCH-18 the deadline survives firing and cancelling", func(t *testing.T) {
		l, _ := newLoop(t)
		h, c := l.CallAt(1, func() {}), l.CallAt(2, func() { t.Error("cancelled timer ran") })
		c.Cancel()
		runTurns(t, l, 2)
		if h.When() != 1 || c.When() != 2 || !c.Cancelled() || h.Cancelled() {
			t.Fatal(h.When(), c.When(), c.Cancelled(), h.Cancelled())
		}
	})
	t.Run("SCH-19 timers that are cancelled again and again take no memory", func(t *testing.T) {
		l, _ := newLoop(t)
		keep := l.CallLater(time.Hour, func() {})
		for i := range 100_000 {
			l.CallLater(time.Hour, func() {}).Cancel()
			if i%1000 == 0 {
				runTurns(t, l, 1)
			}
		}
		runTurns(t, l, 1)
		if n := l.core.Timers.Len(); n > 200 || keep.Cancelled() {
			t.Fatalf("%d timers in the heap", n)
		}
	})
}

func TestExceptionHandlers(t *testing.T) {
	t.Run("ERR-01 the custom handler gets the report and nil restores the default", func(t *testing.T) {
		l, log := newLoop(t)
		var got ExceptionContext
		l.SetExceptionHandler(func(on *Loop, ec ExceptionContext) {
			if on != l {
				t.Error("wrong loop")
			}
			got = ec
		})
		l.CallSoon(explode)
		runTurns(t, l, 1)
		if !strings.HasPrefix(got.Message, "Exception in callback") || got.Exception == nil || got.Handle == nil || log.String() != "" {
			t.Fatalf("%+v, log %s", got, log)
		}
		l.SetExceptionHandler(nil)
		if l.ExceptionHandler() != nil {
			t.Fatal("handler is not the default")
		}
		l.CallExceptionHandler(ExceptionContext{Message: "hello"})
		if !strings.Contains(log.String(), "hello") {
			t.Fatal(log)
		}
	})
	t.Run("ERR-03 one value that cannot be printed does not hide the report", func(t *testing.T) {
		l, log := newLoop(t)
		l.CallExceptionHandler(ExceptionContext{Extra: map[string]any{"b": 2, "a": unprintable{}}})
		if s := log.String(); !strings.Contains(s, "Unhandled exception in event loop") || !strings.Contains(s, "b=2") {
			t.Fatal(s)
		}
	})
	t.Run("ERR-04 a handler that panics is reported by the default one", func(t *testing.T) {
		l, log := newLoop(t)
		l.SetExceptionHandler(func(*Loop, ExceptionContext) { panic("handler") })
		l.CallSoon(explode)
		runTurns(t, l, 1)
		if s := log.String(); !strings.Contains(s, "Unhandled error in exception handler") || !strings.Contains(s, "boom") {
			t.Fatal(s)
		}
	})
	t.Run("ERR-05 a fatal error from a handler ends the run", func(t *testing.T) {
		l, _ := newLoop(t)
		boom := errors.New("exit")
		l.SetExceptionHandler(func(*Loop, ExceptionContext) { panic(Fatal(boom)) })
		l.CallSoon(explode)
		if err := l.RunForever(); !errors.Is(err, boom) {
			t.Fatal(err)
		}
	})
}

type unprintable struct{}

func (unprintable) String() string { panic("no text") }

func TestDebug(t *testing.T) {
	t.Run("DBG-01 DBG-02 debug is a switch, and the environment's", func(t *testing.T) {
		l, _ := newLoop(t)
		if l.Debug() {
			t.Fatal("on by default")
		}
		l.CallSoon(func() { l.SetDebug(true) })
		runTurns(t, l, 1)
		if !l.Debug() {
			t.Fatal("not switched on")
		}
		t.Setenv("LOOPMESH_DEBUG", "1")
		if on, _ := newLoop(t); !on.Debug() {
			t.Fatal("the environment does not switch it on")
		}
	})
	t.Run("DBG-03 a call from a wrong goroutine is refused in debug mode", func(t *testing.T) {
		l, _ := newLoop(t, func(c *Config) { c.Debug = true })
		var wrong, own error
		l.CallSoon(func() {
			own = l.CallSoon(func() {}).Err()
			done := make(chan struct{})
			go func() {
				wrong = l.CallSoon(func() { t.Error("ran") }).Err()
				close(done)
			}()
			<-done
		})
		runTurns(t, l, 2)
		if !errors.Is(wrong, ErrWrongGoroutine) || own != nil {
			t.Fatal(wrong, own)
		}
		if err := l.CallSoon(func() {}).Err(); err != nil {
			t.Fatalf("refused while the loop is idle: %v", err)
		}
	})
	t.Run("DBG-05 a slow callback and a slow task are named", func(t *testing.T) {
		l, log := newLoop(t, func(c *Config) { c.Debug = true })
		l.SetSlowCallback(0)
		l.CallSoon(explodeLater)
		CreateTask(l.Context(context.Background()), "slowcoach", func(context.Context) (int, error) { return 1, nil })
		runTurns(t, l, 1)
		if s := log.String(); !strings.Contains(s, "Executing <Handle") || !strings.Contains(s, "explodeLater") || !strings.Contains(s, "<Task slowcoach") {
			t.Fatal(s)
		}
	})
	t.Run("DBG-07 reports say where the callback was created", func(t *testing.T) {
		l, log := newLoop(t, func(c *Config) { c.Debug = true })
		l.CallSoon(explode)
		runTurns(t, l, 1)
		if !strings.Contains(log.String(), "schedule_test.go") {
			t.Fatal(log)
		}
	})
	t.Run("the watchdog names a callback that does not return, while it is stuck", func(t *testing.T) {
		l, log := newLoop(t, func(c *Config) { c.Stuck = 20 * time.Millisecond })
		l.CallSoon(func() { spinUntil(func() bool { return strings.Contains(log.String(), "has not returned") }) })
		runTurns(t, l, 1)
		if !strings.Contains(log.String(), "loopnode.spinUntil") && !strings.Contains(log.String(), "TestDebug") {
			t.Fatal(log)
		}
	})
}

func explodeLater() {}

func spinUntil(done func() bool) {
	for start := time.Now(); !done() && time.Since(start) < 20*time.Second; {
		runtime.Gosched()
	}
}
