package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAwaitCancelAgainstContext(t *testing.T) {
	t.Run("a cancellation is not lost when a ctx of the wait's own ends in the same turn", func(t *testing.T) {
		l, _ := newLoop(t)
		var k *Task[int]
		var waited error
		own, end := context.WithCancel(l.Context(context.Background()))
		k = CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			limit, stop := context.WithCancelCause(ctx)
			defer stop(nil)
			defer context.AfterFunc(own, func() { stop(errors.New("own end")) })()
			waited = Sleep(limit, time.Hour)
			return 0, waited
		})
		runTurns(t, l, 2)
		end()
		// The own end is posted by another goroutine: wait for it, then cancel
		// behind it in the same turn, before the task goes on.
		for deadline := time.Now().Add(20 * time.Second); !l.inbox.Pending(); {
			if time.Now().After(deadline) {
				t.Fatal("the end of the ctx did not come")
			}
			tick := time.NewTimer(time.Millisecond)
			<-tick.C
		}
		must(t, l.post(func() { k.Cancel("mine") }))
		runTurns(t, l, 5)
		if !k.Done() || !k.Cancelled() || !errors.Is(waited, ErrCancelled) || !strings.Contains(waited.Error(), "mine") {
			t.Fatalf("the cancellation is lost: %v, the wait ended with %v", k, waited)
		}
	})
}

func TestAwaitFromGoroutine(t *testing.T) {
	t.Run("waits that were given up leave nothing with the future", func(t *testing.T) {
		l := runAside(t)
		made := make(chan *Future[int], 1)
		must(t, l.post(func() { made <- NewFuture[int](l) }))
		f := <-made
		for range 50 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			_, err := f.Await(ctx)
			isErr(t, err, ErrTimeout)
			cancel()
		}
		left := make(chan int, 1)
		must(t, l.post(func() {
			left <- len(f.calls.all())
			_ = f.SetResult(1)
		}))
		if n := <-left; n > 0 {
			t.Errorf("%d callbacks of waits that are over", n)
		}
	})
	t.Run("a result that came before the close is not lost to the close", func(t *testing.T) {
		for range 50 {
			l, _ := newLoop(t)
			f := NewFuture[int](l)
			got := make(chan error, 1)
			go func() {
				v, err := f.Await(context.Background())
				if err == nil && v != 7 {
					err = errors.New("another value")
				}
				got <- err
			}()
			l.CallSoon(func() {
				if len(f.calls.all()) == 0 {
					l.CallSoon(l.run.item.Run) // nobody waits yet
					return
				}
				_ = f.SetResult(7)
				l.CallSoon(l.Stop)
			})
			must(t, l.RunForever())
			must(t, l.Close())
			must(t, <-got)
		}
	})
	t.Run("a nil ctx is an error, and nothing panics", func(t *testing.T) {
		var none context.Context
		l := runAside(t)
		f := make(chan *Future[int], 1)
		must(t, l.post(func() {
			g := NewFuture[int](l)
			_ = g.SetResult(3)
			f <- g
		}))
		_, err := (<-f).Await(none)
		isErr(t, err, ErrInvalidArgument)
		isErr(t, Sleep(none, time.Millisecond), ErrInvalidArgument)
		s := NewSafeFuture[int]()
		must(t, s.SetResult(4))
		_, err = s.Wait(none)
		isErr(t, err, ErrInvalidArgument)
		_, err = SockRecv(none, 0, 1)
		isErr(t, err, ErrNoRunningLoop)
		isErr(t, CreateTask(none, "", func(context.Context) (int, error) { return 0, nil }).Exception(), ErrNoRunningLoop)
	})
}

func TestCancelOfFailedTaskIsALook(t *testing.T) {
	l, log := newLoop(t)
	k := CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { return 0, errBoom })
	runTurns(t, l, 2)
	if k.Cancel() {
		t.Error("a task that is done can be cancelled")
	}
	must(t, l.Close())
	if strings.Contains(log.String(), "never retrieved") {
		t.Errorf("reported after Cancel: %s", log)
	}
}
