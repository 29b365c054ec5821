package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// count yields 0, 1, 2 … and tells when it is told to leave.
func count(left func(error)) *Generator[int] {
	return NewGenerator(func(ctx context.Context, yield func(int) error) error {
		for i := 0; ; i++ {
			if err := Sleep(ctx, 0); err != nil {
				left(err)
				return err
			}
			if err := yield(i); err != nil {
				_ = Sleep(ctx, 0) // a clean-up may wait
				left(err)
				return err
			}
		}
	})
}

func ignoreLeft(error) {}

// next fails the test unless there is a value.
func next[T any](t *testing.T, ctx context.Context, g *Generator[T]) T {
	t.Helper()
	v, ok, err := g.Next(ctx)
	if err != nil || !ok {
		t.Errorf("Next: %v, %v", ok, err)
	}
	return v
}

func TestGenerator(t *testing.T) {
	t.Run("values come one at a time, lazily, and end with the function", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var made []int
			g := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				for i := range 3 {
					made = append(made, i)
					if err := yield(i); err != nil {
						return err
					}
				}
				return nil
			})
			if _, err := Sleep(ctx, 0), len(made); err != 0 {
				t.Error("it began before the first Next")
			}
			for i := range 3 {
				if v := next(t, ctx, g); v != i || len(made) != i+1 {
					t.Errorf("value %d, made %v", v, made)
				}
			}
			for range 2 {
				if _, ok, err := g.Next(ctx); ok || err != nil {
					t.Error("after the end:", ok, err)
				}
			}
			return g.Close(ctx)
		})
	})
	t.Run("its error, panic or cancellation reaches who asked, once", func(t *testing.T) {
		boom := errors.New("boom")
		for name, fn := range map[string]func(context.Context, func(int) error) error{
			"error": func(context.Context, func(int) error) error { return boom },
			"panic": func(context.Context, func(int) error) error { panic(boom) },
		} {
			inTask(t, func(ctx context.Context, l *Loop) error {
				g := NewGenerator(fn)
				_, ok, err := g.Next(ctx)
				if ok || !errors.Is(err, boom) {
					t.Error(name, ok, err)
				}
				if p := (*guard.Panic)(nil); name == "panic" && !errors.As(err, &p) {
					t.Error("no stack")
				}
				if _, ok, err := g.Next(ctx); ok || err != nil {
					t.Error(name, "again:", ok, err)
				}
				return nil
			})
		}
	})
	t.Run("cancelling the consumer cancels the generator's wait", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var seen error
			g := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				seen = Sleep(ctx, time.Hour)
				return seen
			})
			k := CreateTask(ctx, "consumer", func(ctx context.Context) (int, error) {
				v, _, err := g.Next(ctx)
				return v, err
			})
			for range 5 {
				_ = Sleep(ctx, 0)
			}
			if _, _, err := g.Next(ctx); !errors.Is(err, ErrBusy) {
				t.Error("two at once:", err)
			}
			k.Cancel()
			if _, err := k.Await(ctx); !errors.Is(err, ErrCancelled) || !errors.Is(seen, ErrCancelled) {
				t.Error(err, seen)
			}
			return nil
		})
	})
	t.Run("a ctx that ends ends the wait of the body", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var seen error
			g := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				seen = Sleep(ctx, time.Hour) // goes on
				return yield(7)
			})
			short, cancel := context.WithCancel(ctx)
			l.CallLater(time.Millisecond, cancel)
			if v, ok, err := g.Next(short); v != 7 || !ok || err != nil { // as in asyncio, what the body makes of it counts
				t.Error(v, ok, err)
			}
			if !errors.Is(seen, ErrCancelled) {
				t.Error("the body's wait ended with", seen)
			}
			return g.Close(ctx)
		})
	})
	t.Run("leaving a range closes the generator", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var left error
			for v, err := range count(func(err error) { left = err }).All(ctx) {
				if err != nil || v == 2 {
					break
				}
			}
			if !errors.Is(left, ErrGeneratorExit) {
				t.Error(left)
			}
			return nil
		})
	})
	t.Run("a generator that goes on yielding is told off", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			g := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				_ = yield(1)
				return yield(2)
			})
			next(t, ctx, g)
			if err := g.Close(ctx); !errors.Is(err, ErrInvalidState) {
				t.Error(err)
			}
			endless := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				for {
					_ = yield(1)
				}
			})
			next(t, ctx, endless)
			if err := endless.Close(ctx); !errors.Is(err, ErrInvalidState) {
				t.Error(err)
			}
			return nil
		})
	})
	t.Run("used outside of its task or loop it refuses", func(t *testing.T) {
		g := count(ignoreLeft)
		if _, _, err := g.Next(context.Background()); !errors.Is(err, ErrNoRunningLoop) {
			t.Error(err)
		}
		inTask(t, func(ctx context.Context, l *Loop) error { next(t, ctx, g); return nil })
		inTask(t, func(ctx context.Context, l *Loop) error {
			if _, _, err := g.Next(ctx); !errors.Is(err, ErrWrongLoop) {
				t.Error(err)
			}
			if _, _, err := NewGenerator[int](nil).Next(ctx); !errors.Is(err, ErrInvalidArgument) {
				t.Error(err)
			}
			return nil
		})
	})
}

func TestShutdownAsyncgens(t *testing.T) {
	t.Run("LOOP-22 all started generators are closed at once and their clean-up is awaited", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var got []string
			gate := NewFuture[int](l)
			slow := func(name string) *Generator[int] {
				return NewGenerator(func(ctx context.Context, yield func(int) error) error {
					defer func() {
						got = append(got, name+" begins")
						_, _ = gate.Await(ctx)
						got = append(got, name+" ends")
					}()
					return yield(1)
				})
			}
			a, b, unused := slow("a"), slow("b"), slow("unused")
			next(t, ctx, a)
			next(t, ctx, b)
			l.CallLater(time.Millisecond, func() { _ = gate.SetResult(0) })
			if err := l.ShutdownAsyncgens(ctx); err != nil {
				return err
			}
			same(t, got, []string{"a begins", "b begins", "a ends", "b ends"})
			if _, ok, err := a.Next(ctx); ok || err != nil {
				t.Error(ok, err)
			}
			runtime.KeepAlive(unused)
			return l.ShutdownAsyncgens(ctx) // twice is harmless
		})
	})
	t.Run("LOOP-22 Run closes generators after the last task", func(t *testing.T) {
		var got []string
		must(t, Run(context.Background(), func(ctx context.Context) error {
			g := count(func(err error) {
				if errors.Is(err, ErrGeneratorExit) {
					got = append(got, "generator")
				}
			})
			CreateTask(ctx, "holder", func(ctx context.Context) (int, error) {
				next(t, ctx, g)
				err := Sleep(ctx, time.Hour)
				got = append(got, "task")
				runtime.KeepAlive(g)
				return 0, err
			})
			for range 10 {
				_ = Sleep(ctx, 0)
			}
			return nil
		}, WithConfig(Config{Logger: testLogger(&logBuffer{})})))
		same(t, got, []string{"task", "generator"})
	})
	t.Run("LOOP-23 an error while closing goes to the handler and stops nobody", func(t *testing.T) {
		l, _ := newLoop(t)
		var reports []ExceptionContext
		l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) { reports = append(reports, ec) })
		boom := errors.New("cleanup failed")
		closed := 0
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			bad := NewGenerator(func(ctx context.Context, yield func(int) error) error {
				_ = yield(1)
				return boom
			})
			good := count(func(error) { closed++ })
			next(t, ctx, bad)
			next(t, ctx, good)
			err := l.ShutdownAsyncgens(ctx)
			runtime.KeepAlive(bad)
			runtime.KeepAlive(good)
			return 0, err
		}))
		must(t, err)
		if len(reports) != 1 || !errors.Is(reports[0].Exception, boom) || reports[0].Generator == nil ||
			!strings.Contains(reports[0].Message, "closing of asynchronous generator") || !strings.Contains(reports[0].String(), "asyncgen=") {
			t.Fatalf("%v", reports)
		}
		if closed != 1 {
			t.Fatal("the other generator was not closed")
		}
	})
	t.Run("LOOP-24 the first iteration after the shutdown only warns", func(t *testing.T) {
		l, log := newLoop(t)
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			if err := l.ShutdownAsyncgens(ctx); err != nil {
				return 0, err
			}
			g := count(ignoreLeft)
			next(t, ctx, g)
			return 0, g.Close(ctx)
		}))
		must(t, err)
		if !strings.Contains(log.String(), "after ShutdownAsyncgens") {
			t.Fatal(log)
		}
	})
	t.Run("LOOP-24 a generator that is dropped is closed on its loop", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var left error
			onTheLoop := false
			func() {
				g := count(func(err error) { left, onTheLoop = err, l.here() })
				next(t, ctx, g)
			}()
			for deadline := time.Now().Add(20 * time.Second); left == nil && time.Now().Before(deadline); {
				runtime.GC()
				_ = Sleep(ctx, time.Millisecond)
			}
			if !errors.Is(left, ErrGeneratorExit) || !onTheLoop || len(l.gens.live) != 0 {
				t.Error(left, onTheLoop, len(l.gens.live))
			}
			return nil
		})
	})
	t.Run("LOOP-24 of a closed loop nothing is scheduled; its generators are unwound", func(t *testing.T) {
		l, log := newLoop(t)
		var left error
		g := count(func(err error) { left = err })
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			return next(t, ctx, g), nil
		}))
		must(t, err)
		must(t, l.Close())
		if !errors.Is(left, ErrLoopClosed) || !strings.Contains(log.String(), "not closed before its loop") {
			t.Fatal(left, log)
		}
		g.core.collected() // what the collector will do
		if l.core.Ready.Len() != 0 || g.core.state != exhausted {
			t.Fatal("something was scheduled")
		}
	})
}
