package loopnode

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestQueuedTasksHoldNoCoroutine: a task has a coroutine from its first step on,
// so a burst of tasks that do not wait runs on one.
func TestQueuedTasksHoldNoCoroutine(t *testing.T) {
	const tasks = 20_000
	for name, here := range map[string]bool{"created on the loop": true, "created elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			l, _ := newLoop(t)
			before, most, ran := runtime.NumGoroutine(), 0, 0
			create := func() {
				for range tasks {
					CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) {
						if ran++; ran%1000 == 0 {
							most = max(most, runtime.NumGoroutine())
						}
						return 0, nil
					})
				}
			}
			if here {
				l.CallSoon(create)
			} else {
				create()
			}
			runTurns(t, l, 1)
			most = max(most, runtime.NumGoroutine())
			runTurns(t, l, 2)
			if ran != tasks || most > before+100 {
				t.Errorf("%d of %d tasks ran, with up to %d goroutines more", ran, tasks, most-before)
			}
		})
	}
	t.Run("tasks that wait hold one each, and give it back", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			const waiting = 100
			var ks []*Task[int]
			before := runtime.NumGoroutine()
			for range waiting {
				ks = append(ks, CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) }))
			}
			pass(t, ctx, 1)
			// Goroutines of earlier tests may end meanwhile; the exact number is checked below.
			if n := runtime.NumGoroutine() - before; n < waiting/2 {
				t.Errorf("%d coroutines for %d tasks that wait", n, waiting)
			}
			for _, k := range ks {
				k.Cancel()
			}
			pass(t, ctx, 3)
			if n := len(l.left.idle); n != waiting {
				t.Errorf("%d coroutines are idle, want %d", n, waiting)
			}
			return nil
		})
	})
}
