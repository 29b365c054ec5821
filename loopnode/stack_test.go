package loopnode

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
)

func exitGoroutine() { runtime.Goexit() }

func waitsInside(ctx context.Context, f *Future[int]) (int, error) { return f.Await(ctx) }

func waitsOutside(ctx context.Context, f *Future[int]) (int, error) { return waitsInside(ctx, f) }

func failsInside() { panic("no way") }

func failsOutside() { failsInside() }

// functions are the names of the frames without their package.
func functions(fs []runtime.Frame) (out []string) {
	for _, f := range fs {
		out = append(out, f.Function[strings.LastIndexByte(f.Function, '.')+1:])
	}
	return out
}

func TestStack(t *testing.T) {
	t.Run("TSK-20 a waiting task tells where it waits, a failed one where it failed", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			body := func(ctx context.Context) (int, error) { return waitsOutside(ctx, f) }
			k := CreateTask(ctx, "waiter", body)
			if fs := k.Stack(0); len(fs) != 1 || !strings.HasSuffix(fs[0].File, "stack_test.go") {
				t.Errorf("before its start: %v", fs)
			}
			must(t, Sleep(ctx, 0))
			for range 3 { // looking changes nothing
				got := functions(k.Stack(0))
				same(t, got[len(got)-2:], []string{"waitsOutside", "waitsInside"})
			}
			same(t, functions(k.Stack(1)), []string{"waitsInside"})
			var out bytes.Buffer
			must(t, k.PrintStack(&out, 0))
			for _, want := range []string{"Stack for <Task waiter pending", "(most recent call last)", "stack_test.go:", "waitsInside\n"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in\n%s", want, out.String())
				}
			}
			must(t, f.SetResult(9))
			if v, err := k.Await(ctx); v != 9 || err != nil {
				t.Errorf("after looking it returns %v, %v", v, err)
			}

			failed := CreateTask(ctx, "bad", func(context.Context) (int, error) { failsOutside(); return 0, nil })
			_, _ = failed.Await(ctx)
			got := functions(failed.Stack(0))
			same(t, got[len(got)-2:], []string{"failsOutside", "failsInside"})
			if oldest := functions(failed.Stack(1)); len(oldest) != 1 || oldest[0] != got[0] {
				t.Errorf("limit 1 of a panic: %v", oldest)
			}
			out.Reset()
			must(t, failed.PrintStack(&out, 0))
			if s := out.String(); !strings.HasPrefix(s, "Traceback for <Task bad failed") || !strings.HasSuffix(s, "panic: no way\n") {
				t.Errorf("printed\n%s", s)
			}

			cancelled := CreateTask(ctx, "", body)
			cancelled.Cancel()
			_, _ = cancelled.Await(ctx)
			for _, k := range []*Task[int]{k, cancelled} {
				out.Reset()
				must(t, k.PrintStack(&out, 0))
				if len(k.Stack(0)) != 0 || !strings.HasPrefix(out.String(), "No stack for <Task ") {
					t.Errorf("%v: %s", k, out.String())
				}
			}
			return nil
		})
	})
	t.Run("a fault is found below the runtime's frames", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var missing *Task[int]
			k := CreateTask(ctx, "", func(context.Context) (int, error) { return readsNil(missing), nil })
			_, _ = k.Await(ctx)
			if got := functions(k.Stack(0)); len(got) == 0 || got[len(got)-1] != "readsNil" {
				t.Errorf("frames %v", got)
			}
			return nil
		})
	})
	t.Run("a running task, and one whose eager child asks", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			me, _ := CurrentTask(ctx)
			if len(me.Stack(0)) == 0 {
				t.Error("the running task has no stack")
			}
			CreateTask(ctx, "", func(context.Context) (int, error) {
				if fs := me.Stack(0); len(fs) != 1 {
					t.Errorf("the creator of an eager task: %v", fs)
				}
				return 0, nil
			}, EagerStart(true))
			return nil
		})
	})
	t.Run("elsewhere and after Close there is none", func(t *testing.T) {
		l := runAside(t)
		k := CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, Forever) })
		if fs := k.Stack(0); fs != nil {
			t.Errorf("from another goroutine: %v", fs)
		}
		closed, _ := newLoop(t)
		k = CreateTask(closed.Context(context.Background()), "", value(0))
		must(t, closed.Close())
		if fs := k.Stack(0); fs != nil {
			t.Errorf("after Close: %v", fs)
		}
		refused := CreateTask(context.Background(), "", value(0))
		if fs := refused.Stack(0); fs != nil {
			t.Errorf("of a task that never was: %v", fs)
		}
	})
}

func readsNil(k *Task[int]) int { return k.value }

func TestTaskDescription(t *testing.T) {
	t.Run("TSK-21 a task tells its function, its ctx, and on one line its state, name, function, wait and callbacks", func(t *testing.T) {
		type key struct{}
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			parent := context.WithValue(ctx, key{}, 5)
			var inside context.Context
			k := CreateTask(parent, "one", func(ctx context.Context) (int, error) { inside = ctx; return waitsOutside(ctx, f) })
			must(t, Sleep(ctx, 0))
			if k.Context() != inside || k.Context().Value(key{}) != 5 {
				t.Error("Context is not what the function got")
			}
			if k.Func() == nil {
				t.Error("no function")
			}
			if CreateTask(ctx, "", value(0), EagerStart(true)).Func() != nil {
				t.Error("a task that completed eagerly has a function")
			}
			k.AddDoneCallback(noted)
			s := k.String()
			for _, want := range []string{
				"<Task one pending", "func=", "defined at ", "stack_test.go:", "wait_for=<Future pending cb=[Task one]>", "cb=[", "loopnode.noted]>",
			} {
				if !strings.Contains(s, want) {
					t.Errorf("%q is missing in %s", want, s)
				}
			}
			k.Cancel()
			if s := k.String(); !strings.HasPrefix(s, "<Task one cancelling") {
				t.Error(s)
			}
			_, _ = k.Await(ctx)
			if s := k.String(); !strings.HasPrefix(s, "<Task one cancelled") || strings.Contains(s, "wait_for") {
				t.Error(s)
			}
			if s := f.String(); s != "<Future cancelled>" {
				t.Error(s)
			}
			return nil
		})
	})
}

func noted(*Future[int]) {}

func TestCallGraph(t *testing.T) {
	t.Run("INT-02 who awaits whom, through tasks, Gather, Shield, Wait, time limits and groups", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			leaf := CreateTask(ctx, "leaf", func(ctx context.Context) (int, error) { return waitsOutside(ctx, f) })
			var all []Waiter
			start := func(name string, fn func(context.Context) error) {
				all = append(all, CreateTask(ctx, name, func(ctx context.Context) (int, error) { return 0, fn(ctx) }))
			}
			start("awaits", func(ctx context.Context) error { _, err := leaf.Await(ctx); return err })
			start("gathers", func(ctx context.Context) error { _, err := Gather(ctx, Awaitable[int](leaf)); return err })
			start("shields", func(ctx context.Context) error { _, err := Shield(ctx, leaf).Await(ctx); return err })
			start("waits", func(ctx context.Context) error { _, _, err := Wait(ctx, []Waiter{leaf}); return err })
			start("limits", func(ctx context.Context) error { _, err := WaitForFuture(ctx, leaf, Forever); return err })
			var member *Task[int]
			start("groups", func(ctx context.Context) error {
				return WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
					member = GroupTask(g, "member", func(ctx context.Context) (int, error) { return leaf.Await(ctx) })
					return nil
				})
			})
			must(t, Sleep(ctx, 0))
			must(t, Sleep(ctx, 0))
			g := leaf.CallGraph(0)
			var names []string
			for _, by := range g.AwaitedBy {
				names = append(names, by.Name)
				if by.Name == "member" {
					if len(by.AwaitedBy) != 1 || by.AwaitedBy[0].Name != "groups" {
						t.Errorf("the member is awaited by %v", by.AwaitedBy)
					}
				}
			}
			same(t, names, []string{"awaits", "gathers", "shields", "waits", "limits", "member"})
			if got := functions(g.Stack); got[len(got)-1] != "waitsInside" {
				t.Errorf("stack of the leaf: %v", got)
			}
			if fg := f.CallGraph(1); len(fg.AwaitedBy) != 1 || fg.AwaitedBy[0].Name != "leaf" || fg.Name != "" || len(fg.Stack) != 0 {
				t.Errorf("the future: %+v", fg)
			}
			var out bytes.Buffer
			must(t, PrintTasks(&out, l))
			for _, want := range []string{"tasks of loop", "* <Task leaf pending", "+ Call stack", "waitsInside", "+ Awaited by:", "     * <Task awaits pending"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in\n%s", want, out.String())
				}
			}
			must(t, f.SetResult(1))
			_, _, err := Wait(ctx, all)
			if len(leaf.CallGraph(0).AwaitedBy) != 0 {
				t.Error("somebody still waits for a task that is done")
			}
			return errors.Join(err, member.Exception())
		})
	})
	t.Run("tasks that wait for each other are found", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var a, b *Task[int]
			a = CreateTask(ctx, "a", func(ctx context.Context) (int, error) { return b.Await(ctx) })
			b = CreateTask(ctx, "b", func(ctx context.Context) (int, error) { return a.Await(ctx) })
			must(t, Sleep(ctx, 0))
			g := a.CallGraph(0)
			if len(g.AwaitedBy) != 1 || len(g.AwaitedBy[0].AwaitedBy) != 1 || !g.AwaitedBy[0].AwaitedBy[0].Cycle {
				t.Errorf("graph\n%s", g)
			}
			if !strings.Contains(g.String(), "! waits for itself") {
				t.Errorf("graph\n%s", g)
			}
			if !a.Cancel("enough") { // asking each other for ever would be the end of the process
				t.Error("a ring cannot be cancelled")
			}
			_, _, err := Wait(ctx, []Waiter{a, b})
			if !a.Cancelled() || !b.Cancelled() {
				t.Errorf("%v and %v", a, b)
			}
			return err
		})
	})
}

func TestProfileLabels(t *testing.T) {
	l, _ := newLoop(t, func(c *Config) { c.Name, c.ProfileLabels = "labelled", true })
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "asks", func(ctx context.Context) (int, error) {
		CreateTask(ctx, "sleeps", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, Forever) }, EagerStart(true))
		var out bytes.Buffer
		err := pprof.Lookup("goroutine").WriteTo(&out, 1)
		for _, want := range []string{`"task":"asks"`, `"task":"sleeps"`, `"loop":"labelled"`} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s is missing in\n%s", want, out.String())
			}
		}
		return 0, err
	}))
	must(t, err)
}
