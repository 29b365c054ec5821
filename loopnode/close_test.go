package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

func TestCloseSurvives(t *testing.T) {
	t.Run("runtime.Goexit in hooks and in deferred calls of tasks does not end the closer", func(t *testing.T) {
		l, log := newLoop(t)
		var got []string
		l.OnClose(func() { got = append(got, "hook"); runtime.Goexit() })
		l.OnClose(func() { got = append(got, "panic"); panic("x") })
		for _, name := range []string{"first", "second"} {
			CreateTask(l.Context(context.Background()), name, func(ctx context.Context) (int, error) {
				defer func() { got = append(got, name); runtime.Goexit() }()
				return 0, Sleep(ctx, time.Hour)
			})
		}
		runTurns(t, l, 2)
		closed := make(chan error, 1)
		go func() {
			defer close(closed)
			closed <- l.Close()
		}()
		err, came := <-closed
		if !came || err != nil {
			t.Fatalf("Close ended its goroutine (%v) or failed: %v", !came, err)
		}
		same(t, got, []string{"hook", "panic", "first", "second"})
		if text := log.String(); !strings.Contains(text, ErrGoexit.Error()) || !strings.Contains(text, "in a close hook") {
			t.Fatal(text)
		}
	})
	t.Run("an exception handler that leaves by runtime.Goexit, or closes again, does not end the closer", func(t *testing.T) {
		l, log := newLoop(t)
		calls := 0
		l.SetExceptionHandler(func(l *Loop, _ ExceptionContext) {
			calls++
			if err := l.Close(); err != nil {
				t.Errorf("closing again: %v", err)
			}
			runtime.Goexit()
		})
		for range 2 {
			CreateTask(l.Context(context.Background()), "waits", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
			CreateTask(l.Context(context.Background()), "unseen", func(context.Context) (int, error) { return 0, errors.New("nobody looks") })
		}
		runTurns(t, l, 2)
		closed := make(chan error, 1)
		go func() {
			defer close(closed)
			closed <- l.Close()
		}()
		select {
		case err, came := <-closed:
			if !came || err != nil {
				t.Fatalf("Close ended its goroutine (%v) or failed: %v", !came, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Close does not return")
		}
		if text := log.String(); calls != 4 || strings.Count(text, "Unhandled error in exception handler") != 4 || !strings.Contains(text, ErrGoexit.Error()) {
			t.Fatalf("%d calls, %s", calls, text)
		}
	})
	t.Run("closing again from inside the close does not wait for itself", func(t *testing.T) {
		l, _ := newLoop(t)
		var again []error
		l.OnClose(func() { again = append(again, l.Close()) })
		CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			defer func() { again = append(again, l.Close()) }()
			return 0, Sleep(ctx, time.Hour)
		})
		runTurns(t, l, 2)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = l.Close()
		}()
		within(t, "Close", closed)
		same(t, again, []error{nil, nil})
	})
	t.Run("what tasks and generators throw while they unwind is reported", func(t *testing.T) {
		l, log := newLoop(t)
		CreateTask(l.Context(context.Background()), "clumsy", func(ctx context.Context) (int, error) {
			defer panic("broken cleanup")
			return 0, Sleep(ctx, time.Hour)
		})
		g := NewGenerator(func(ctx context.Context, yield func(int) error) error {
			defer panic("broken generator")
			return yield(1)
		})
		CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			_, _, err := g.Next(ctx)
			return 0, err
		})
		runTurns(t, l, 5)
		must(t, l.Close())
		for _, want := range []string{"broken cleanup", "broken generator"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is not reported: %s", want, log)
			}
		}
		runtime.KeepAlive(g)
	})
	t.Run("a close hook is not on another loop", func(t *testing.T) {
		other := runAside(t)
		l, _ := newLoop(t)
		on := true
		l.OnClose(func() { on = other.here() })
		must(t, l.Close())
		if on {
			t.Error("a hook of one loop passes for a callback of the other")
		}
	})
	t.Run("CloseReason tells hooks and everybody else why", func(t *testing.T) {
		l, _ := newLoop(t)
		if l.CloseReason() != nil {
			t.Fatal("an open loop has a reason")
		}
		burnt := errors.New("burnt down")
		var told error
		l.OnClose(func() { told = l.CloseReason() })
		must(t, l.CloseWith(burnt))
		must(t, l.CloseWith(errors.New("later")))
		for _, err := range []error{told, l.CloseReason()} {
			if !errors.Is(err, ErrLoopClosed) || !errors.Is(err, burnt) {
				t.Fatal(err)
			}
		}
		ran := false
		l.OnClose(func() { ran = true })()
		if !ran {
			t.Fatal("a hook of a closed loop did not run")
		}
	})
	t.Run("hooks come and go from any goroutine", func(t *testing.T) {
		l, _ := newLoop(t)
		var all sync.WaitGroup
		var mu sync.Mutex
		ran := 0
		for range 4 {
			all.Go(func() {
				for i := range 200 {
					remove := l.OnClose(func() { mu.Lock(); ran++; mu.Unlock() })
					if i%2 == 0 {
						remove()
					}
				}
			})
		}
		all.Wait()
		must(t, l.Close())
		if ran != 400 {
			t.Fatal(ran)
		}
	})
}

// watcher keeps what it is told about the actors it watches.
type watcher struct {
	of   []actors.Ref
	told []error
}

func (w *watcher) Receive(c *actors.Context) {
	switch m := c.Message().(type) {
	case actors.Started:
		for _, r := range w.of {
			c.Watch(r)
		}
	case actors.Terminated:
		w.told = append(w.told, m.Reason)
	}
}

type recorder struct{ got *[]string }

func (r recorder) Receive(c *actors.Context) {
	switch c.Message().(type) {
	case actors.Started:
		*r.got = append(*r.got, "started")
	case actors.Stopped:
		*r.got = append(*r.got, "stopped")
	}
}

func TestActorsOfAClosedLoop(t *testing.T) {
	sys, err := actors.New(actors.Options{Logger: testLogger(&logBuffer{})})
	if err != nil {
		t.Fatal(err)
	}
	home, _ := newLoop(t)
	dying, _ := newLoop(t)
	var got []string
	ref, err := sys.Spawn(dying, "lodger", func() actors.Actor { return recorder{&got} })
	must(t, err)
	runTurns(t, dying, 3)
	w := &watcher{of: []actors.Ref{ref}}
	_, err = sys.Spawn(home, "watcher", func() actors.Actor { return w })
	must(t, err)
	for range 5 {
		runTurns(t, home, 1)
		runTurns(t, dying, 1)
	}
	burnt := errors.New("burnt down")
	must(t, dying.CloseWith(burnt))
	same(t, got, []string{"started", "stopped"})
	runTurns(t, home, 5)
	if len(w.told) != 1 || !errors.Is(w.told[0], actors.ErrLoopDied) || !errors.Is(w.told[0], burnt) {
		t.Fatal(w.told)
	}
	if _, err := sys.Spawn(dying, "late", func() actors.Actor { return recorder{&got} }); !errors.Is(err, actors.ErrLoopDied) {
		t.Fatal(err)
	}
	must(t, home.Close())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	must(t, sys.Shutdown(ctx)) // nobody is left: it does not wait
}
