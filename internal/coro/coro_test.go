package coro

import (
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func TestWorker(t *testing.T) {
	t.Run("suspends and goes on where it was", func(t *testing.T) {
		w := New()
		defer w.Close()
		var trace []int
		w.Start(func() { trace = append(trace, 1); w.Suspend(); trace = append(trace, 2) })
		if got := w.Resume(); got != Suspended {
			t.Fatalf("first Resume = %v", got)
		}
		if got := w.Resume(); got != Finished || len(trace) != 2 {
			t.Fatalf("second Resume = %v, trace %v", got, trace)
		}
	})
	t.Run("runs one body after the other", func(t *testing.T) {
		w := New()
		defer w.Close()
		n := 0
		for range 3 {
			w.Start(func() { n++ })
			if got := w.Resume(); got != Finished {
				t.Fatalf("Resume = %v", got)
			}
		}
		if n != 3 {
			t.Fatalf("bodies run = %d", n)
		}
	})
	t.Run("keeps the frames of a panic and survives it", func(t *testing.T) {
		w := New()
		defer w.Close()
		boom := errors.New("boom")
		w.Start(func() { throwFromHere(boom) })
		if got := w.Resume(); got != Panicked || !errors.Is(w.Panic, boom) {
			t.Fatalf("Resume = %v, panic %v", got, w.Panic)
		}
		if !strings.Contains(string(w.Panic.Stack), "throwFromHere") {
			t.Fatalf("stack lost the user's frame:\n%s", w.Panic.Stack)
		}
		w.Start(func() {})
		if got := w.Resume(); got != Finished || w.Panic != nil {
			t.Fatalf("after a panic Resume = %v, panic %v", got, w.Panic)
		}
	})
	t.Run("Goexit ends the worker and not its owner", func(t *testing.T) {
		w := New()
		deferred := make(chan bool, 1)
		w.Start(func() { defer func() { deferred <- true }(); runtime.Goexit() })
		if got := w.Resume(); got != Exited {
			t.Fatalf("Resume = %v", got)
		}
		w.Discard()
		<-deferred
	})
	t.Run("Close unwinds a suspended body", func(t *testing.T) {
		w := New()
		closed := false
		w.Start(func() {
			defer func() { closed = true }()
			if w.Suspend() {
				t.Error("Suspend reported true after Close")
			}
		})
		w.Resume()
		w.Close()
		if !closed {
			t.Fatal("deferred call did not run")
		}
	})
	t.Run("only coroutines are marked", func(t *testing.T) {
		first := Marked() // asking must not leave a mark
		if first || Marked() {
			t.Fatal("an ordinary goroutine is marked")
		}
		w := New()
		defer w.Close()
		var inside, child bool
		w.Start(func() {
			inside = Marked()
			done := make(chan struct{})
			go func() { child = Marked(); close(done) }()
			<-done
		})
		w.Resume()
		if !inside || child {
			t.Fatalf("inside %v, goroutine started inside %v", inside, child)
		}
	})
}

func throwFromHere(err error) { panic(err) }

// TestInside: unlike Marked it is not wrong about a goroutine that has set the mark
// itself, and it sees a coroutine below many calls.
func TestInside(t *testing.T) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	if !Marked() || Inside() {
		t.Fatalf("a goroutine that set the mark itself: marked %v, inside %v", Marked(), Inside())
	}
	w := New()
	defer w.Close()
	for _, depth := range []int{0, 1, 60, 64, 70, 200, 1000} {
		var inside bool
		w.Start(func() { inside = insideBelow(depth) })
		if w.Resume(); !inside {
			t.Errorf("not inside below %d calls", depth)
		}
	}
}

//go:noinline
func insideBelow(calls int) bool {
	if calls == 0 {
		return Inside()
	}
	return insideBelow(calls-1) && calls > 0
}

func BenchmarkSwitch(b *testing.B) {
	w := New()
	defer w.Close()
	w.Start(func() {
		for w.Suspend() {
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		w.Resume()
	}
}
