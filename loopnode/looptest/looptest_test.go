package looptest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func newLoop(t *testing.T) (*loopnode.Loop, *World) {
	t.Helper()
	l, w, err := New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l, w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestVirtualTime(t *testing.T) {
	t.Run("a year of sleep takes no time", func(t *testing.T) {
		l, w := newLoop(t)
		start := time.Now()
		const year = 365 * 24 * time.Hour
		_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			return 0, loopnode.Sleep(ctx, year)
		}))
		must(t, err)
		if w.Now() < loopnode.Instant(year) || time.Since(start) > time.Minute {
			t.Fatal(w.Now(), time.Since(start))
		}
	})
	t.Run("SCH-04 the poll waits for nothing, the next timer, at most a day, or for ever", func(t *testing.T) {
		l, w := newLoop(t)
		must(t, l.AddReader(3, l.Stop)) // so that every turn asks the poller
		l.CallSoon(func() {})
		must(t, l.RunOnce(-1))
		h := l.CallLater(5*time.Second, func() {})
		must(t, l.RunOnce(-1))
		h.Cancel()
		l.CallLater(100*24*time.Hour, func() { t.Error("fired") })
		must(t, l.RunOnce(-1))
		l.Stop()
		must(t, l.RunOnce(-1))
		if want := []time.Duration{0, 5 * time.Second, 24 * time.Hour, 0}; !slices.Equal(w.Waits(), want) {
			t.Fatalf("waited %v, want %v", w.Waits(), want)
		}
	})
	t.Run("SCH-02 a callback that schedules itself starves neither I/O nor timers", func(t *testing.T) {
		l, w := newLoop(t)
		var io, timer bool
		must(t, l.AddReader(3, func() { io = true }))
		l.CallLater(time.Second, func() { timer = true })
		turns := 0
		var again func()
		again = func() {
			turns++
			w.Advance(time.Second)
			w.Ready(3, loopnode.Readable)
			if turns == 3 {
				l.Stop()
				return
			}
			l.CallSoon(again)
		}
		l.CallSoon(again)
		must(t, l.RunForever())
		if !io || !timer || len(w.Waits()) != turns {
			t.Fatalf("io %v, timer %v, %d polls in %d turns", io, timer, len(w.Waits()), turns)
		}
	})
	t.Run("SCH-12 sleeps below the clock's resolution do not spin", func(t *testing.T) {
		l, w := newLoop(t)
		must(t, l.AddReader(3, func() {}))
		_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			for range 5 {
				if err := loopnode.Sleep(ctx, time.Nanosecond); err != nil {
					return 0, err
				}
			}
			return 0, nil
		}))
		must(t, err)
		if n := len(w.Waits()); n > 20 {
			t.Fatalf("%d turns for five tiny sleeps", n)
		}
	})
	t.Run("the clock does not go back", func(t *testing.T) {
		_, w := newLoop(t)
		w.Advance(-time.Hour)
		if w.Now() != 0 {
			t.Fatal(w.Now())
		}
	})
	t.Run("another goroutine wakes a loop that has nothing to do", func(t *testing.T) {
		l, _ := newLoop(t)
		ref := l.Ref()
		l.CallSoon(func() {
			go func() { _ = ref.Stop() }()
		})
		must(t, l.RunForever())
	})
	t.Run("a loop that nobody can wake says so at once", func(t *testing.T) {
		l, w := newLoop(t)
		idle := make(chan struct{})
		go func() { idle <- struct{}{} }() // waits for another goroutine: it wakes nobody
		defer func() { <-idle }()
		start := time.Now()
		err := l.RunForever()
		if took := time.Since(start); !errors.Is(err, ErrDeadlock) || took > patience*3/4 {
			t.Error(err, took)
		}
		if w.Now() != 0 {
			t.Error("the clock moved")
		}
	})
	t.Run("a goroutine that sleeps, or is in a select with a timer, may wake the loop", func(t *testing.T) {
		for _, wait := range []func(d time.Duration){
			func(d time.Duration) { <-time.After(d) },
			func(d time.Duration) {
				select {
				case <-time.After(d):
				case <-make(chan int):
				}
			},
		} {
			l, _ := newLoop(t)
			over := make(chan struct{})
			l.CallSoon(func() {
				go func() {
					defer close(over)
					wait(3 * looks * lookEvery)
					_ = l.Ref().Stop()
				}()
			})
			must(t, l.RunForever())
			<-over
		}
	})
	t.Run("a World may be brought along, another Backend may not", func(t *testing.T) {
		w := &World{}
		w.Advance(time.Hour)
		l, same, err := New(loopnode.Config{Backend: w})
		must(t, err)
		if same != w || l.Time() != loopnode.Instant(time.Hour) {
			t.Error(same == w, l.Time())
		}
		must(t, l.AddReader(3, l.Stop))
		w.Ready(3, loopnode.Readable)
		must(t, l.RunForever())
		must(t, l.Close())
		if _, _, err := New(loopnode.Config{Backend: struct{ loopnode.Backend }{w}}); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error(err)
		}
	})
	t.Run("a Backend of somebody else can make tokens", func(t *testing.T) {
		if tok := Token(7); tok.IsZero() || tok.Slot() != 7 || tok != Token(7) || tok == Token(8) {
			t.Error(tok)
		}
	})
	t.Run("a descriptor is registered once", func(t *testing.T) {
		_, w := newLoop(t)
		tok, err := w.Add(4, loopnode.Readable, "x")
		must(t, err)
		if _, err := w.Add(4, loopnode.Readable, "y"); err == nil {
			t.Fatal("registered twice")
		}
		must(t, w.Remove(tok))
		if err := w.Modify(tok, 0); err == nil || errors.Is(err, ErrDeadlock) {
			t.Fatal(err)
		}
	})
}
