package loopnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// piece is a loopaccess.Work of functions.
type piece struct {
	run   func(context.Context) error
	ended func(error)
}

func (p piece) Run(ctx context.Context) error { return p.run(ctx) }
func (p piece) Ended(err error)               { p.ended(err) }
func (p piece) Func() any                     { return shownBody }

func shownBody() {}

func TestWorkIsATaskLikeAnyOther(t *testing.T) {
	boom := errors.New("boom")
	for _, factory := range []TaskFactory{nil, func(*Loop, *TaskSpec) error { return nil }} {
		t.Run(fmt.Sprintf("factory %v", factory != nil), func(t *testing.T) {
			l, _ := newLoop(t)
			l.SetTaskFactory(factory)
			var trace []string
			note := func(s string) { trace = append(trace, s) }
			start := func(name string, body func(context.Context) error) loopaccess.Task {
				task, err := loopaccess.Of(l).Start(l.ctx, name, piece{body, func(err error) { note(fmt.Sprintf("%s ended: %v", name, err)) }})
				if err != nil {
					t.Error(err)
				}
				return task
			}
			l.CallSoon(func() {
				_ = l.post(func() { note("posted before") })
				start("a", func(ctx context.Context) error {
					task, ok := CurrentTask(ctx)
					if !ok || task.Name() != "a" || !strings.Contains(task.String(), "shownBody") {
						t.Errorf("the task is %v", task)
					}
					note("a runs")
					return Sleep(ctx, 0)
				})
				start("b", func(context.Context) error { return boom })
				start("c", func(context.Context) error { panic(boom) })
				start("d", func(context.Context) error { note("d runs"); return nil }).Cancel("no more")
				start("e", func(ctx context.Context) error { return Sleep(ctx, 1<<40) }).Cancel("at once")
				if got := len(AllTasks(l)); got != 5 {
					t.Errorf("%d tasks", got)
				}
				l.CallSoon(func() { note("called behind") })
			})
			for range 4 {
				if err := l.RunOnce(0); err != nil {
					t.Fatal(err)
				}
			}
			got := strings.Join(trace, "\n")
			for _, want := range []string{"posted before\na runs\nb ended: boom", "d ended: " + ErrCancelled.Error(), "e ended: " + ErrCancelled.Error(), "a ended: <nil>"} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			if strings.Contains(got, "d runs") || strings.Count(got, "ended") != 5 || !strings.Contains(got, "c ended: ") {
				t.Errorf("got\n%s", got)
			}
			if len(l.lost) != 0 {
				t.Error("a failure that was told counts as one that nobody has looked at")
			}
		})
	}
}

func TestWorkThatCannotStartIsToldAtOnce(t *testing.T) {
	l, _ := newLoop(t)
	never := piece{func(context.Context) error { t.Error("it ran"); return nil }, func(error) { t.Error("its end was told") }}
	no := errors.New("no")
	l.SetTaskFactory(func(*Loop, *TaskSpec) error { return no })
	if _, err := loopaccess.Of(l).Start(l.ctx, "x", never); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	l.SetTaskFactory(nil)
	// A task that is abandoned by its loop tells nobody.
	waits := piece{func(ctx context.Context) error { return Sleep(ctx, 1<<40) }, never.ended}
	if _, err := loopaccess.Of(l).Start(l.ctx, "y", waits); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := l.RunOnce(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := loopaccess.Of(l).Start(l.ctx, "z", never); !errors.Is(err, ErrLoopClosed) {
		t.Errorf("got %v", err)
	}
}

func TestStartingWorkCostsOneAllocation(t *testing.T) {
	l, _ := newLoop(t)
	var w loopaccess.Work = &piece{func(context.Context) error { return nil }, func(error) {}}
	turn := func() {
		if _, err := loopaccess.Of(l).Start(l.ctx, "w", w); err != nil {
			t.Error(err)
		}
		if err := l.RunOnce(0); err != nil {
			t.Error(err)
		}
	}
	turn()
	if n := testing.AllocsPerRun(100, turn) - testing.AllocsPerRun(100, func() { _ = l.RunOnce(0) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestADroppedHandleCostsNothing: a callback whose handle nobody keeps is not allocated.
func TestADroppedHandleCostsNothing(t *testing.T) {
	l, _ := newLoop(t)
	fn := func() {}
	if n := testing.AllocsPerRun(1000, func() {
		l.CallSoon(fn)
		l.run.left = l.digest()
		l.runBatch()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
