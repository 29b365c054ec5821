package loopnode

import (
	"context"
	"errors"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRefusesNil(t *testing.T) {
	p := NewPool(1)
	isErr(t, p.Submit(nil), ErrInvalidArgument)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(t, p.Shutdown(ctx))
}

func TestReplacedDefaultPoolEnds(t *testing.T) {
	inTask(t, func(ctx context.Context, l *Loop) error {
		if _, err := RunInExecutor(ctx, nil, func() (int, error) { return 1, nil }).Await(ctx); err != nil {
			return err
		}
		own := l.pools.def.(*Pool)
		mine := NewPool(1)
		must(t, l.SetDefaultExecutor(mine))
		limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := ToThread(ctx, func(context.Context) (int, error) {
			select {
			case <-own.empty:
				return 0, nil
			case <-limit.Done():
				return 0, limit.Err()
			}
		}); err != nil {
			t.Error("the pool that the loop had made lives on: ", err)
			own.stop()
		}
		return nil
	})
}

func TestExecutors(t *testing.T) {
	t.Run("EXE-01 a function runs elsewhere and its outcome comes back", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			v, err := RunInExecutor(ctx, nil, func() (bool, error) { return onLoop(), nil }).Await(ctx)
			if v {
				t.Error("ran on the loop")
			}
			boom := errors.New("boom")
			if _, err := RunInExecutor(ctx, nil, func() (int, error) { return 0, boom }).Await(ctx); err != boom {
				t.Error(err)
			}
			return err
		})
	})
	t.Run("EXE-02 the default pool is bounded", func(t *testing.T) {
		l, _ := newLoop(t, func(c *Config) { c.MaxWorkers = 2 })
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			var now, most atomic.Int32
			gate := make(chan struct{})
			var all []*Future[int]
			for range 6 {
				all = append(all, RunInExecutor(ctx, nil, func() (int, error) {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					<-gate
					now.Add(-1)
					return 0, nil
				}))
			}
			spinUntil(func() bool { return now.Load() == 2 })
			close(gate)
			for _, f := range all {
				if _, err := f.Await(ctx); err != nil {
					return 0, err
				}
			}
			if most.Load() != 2 {
				t.Errorf("%d at once", most.Load())
			}
			return 0, nil
		}))
		must(t, err)
	})
	t.Run("EXE-04 an executor of one's own outlives the loop", func(t *testing.T) {
		pool := NewPool(1)
		l, _ := newLoop(t)
		_, err := RunUntilComplete(l, RunInExecutor(l.Context(context.Background()), pool, func() (int, error) { return 1, nil }))
		must(t, err)
		must(t, l.Close())
		done := make(chan struct{})
		must(t, pool.Submit(func() { close(done) }))
		<-done
		must(t, pool.Shutdown(context.Background()))
		if err := pool.Submit(func() {}); !errors.Is(err, ErrShutdown) {
			t.Fatal(err)
		}
	})
	t.Run("EXE-05 EXE-06 cancelling prevents a job that waits and lets one that runs go on", func(t *testing.T) {
		pool := NewPool(1)
		l, log := newLoop(t)
		started, gate := make(chan struct{}), make(chan struct{})
		var second atomic.Bool
		ctx := l.Context(context.Background())
		a := RunInExecutor(ctx, pool, func() (int, error) { close(started); <-gate; return 1, errors.New("late") })
		b := RunInExecutor(ctx, pool, func() (int, error) { second.Store(true); return 2, nil })
		<-started
		if !a.Cancel() || !b.Cancel() {
			t.Fatal("not cancelled")
		}
		runTurns(t, l, 2)
		close(gate)
		must(t, pool.Shutdown(context.Background()))
		runTurns(t, l, 2)
		if second.Load() || !a.Cancelled() || !b.Cancelled() || log.String() != "" {
			t.Fatal(second.Load(), log)
		}
	})
	t.Run("EXE-05 also in the turn of the Cancel, whatever a free worker does meanwhile", func(t *testing.T) {
		pool := NewPool(1)
		l, _ := newLoop(t)
		gate, ran := make(chan struct{}), false
		must(t, pool.Submit(func() { <-gate }))
		f := RunInExecutor(l.Context(context.Background()), pool, func() (int, error) { ran = true; return 0, nil })
		f.Cancel()
		close(gate)
		must(t, pool.Shutdown(context.Background())) // before the loop runs a turn
		if ran || !f.Cancelled() {
			t.Error("ran", ran, "cancelled", f.Cancelled())
		}
	})
	t.Run("the library's own work has places of its own beside users' functions that wait", func(t *testing.T) {
		l, _ := newLoop(t, func(c *Config) { c.MaxWorkers = 1 })
		gate := make(chan struct{})
		defer close(gate)
		ctx := l.Context(context.Background())
		RunInExecutor(ctx, nil, func() (int, error) { <-gate; return 0, nil })
		own, _ := loopaccess.Of(l).ReservedExecutor("lookup").(Executor)
		f := RunInExecutor(ctx, own, func() (int, error) { return 5, nil })
		v, err := RunUntilComplete(l, f)
		if own == nil || v != 5 || err != nil {
			t.Error(own, v, err)
		}
		must(t, l.SetDefaultExecutor(refusingExecutor{}))
		if loopaccess.Of(l).ReservedExecutor("lookup") != nil {
			t.Error("an executor of the user's is passed over")
		}
	})
	t.Run("EXE-07 a job that ends after the loop touches nothing", func(t *testing.T) {
		pool := NewPool(1)
		l, log := newLoop(t)
		gate := make(chan struct{})
		RunInExecutor(l.Context(context.Background()), pool, func() (int, error) { <-gate; return 1, nil })
		must(t, l.Close())
		close(gate)
		must(t, pool.Shutdown(context.Background()))
		if log.String() != "" {
			t.Fatal(log)
		}
	})
	t.Run("EXE-08 a job that panics or exits still completes its future", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			_, err := RunInExecutor(ctx, nil, func() (int, error) { explode(); return 0, nil }).Await(ctx)
			if err == nil || !strings.Contains(err.Error(), "boom") {
				t.Error(err)
			}
			if _, err := RunInExecutor(ctx, nil, func() (int, error) { runtime.Goexit(); return 0, nil }).Await(ctx); !errors.Is(err, ErrGoexit) {
				t.Error(err)
			}
			v, err := RunInExecutor(ctx, nil, func() (int, error) { return 3, nil }).Await(ctx)
			if v != 3 {
				t.Error(v)
			}
			must(t, err)
			one := NewPool(1) // its only goroutine is replaced
			if _, err := RunInExecutor(ctx, one, func() (int, error) { runtime.Goexit(); return 0, nil }).Await(ctx); !errors.Is(err, ErrGoexit) {
				t.Error(err)
			}
			next := RunInExecutor(ctx, one, func() (int, error) { return 4, nil })
			if v, err := WaitForFuture(ctx, next, 20*time.Second); v != 4 || err != nil {
				t.Error("the pool has lost its goroutine:", v, err)
				return nil // its Shutdown would wait for ever
			}
			return one.Shutdown(ctx)
		})
	})
	t.Run("EXE-10 EXE-11 shutting down waits for the jobs and then refuses", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			must(t, l.SetDefaultExecutor(NewPool(1)))
			var n atomic.Int32
			for range 3 {
				RunInExecutor(ctx, nil, func() (int, error) { return int(n.Add(1)), nil })
			}
			must(t, l.ShutdownDefaultExecutor(ctx))
			must(t, l.ShutdownDefaultExecutor(ctx))
			if n.Load() != 3 {
				t.Errorf("%d of 3 jobs ran", n.Load())
			}
			if err := RunInExecutor(ctx, nil, func() (int, error) { return 0, nil }).Exception(); !errors.Is(err, ErrShutdown) {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("EXE-12 shutting down gives up after its time and says so", func(t *testing.T) {
		l, log := newLoop(t)
		gate := make(chan struct{})
		pool := NewPool(1)
		must(t, l.SetDefaultExecutor(pool))
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			RunInExecutor(ctx, nil, func() (int, error) { <-gate; return 0, nil })
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return 0, l.ShutdownDefaultExecutor(short)
		}))
		must(t, err)
		if !strings.Contains(log.String(), "did not finish in time") {
			t.Fatal(log)
		}
		close(gate)
		must(t, pool.Shutdown(context.Background()))
	})
	t.Run("many goroutines may submit to a pool", func(t *testing.T) {
		pool := NewPool(4)
		var n atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 200 {
					if pool.Submit(func() { n.Add(1) }) != nil {
						t.Error("refused")
					}
				}
			})
		}
		wg.Wait()
		must(t, pool.Shutdown(context.Background()))
		if n.Load() != 1600 {
			t.Fatal(n.Load())
		}
	})
}

func TestPoolGrows(t *testing.T) {
	t.Run("a function does not wait behind a long one while the pool may grow", func(t *testing.T) {
		for range 100 {
			p := NewPool(2)
			rest := make(chan struct{})
			must(t, p.Submit(func() { close(rest) }))
			<-rest // its goroutine is idle, or about to be
			long, short := make(chan struct{}), make(chan struct{})
			must(t, p.Submit(func() { <-long }))
			must(t, p.Submit(func() { close(short) }))
			<-short
			close(long)
			must(t, p.Shutdown(context.Background()))
		}
	})
}

type refusingExecutor struct{}

func (refusingExecutor) Submit(func()) error            { return ErrShutdown }
func (refusingExecutor) Shutdown(context.Context) error { return nil }
