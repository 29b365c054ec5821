package loopnode

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestWatchdog(t *testing.T) {
	bg := context.Background()
	t.Run("names the callback beside 20,000 tasks that wait", func(t *testing.T) {
		const waiting = 20_000
		l, log := newLoop(t, quiet)
		f := NewFuture[int](l)
		for range waiting {
			CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return f.Await(ctx) })
		}
		runTurns(t, l, 1)
		l.beat.limit = 20 * time.Millisecond
		l.CallSoon(func() { spinUntil(func() bool { return strings.Contains(log.String(), "has not returned") }) })
		runTurns(t, l, 1)
		if !strings.Contains(log.String(), "loopnode.spinUntil") && !strings.Contains(log.String(), "TestWatchdog") {
			t.Errorf("the callback is not named: %.600s", log)
		}
		must(t, f.SetResult(1))
		runTurns(t, l, 1)
	})
	t.Run("rests while the loop is idle, and watches the next callback all the same", func(t *testing.T) {
		l, log := newLoop(t, func(c *Config) { c.Stuck = 20 * time.Millisecond })
		ran := make(chan error)
		go func() { ran <- l.RunForever() }() // ends with Stop below
		for range 20 {
			must(t, l.post(func() {}))
			spinUntil(l.beat.resting.Load)
			if !l.beat.resting.Load() {
				t.Fatal("an idle loop is looked at again and again")
			}
		}
		must(t, l.post(func() { spinUntil(func() bool { return strings.Contains(log.String(), "has not returned") }) }))
		must(t, l.Ref().Stop())
		must(t, <-ran)
		if !strings.Contains(log.String(), "has not returned") {
			t.Error("nobody watched")
		}
	})
}

func TestWatchdogSeesALongBatchMove(t *testing.T) {
	l, _ := newLoop(t, func(c *Config) { c.Stuck = time.Hour })
	seen := map[uint64]bool{}
	for range 4 * watchEvery {
		l.CallSoon(func() { seen[l.beat.count.Load()] = true })
	}
	runTurns(t, l, 1)
	if len(seen) != 4 {
		t.Errorf("a batch of %d callbacks shows %d numbers, not one for each %d", 4*watchEvery, len(seen), watchEvery)
	}
}

// TestGoroutineOfATask: a task is found, by the watchdog and by itself, also when
// its goroutine's number was never read.
func TestGoroutineOfATask(t *testing.T) {
	stuck := func(t *testing.T, between func()) string {
		t.Helper()
		l, log := newLoop(t, func(c *Config) { c.Stuck = 20 * time.Millisecond })
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			if between != nil {
				between()
				if !l.here() {
					t.Error("the task is not on its own goroutine")
				}
				off := make(chan bool)
				go func() { off <- l.here() }()
				if <-off {
					t.Error("another goroutine counts as the task's")
				}
			}
			spinUntil(func() bool { return strings.Contains(log.String(), "has not returned") })
			return 0, nil
		}))
		must(t, err)
		return log.String()
	}
	t.Run("alone", func(t *testing.T) {
		if got := stuck(t, nil); !strings.Contains(got, "loopnode.spinUntil") && !strings.Contains(got, "TestGoroutineOfATask") {
			t.Errorf("not named: %.600s", got)
		}
	})
	t.Run("with another loop that begins during its step", func(t *testing.T) {
		if got := stuck(t, func() { runAside(t) }); !strings.Contains(got, "loopnode.spinUntil") && !strings.Contains(got, "TestGoroutineOfATask") {
			t.Errorf("not named: %.600s", got)
		}
	})
}

// TestCloseAgainstRun: a run that begins and a close exclude each other, so a run
// ends well or is told that the loop is closed; it never meets a closed poller.
func TestCloseAgainstRun(t *testing.T) {
	for range 2000 {
		l, _ := newLoop(t, quiet)
		l.CallSoon(l.Stop)
		closed := make(chan error)
		go func() { closed <- l.Close() }() // ends at once
		runtime.Gosched()
		if err := l.RunForever(); err != nil {
			isErr(t, err, ErrLoopClosed)
		}
		if err := <-closed; err != nil {
			isErr(t, err, ErrLoopRunning)
		}
		must(t, l.Close())
	}
}
