package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

type body = func(ctx context.Context, yield func(int) error) error

func TestGeneratorBody(t *testing.T) {
	t.Run("the end of the caller's ctx after Next ends nothing that the body derived", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				own, cancel := context.WithCancel(ctx)
				defer cancel()
				for i := 0; ; i++ {
					if err := Sleep(own, time.Millisecond); err != nil {
						return err
					}
					if err := yield(i); err != nil {
						return err
					}
				}
			}))
			for i := range 3 {
				if v, err := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
					limited, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					v, _, err := g.Next(limited)
					return v, err
				}).Await(ctx); v != i || err != nil {
					t.Fatal(v, err)
				}
			}
			return g.Close(ctx)
		})
	})
	t.Run("a cancellation of the caller closes the body's Done, and withdrawing it opens it again", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var before, during, after error
			g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				before = ctx.Err()
				_ = Sleep(ctx, time.Hour)
				during = ctx.Err()
				k, _ := CurrentTask(ctx)
				k.Uncancel()
				after = ctx.Err()
				return Sleep(ctx, 0)
			}))
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				v, _, err := g.Next(ctx)
				return v, err
			})
			_ = Sleep(ctx, 0)
			k.Cancel()
			if _, err := k.Await(ctx); err != nil {
				t.Error("the body let nothing through:", err)
			}
			if before != nil || during != context.Canceled || after != nil {
				t.Error(before, during, after)
			}
			return nil
		})
	})
	t.Run("the end of the ctx given to Next closes the body's Done", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				if err := WaitDone(ctx); !errors.Is(err, ErrCancelled) || ctx.Err() == nil {
					t.Error(err, ctx.Err())
				}
				<-ctx.Done() // closed, or about to be
				if err := yield(1); err != nil {
					return err
				}
				if ctx.Err() != nil {
					t.Error("at the next Next:", ctx.Err())
				}
				return yield(2)
			}))
			short, cancel := context.WithCancel(ctx)
			l.CallLater(time.Millisecond, cancel)
			next(t, short, g)
			next(t, ctx, g)
			return g.Close(ctx)
		})
	})
	t.Run("yield is for the body alone", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var yieldOf func(int) error
			g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				yieldOf = yield
				inner := NewGenerator(body(func(context.Context, func(int) error) error { return yield(9) }))
				if _, ok, err := inner.Next(ctx); ok || !errors.Is(err, ErrInvalidState) {
					t.Error("from another body:", ok, err)
				}
				_, err := CreateTask(ctx, "", func(context.Context) (int, error) { return 0, yield(9) }).Await(ctx)
				if !errors.Is(err, ErrWouldBlock) {
					t.Error("from another task:", err)
				}
				_, err = RunInExecutor(ctx, nil, func() (int, error) { return 0, yield(9) }).Await(ctx)
				if !errors.Is(err, ErrWrongGoroutine) {
					t.Error("from another goroutine:", err)
				}
				return yield(1)
			}))
			if v := next(t, ctx, g); v != 1 {
				t.Error(v)
			}
			if err := yieldOf(2); !errors.Is(err, ErrInvalidState) {
				t.Error("between two Nexts:", err)
			}
			if err := g.Close(ctx); err != nil {
				return err
			}
			if err := yieldOf(2); !errors.Is(err, ErrInvalidState) {
				t.Error("after the end:", err)
			}
			return nil
		})
	})
	t.Run("a Goexit in the body ends the body and not the caller", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			g := NewGenerator(body(func(context.Context, func(int) error) error { runtime.Goexit(); return nil }))
			if _, ok, err := g.Next(ctx); ok || !errors.Is(err, ErrGoexit) {
				t.Error(ok, err)
			}
			return Sleep(ctx, 0)
		})
	})
	t.Run("calling itself is refused", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var g *Generator[int]
			g = NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				_, _, err := g.Next(ctx)
				if cerr := g.Close(ctx); !errors.Is(err, ErrBusy) || !errors.Is(cerr, ErrBusy) {
					t.Error(err, cerr)
				}
				return nil
			}))
			_, _, err := g.Next(ctx)
			return err
		})
	})
	t.Run("a task that waits inside a body shows the whole way to the wait", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			waiting := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return waitInBody(ctx) })
			_ = Sleep(ctx, 0)
			var names []string
			for _, f := range waiting.Stack(0) {
				names = append(names, f.Function[strings.LastIndexByte(f.Function, '/')+1:])
			}
			got := strings.Join(names, " ")
			at, bt := strings.Index(got, "loopnode.waitInBody "), strings.Index(got, "loopnode.waitInBody.func")
			if at < 0 || bt < at || strings.Contains(got, "coro") || strings.Contains(got, "iter.") {
				t.Error(got)
			}
			waiting.Cancel()
			_, err := waiting.Await(ctx)
			if !errors.Is(err, ErrCancelled) {
				t.Error("after its stack was asked for it was cancelled with", err)
			}
			return nil
		})
	})
	t.Run("on one of two loops the body is on its own", func(t *testing.T) {
		runAside(t)
		inTask(t, func(ctx context.Context, l *Loop) error {
			g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
				if !l.here() {
					t.Error("at first")
				}
				_ = Sleep(ctx, 0)
				if !l.here() {
					t.Error("after a wait")
				}
				err := yield(1)
				if !l.here() {
					t.Error("after a yield")
				}
				return err
			}))
			next(t, ctx, g)
			if !l.here() {
				t.Error("in the task again")
			}
			return g.Close(ctx)
		})
	})
	t.Run("a loop that closes while a body waits lets body and caller leave", func(t *testing.T) {
		l, _ := newLoop(t)
		var inBody, inCaller error
		g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
			inBody = Sleep(ctx, time.Hour)
			return inBody
		}))
		CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			_, _, inCaller = g.Next(ctx)
			return 0, inCaller
		})
		runTurns(t, l, 3)
		must(t, l.Close())
		if !errors.Is(inBody, ErrLoopClosed) || !errors.Is(inCaller, ErrLoopClosed) {
			t.Error(inBody, inCaller)
		}
	})
	t.Run("a body that ignores the end of its loop does not hang the close", func(t *testing.T) {
		l, _ := newLoop(t)
		yields := 0
		g := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
			for {
				_ = yield(1)
				yields++
			}
		}))
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			return next(t, ctx, g), nil
		}))
		must(t, err)
		must(t, l.Close())
		if yields == 0 || g.core.state != exhausted {
			t.Error(yields, g)
		}
	})
}

// waitInBody waits inside the body of a generator.
func waitInBody(ctx context.Context) (int, error) {
	v, _, err := NewGenerator(body(func(ctx context.Context, yield func(int) error) error {
		return Sleep(ctx, time.Hour)
	})).Next(ctx)
	return v, err
}
