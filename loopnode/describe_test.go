package loopnode

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Functions that descriptions must name.
func namedMain(ctx context.Context) error        { return Sleep(ctx, 0) }
func namedMember(ctx context.Context) error      { return Sleep(ctx, 0) }
func namedBody(ctx context.Context) (int, error) { return 1, Sleep(ctx, 0) }
func namedCallback()                             {}
func namedWithContext(context.Context)           {}
func namedDone(*Future[int])                     {}

func TestDescriptionsNameTheUsersFunction(t *testing.T) {
	t.Run("TSK-21 of tasks that the library makes a closure for", func(t *testing.T) {
		l, _ := newLoop(t)
		names := func() (all string) {
			for _, k := range AllTasks(l) {
				all += k.String() + "\n"
			}
			return all
		}
		l.SetTaskFactory(func(_ *Loop, spec *TaskSpec) error { // a factory adds a closure of its own
			inner := spec.Body
			spec.Body = func(ctx context.Context) error { return inner(ctx) }
			return nil
		})
		_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			Go(ctx, "", namedMain)
			RunCoroutineThreadsafe(l.Ref(), "", namedBody)
			return 0, WithTaskGroup(ctx, func(ctx context.Context, g *TaskGroup) error {
				g.Go("", namedMember)
				all := names()
				for _, want := range []string{"namedMain", "namedBody", "namedMember"} {
					if !strings.Contains(all, "func=github.com/loopmesh/loopmesh/loopnode."+want+" defined at") || !strings.Contains(all, "describe_test.go:") {
						t.Errorf("%s is not named: %s", want, all)
					}
				}
				return nil
			})
		}))
		must(t, err)
	})
	t.Run("TSK-21 of the main task of Run", func(t *testing.T) {
		must(t, Run(context.Background(), describedMain(t)))
	})
	t.Run("DBG-06 of slow callbacks that the library wraps", func(t *testing.T) {
		kernel, err := newKernel()
		must(t, err)
		clock := &racingClock{Backend: kernel}
		l, log := newLoop(t, func(c *Config) { c.Debug, c.SlowCallback, c.Backend = true, time.Second, clock })
		l.CallSoonContext(context.Background(), namedWithContext)
		_, err = l.Ref().CallSoonThreadsafeHandle(namedCallback)
		must(t, err)
		f := NewFuture[int](l)
		f.AddDoneCallback(namedDone)
		must(t, f.SetResult(1))
		runTurns(t, l, 1)
		for _, want := range []string{"namedWithContext", "namedCallback", "namedDone"} {
			if !strings.Contains(log.String(), "Executing <Handle github.com/loopmesh/loopmesh/loopnode."+want) {
				t.Errorf("%s is not named: %s", want, log)
			}
		}
	})
}

// describedMain is a main that looks at how its own task is described.
func describedMain(t *testing.T) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if k, _ := CurrentTask(ctx); !strings.Contains(k.String(), "describedMain") {
			t.Error(k)
		}
		return nil
	}
}

// racingClock is a clock that moves a second each time it is read.
type racingClock struct {
	Backend
	now Instant
}

func (c *racingClock) Now() Instant {
	c.now = c.now.Add(time.Second)
	return c.now
}
