package loopnode

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// spyBackend is a kernel that counts wake-ups and lets a test act between the
// sleep and the events.
type spyBackend struct {
	Backend
	wakes  atomic.Int64
	before func()
}

func (b *spyBackend) Wake() error { b.wakes.Add(1); return b.Backend.Wake() }

func (b *spyBackend) Wait(timeout time.Duration, each func(any, Events)) (int, error) {
	return b.Backend.Wait(timeout, func(owner any, ready Events) {
		if b.before != nil {
			b.before()
		}
		each(owner, ready)
	})
}

func spied(t *testing.T) (*Loop, *spyBackend) {
	t.Helper()
	real, err := newKernel()
	must(t, err)
	spy := &spyBackend{Backend: real}
	l, _ := newLoop(t, quiet, func(c *Config) { c.Backend = spy })
	return l, spy
}

func TestOrderOfATurn(t *testing.T) {
	t.Run("what was posted during the wait runs before the events of the wait", func(t *testing.T) {
		l, spy := spied(t)
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		defer w.Close()
		_, err = w.Write([]byte("x"))
		must(t, err)
		var got []string
		must(t, l.AddReader(int(r.Fd()), func() { got = append(got, "event"); l.RemoveReader(int(r.Fd())) }))
		spy.before = func() { must(t, l.post(func() { got = append(got, "post") })) }
		runTurns(t, l, 2)
		same(t, got, []string{"post", "event"})
	})
	t.Run("a loop that is awake is not woken", func(t *testing.T) {
		l, spy := spied(t)
		ran := 0
		l.CallSoon(func() {
			posted := make(chan struct{})
			go func() { // ends after its posts
				defer close(posted)
				for range 1000 {
					must(t, l.post(func() { ran++ }))
				}
			}()
			<-posted
		})
		runTurns(t, l, 3)
		if n := spy.wakes.Load(); n != 0 || ran != 1000 {
			t.Errorf("%d wake-ups for %d posts", n, ran)
		}
	})
}

func TestGoexitCostsNoPoolWorker(t *testing.T) {
	p := NewPool(1)
	for range 3 {
		must(t, p.Submit(runtime.Goexit))
	}
	ran := make(chan struct{})
	must(t, p.Submit(func() { close(ran) }))
	select {
	case <-ran:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody is left to run a function")
	}
	must(t, p.Shutdown(context.Background()))
}

// TestCloseAbandonsTasksOnTheirWay: a task that another goroutine hands over while
// the loop closes, too late for the first look, is told all the same.
func TestCloseAbandonsTasksOnTheirWay(t *testing.T) {
	bg := context.Background()
	l, log := newLoop(t, quiet)
	l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error { return nil })
	CreateTask(l.Context(bg), "first", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
	runTurns(t, l, 1)
	inside, goOn := make(chan struct{}), make(chan struct{})
	l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error {
		close(inside)
		<-goOn
		return nil
	})
	handed := make(chan *SafeFuture[int], 1)
	go func() { // ends when the task is handed over
		handed <- RunCoroutineThreadsafe(l.Ref(), "late", func(context.Context) (int, error) { return 1, nil })
	}()
	<-inside
	var f *SafeFuture[int]
	l.SetExceptionHandler(func(l *Loop, ec ExceptionContext) {
		if f == nil && strings.Contains(ec.Message, "pending") { // the first look is over
			close(goOn)
			f = <-handed
		}
		l.DefaultExceptionHandler(ec)
	})
	must(t, l.Close())
	limit, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if _, err := f.Wait(limit); !errors.Is(err, ErrLoopClosed) || !strings.Contains(log.String(), "late") {
		t.Fatal(err, log)
	}
}
