package loopnode

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// runAside runs a fresh loop on a goroutine of its own until the test ends.
func runAside(t *testing.T, change ...func(*Config)) *Loop {
	t.Helper()
	l, _ := newLoop(t, change...)
	over := make(chan error, 1)
	go func() { over <- l.RunForever() }()
	runs := make(chan struct{})
	must(t, l.post(func() { close(runs) }))
	within(t, "start of the loop", runs)
	t.Cleanup(func() {
		must(t, l.Ref().Stop())
		must(t, <-over)
	})
	return l
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing for 20 seconds", what)
	}
}

// Two loops create tasks on each other and on themselves; what they count has
// no lock, so the race detector sees a task that runs on the wrong goroutine.
func TestTasksCreatedFromAnotherLoop(t *testing.T) {
	a, b := runAside(t), runAside(t)
	const each = 300
	counts := map[*Loop]*int{a: new(int), b: new(int)}
	var left atomic.Int64
	left.Store(4 * each)
	done := make(chan struct{})
	count := func(l *Loop) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			if !l.here() {
				t.Errorf("a task of %s runs elsewhere", l.Name())
			}
			*counts[l]++
			if err := Sleep(ctx, 0); err != nil {
				return 0, err
			}
			*counts[l]++
			if left.Add(-1) == 0 {
				close(done)
			}
			return 0, nil
		}
	}
	create := func(on, other *Loop) {
		CreateTask(on.Context(context.Background()), "creator", func(ctx context.Context) (int, error) {
			foreign := other.Context(context.Background())
			for range each {
				CreateTask(ctx, "", count(on))
				CreateTask(foreign, "", count(other))
				if err := Sleep(ctx, 0); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
	}
	create(a, b)
	create(b, a)
	within(t, "tasks of two loops", done)
	for _, l := range []*Loop{a, b} {
		n := make(chan int, 1)
		must(t, l.post(func() { n <- *counts[l] }))
		if got := <-n; got != 4*each {
			t.Errorf("%s counted %d steps, want %d", l.Name(), got, 4*each)
		}
	}
}

// A running task's ctx, used in a callback of another loop.
func TestTaskOfARunningTaskFromAnotherLoop(t *testing.T) {
	a, b := runAside(t), runAside(t)
	ended := make(chan struct{})
	CreateTask(a.Context(context.Background()), "spinner", func(ctx context.Context) (int, error) {
		created := make(chan struct{})
		must(t, b.post(func() {
			CreateTask(ctx, "from b", func(context.Context) (int, error) {
				if !a.here() || b.here() {
					t.Error("the task runs on the loop that created it")
				}
				close(ended)
				return 0, nil
			})
			close(created)
		}))
		<-created // a is busy with this task all the time
		return 0, nil
	})
	within(t, "task", ended)
}

func TestHere(t *testing.T) {
	l := runAside(t)
	if l.here() {
		t.Error("an ordinary goroutine is on the loop")
	}
	ask := func(on, of *Loop) bool {
		got := make(chan bool, 2)
		must(t, on.post(func() { got <- of.here() }))
		CreateTask(on.Context(context.Background()), "", func(context.Context) (int, error) { got <- of.here(); return 0, nil })
		callback, task := <-got, <-got
		if callback != task {
			t.Errorf("callback says %v, task says %v", callback, task)
		}
		return task
	}
	if !ask(l, l) {
		t.Error("alone: not on the loop")
	}
	other := runAside(t)
	if !ask(l, l) || !ask(other, other) || ask(l, other) || ask(other, l) {
		t.Error("two loops are mixed up")
	}
	idle, _ := newLoop(t)
	if ask(l, idle) {
		t.Error("a loop that does not run was found")
	}
}

func TestTasksOnTheirWayWhenTheLoopCloses(t *testing.T) {
	l, log := newLoop(t)
	k := CreateTask(l.Context(context.Background()), "early", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	if all := AllTasks(l); len(all) != 1 || all[0].Name() != "early" {
		t.Errorf("tasks before the run: %v", all)
	}
	CreateTask(l.Context(context.Background()), "late", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
	must(t, l.Close())
	for _, name := range []string{"early", "late"} {
		if !strings.Contains(log.String(), "<Task "+name+" pending") {
			t.Errorf("%s is not reported: %s", name, log)
		}
	}
	if k.Done() {
		t.Error("the task claims to have ended")
	}
	isErr(t, CreateTask(l.Context(context.Background()), "", func(context.Context) (int, error) { return 0, nil }).Exception(), ErrLoopClosed)
}
