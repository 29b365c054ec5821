package loopnode

import (
	"context"
	"testing"
	"time"
)

// A task that is alone gives up its turn without being suspended. Whatever
// could notice must still get its turn in between.
func TestYieldAlone(t *testing.T) {
	yields := func(ctx context.Context, until *bool) (n int) {
		for !*until && n < 1_000_000 {
			_ = Sleep(ctx, 0)
			n++
		}
		return n
	}
	for name, begin := range map[string]func(ctx context.Context, l *Loop, noticed *bool){
		"a callback": func(_ context.Context, l *Loop, noticed *bool) { l.CallSoon(func() { *noticed = true }) },
		"a task": func(ctx context.Context, _ *Loop, noticed *bool) {
			CreateTask(ctx, "", func(context.Context) (int, error) { *noticed = true; return 0, nil })
		},
		"a post": func(_ context.Context, l *Loop, noticed *bool) { _ = l.post(func() { *noticed = true }) },
	} {
		t.Run("between two yields comes "+name, func(t *testing.T) {
			inTask(t, func(ctx context.Context, l *Loop) error {
				noticed := false
				_ = Sleep(ctx, 0)
				begin(ctx, l, &noticed)
				if n := yields(ctx, &noticed); n != 1 {
					t.Errorf("after %d yields", n)
				}
				return nil
			})
		})
	}
	t.Run("timers come, and so does what other goroutines post", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			noticed := false
			l.CallLater(20*time.Millisecond, func() { noticed = true })
			for !noticed {
				_ = Sleep(ctx, 0)
			}
			noticed = false
			time.AfterFunc(20*time.Millisecond, func() { _ = l.post(func() { noticed = true }) })
			for !noticed {
				_ = Sleep(ctx, 0)
			}
			return nil
		})
	})
	t.Run("a cancellation by itself is delivered", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				me, _ := CurrentTask(ctx)
				me.Cancel()
				return 0, Sleep(ctx, 0)
			})
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			return nil
		})
	})
	t.Run("Stop ends the run, and a run of one turn is one turn long", func(t *testing.T) {
		l, _ := newLoop(t)
		steps := 0
		k := CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			for steps < 3 {
				steps++
				if err := Sleep(ctx, 0); err != nil {
					return 0, err
				}
			}
			l.Stop()
			steps++
			return 0, Sleep(ctx, 0)
		})
		for want := 1; want <= 3; want++ {
			must(t, l.RunOnce(0))
			if steps != want {
				t.Fatalf("turn %d: %d steps", want, steps)
			}
		}
		must(t, l.RunForever()) // Stop is honoured although nobody else wants to run
		if steps != 4 || k.Done() {
			t.Fatalf("%d steps, done %v", steps, k.Done())
		}
		must(t, l.RunOnce(0))
		if !k.Done() {
			t.Fatal("it did not go on")
		}
	})
	t.Run("an eager step gives up its turn to the callback that made it", func(t *testing.T) {
		l, _ := newLoop(t)
		var got []string
		l.CallSoon(func() {
			ctx := l.Context(context.Background())
			for _, name := range []string{"a", "b"} {
				CreateTask(ctx, name, func(ctx context.Context) (int, error) {
					got = append(got, name+" begins")
					err := Sleep(ctx, 0)
					got = append(got, name+" goes on")
					return 0, err
				}, EagerStart(true))
			}
			if l.current.Load() != nil {
				t.Error("a task is current in a callback")
			}
			got = append(got, "callback ends")
			l.CallLater(time.Millisecond, l.Stop) // a timer now: before it nothing was ready
		})
		must(t, l.RunForever())
		same(t, got, []string{"a begins", "b begins", "callback ends", "a goes on", "b goes on"})
	})
	t.Run("an eager step gives up its turn to its creator", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, 0) }, EagerStart(true))
			if k.Done() {
				t.Error("the creator had to wait")
			}
			_, err := k.Await(ctx)
			return err
		})
	})
}
