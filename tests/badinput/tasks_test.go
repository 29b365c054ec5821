package badinput

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
)

// task makes a task of fn.
func task(ctx context.Context, fn func(context.Context) error, opts ...loopnode.TaskOption) *loopnode.Task[int] {
	return loopnode.CreateTask(ctx, "child", func(ctx context.Context) (int, error) { return 0, fn(ctx) }, opts...)
}

// unrun is a ctx of a loop that does not run, and what closes the loop.
func anotherLoop(e *env) (*loopnode.Loop, func()) {
	l, err := loopnode.New(loopnode.Config{Name: "other"})
	if err != nil {
		e.Fatal(err)
	}
	return l, func() {
		if err := l.Close(); err != nil {
			e.Error(err)
		}
	}
}

func fails(context.Context) error { return errMine }

func TestTasks(t *testing.T) {
	check(t, []row{
		{name: "CreateTask of nil", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error { return second(loopnode.CreateTask[int](e.ctx, "", nil).Await(e.ctx)) }},
		{name: "CreateTask without a loop", is: loopnode.ErrNoRunningLoop, says: []string{"Loop.Context"},
			do: func(e *env) error { return second(task(context.Background(), fails).Await(e.ctx)) }},
		{name: "CreateTask with a nil ctx", is: loopnode.ErrNoRunningLoop, says: []string{"Loop.Context"},
			do: func(e *env) error { return second(task(noCtx, fails).Await(e.ctx)) }},
		{name: "CreateTask on a closed loop", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error { return second(task(closedLoop(e).Context(e.ctx), fails).Await(e.ctx)) }},
		{name: "CreateTask with a nil option", is: errMine,
			do: func(e *env) error { return second(task(e.ctx, fails, nil).Await(e.ctx)) }},
		{name: "CreateTask with an option that panics", is: errMine,
			do: func(e *env) error {
				return second(task(e.ctx, fails, func(*loopnode.TaskSpec) { panic(errMine) }).Await(e.ctx))
			}},
		{name: "CreateTask with an option that empties the spec", is: errMine,
			do: func(e *env) error {
				return second(task(e.ctx, fails, func(s *loopnode.TaskSpec) { *s = loopnode.TaskSpec{Start: 200} }).Await(e.ctx))
			}},
		{name: "a task factory that fails", is: errMine, do: func(e *env) error {
			e.loop.SetTaskFactory(func(*loopnode.Loop, *loopnode.TaskSpec) error { return errMine })
			return second(task(e.ctx, func(context.Context) error { return nil }).Await(e.ctx))
		}},
		{name: "a task factory that panics", is: errMine, do: func(e *env) error {
			e.loop.SetTaskFactory(func(*loopnode.Loop, *loopnode.TaskSpec) error { panic(errMine) })
			return second(task(e.ctx, func(context.Context) error { return nil }).Await(e.ctx))
		}},
		{name: "a refused task answers everything", is: loopnode.ErrInvalidArgument, do: func(e *env) error {
			k := loopnode.CreateTask[int](e.ctx, "", nil)
			k.AddDoneCallback(func(*loopnode.Future[int]) {})
			k.Cancel()
			k.Cancel("again")
			k.Uncancel()
			k.SetName("x")
			_, _, _, _ = k.Name(), k.Cancelling(), k.Done(), k.String()
			_, _ = k.Stack(3), k.Func()
			if d, ok := k.Context().Deadline(); ok || k.Context().Value(1) != nil || k.Context().Err() == nil {
				e.Errorf("a deadline: %v", d)
			}
			return k.Exception()
		}},
		{name: "a task that panics", is: errMine, says: []string{"panic: mine"},
			do: func(e *env) error {
				return second(task(e.ctx, func(context.Context) error { panic(errMine) }).Await(e.ctx))
			}},
		{name: "a task that calls Goexit", is: loopnode.ErrGoexit, says: []string{"runtime.Goexit"},
			do: func(e *env) error {
				return second(task(e.ctx, func(context.Context) error { goexit(); return nil }).Await(e.ctx))
			}},
		{name: "an eager task that calls Goexit", is: loopnode.ErrGoexit,
			do: func(e *env) error {
				return second(task(e.ctx, func(context.Context) error { goexit(); return nil }, loopnode.EagerStart(true)).Await(e.ctx))
			}},
		{name: "a failure nobody looks at", reports: "mine",
			do: func(e *env) error { task(e.ctx, fails); return nil }},
		{name: "a task whose ctx is over before it starts", is: loopnode.ErrCancelled,
			do: func(e *env) error {
				ctx, stop := context.WithCancel(e.ctx)
				stop()
				return second(task(ctx, func(ctx context.Context) error { return loopnode.Sleep(ctx, patience) }).Await(e.ctx))
			}},
		{name: "a deadline that is over before the task starts", is: loopnode.ErrCancelled,
			do: func(e *env) error {
				ctx, stop := context.WithDeadline(e.ctx, time.Now().Add(-time.Hour))
				defer stop()
				return second(task(ctx, func(ctx context.Context) error { return loopnode.Sleep(ctx, patience) }).Await(e.ctx))
			}},
		{name: "a ctx that is over while it waits", is: loopnode.ErrTimeout,
			do: func(e *env) error {
				ctx, stop := context.WithTimeout(e.ctx, time.Millisecond)
				defer stop()
				return loopnode.Sleep(ctx, patience)
			}},
		{name: "a task that waits for itself", is: loopnode.ErrInvalidState, says: []string{"await on itself"},
			do: func(e *env) error {
				var k *loopnode.Task[int]
				k = task(e.ctx, func(ctx context.Context) error { _, err := k.Await(ctx); return err })
				return second(k.Await(e.ctx))
			}},
		{name: "the ctx of a task used in another", is: loopnode.ErrWouldBlock, says: []string{"its own function gets"},
			do: func(e *env) error {
				return second(task(e.ctx, func(context.Context) error { return loopnode.Sleep(e.ctx, time.Second) }).Await(e.ctx))
			}},
		{name: "the ctx of a task used on another goroutine", is: loopnode.ErrWrongGoroutine, says: []string{"a ctx without a task"},
			do: func(e *env) error { return elsewhere(func() error { return loopnode.Sleep(e.ctx, time.Second) }) }},
		{name: "a wait in a callback", is: loopnode.ErrWouldBlock, says: []string{"task"},
			do: func(e *env) error {
				f := loopnode.NewFuture[error](e.loop)
				never := loopnode.NewFuture[int](e.loop)
				e.loop.CallSoon(func() { _ = f.SetResult(second(never.Await(e.loop.Context(noCtx)))) })
				err, _ := f.Await(e.ctx)
				return err
			}},
		{name: "Sleep in a callback", is: loopnode.ErrWouldBlock, says: []string{"CallLater"},
			do: func(e *env) error {
				f := loopnode.NewFuture[error](e.loop)
				e.loop.CallSoon(func() { _ = f.SetResult(loopnode.Sleep(noCtx, time.Second)) })
				err, _ := f.Await(e.ctx)
				return err
			}},
		{name: "Sleep with a nil ctx outside", is: loopnode.ErrInvalidArgument, do: func(e *env) error {
			return elsewhere(func() error { return loopnode.Sleep(noCtx, time.Microsecond) })
		}},
		{name: "RunCoroutineThreadsafe of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				return second(loopnode.RunCoroutineThreadsafe[int](e.loop.Ref(), "", nil).Result())
			}},
		{name: "RunCoroutineThreadsafe on a closed loop", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error {
				r := closedLoop(e).Ref()
				return second(loopnode.RunCoroutineThreadsafe(r, "", func(context.Context) (int, error) { return 1, nil }).Result())
			}},
		{name: "RunCoroutineThreadsafe of the zero Ref", is: loopnode.ErrNotLocal, says: []string{"cluster.Func"},
			do: func(e *env) error {
				return second(loopnode.RunCoroutineThreadsafe(loopnode.Ref{}, "", func(context.Context) (int, error) { return 1, nil }).Result())
			}},
		{name: "Timeout outside of a task", is: loopnode.ErrInvalidState, says: []string{"in a task"},
			do: func(e *env) error { return loopnode.Timeout(e.loop.Context(noCtx), 1, fails) }},
		{name: "Timeout with a nil ctx", is: loopnode.ErrInvalidState, says: []string{"in a task"},
			do: func(e *env) error { return loopnode.Timeout(noCtx, 1, fails) }},
		{name: "Timeout of nil", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error { return loopnode.Timeout(e.ctx, 1, nil) }},
		{name: "Timeout in the past", is: loopnode.ErrTimeout,
			do: func(e *env) error {
				return loopnode.Timeout(e.ctx, -1<<63, func(ctx context.Context) error { return loopnode.Sleep(ctx, patience) })
			}},
		{name: "Timeout whose body panics", is: errMine,
			do: func(e *env) error {
				return second(task(e.ctx, func(ctx context.Context) error {
					return loopnode.Timeout(ctx, time.Hour, func(context.Context) error { panic(errMine) })
				}).Await(e.ctx))
			}},
		{name: "WaitFor of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return second(loopnode.WaitFor[int](e.ctx, nil, 1)) }},
		{name: "WaitForFuture of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return second(loopnode.WaitForFuture[int](e.ctx, nil, 1)) }},
		{name: "a task group of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return loopnode.WithTaskGroup(e.ctx, nil) }},
		{name: "a task group that was not entered", is: loopnode.ErrInvalidState, says: []string{"WithTaskGroup"},
			do: func(e *env) error { return (&loopnode.TaskGroup{}).Go("", fails).Exception() }},
		{name: "a nil task group", is: loopnode.ErrInvalidState, says: []string{"WithTaskGroup"},
			do: func(e *env) error { return (*loopnode.TaskGroup)(nil).Go("", fails).Exception() }},
		{name: "a task group that is over", is: loopnode.ErrInvalidState, says: []string{"finished"},
			do: func(e *env) error {
				var kept *loopnode.TaskGroup
				err := loopnode.WithTaskGroup(e.ctx, func(_ context.Context, g *loopnode.TaskGroup) error { kept = g; return nil })
				return errors.Join(err, kept.Go("", fails).Exception())
			}},
		{name: "a nil function in a task group", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				return loopnode.WithTaskGroup(e.ctx, func(_ context.Context, g *loopnode.TaskGroup) error {
					return g.Go("", nil).Exception()
				})
			}},
		{name: "a task group whose body calls Goexit", is: loopnode.ErrGoexit,
			do: func(e *env) error {
				return second(task(e.ctx, func(ctx context.Context) error {
					return loopnode.WithTaskGroup(ctx, func(_ context.Context, g *loopnode.TaskGroup) error {
						g.Go("", func(ctx context.Context) error { return loopnode.Sleep(ctx, patience) })
						goexit()
						return nil
					})
				}).Await(e.ctx))
			}},
		{name: "a generator of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				g := loopnode.NewGenerator[int](nil)
				v, _, err := g.Next(e.ctx)
				return second(v, err)
			}},
	})
}

func TestFutures(t *testing.T) {
	check(t, []row{
		{name: "NewFuture without a loop", is: loopnode.ErrInvalidArgument, says: []string{"loop"},
			do: func(e *env) error { return second(loopnode.NewFuture[int](nil).Await(e.ctx)) }},
		{name: "a result twice", is: loopnode.ErrInvalidState, says: []string{"SetResult", "done"},
			do: func(e *env) error {
				f := loopnode.NewFuture[int](e.loop)
				return errors.Join(f.SetResult(1), f.SetResult(2))
			}},
		{name: "a nil exception", is: loopnode.ErrInvalidArgument, says: []string{"SetException"},
			do: func(e *env) error { return loopnode.NewFuture[int](e.loop).SetException(nil) }},
		{name: "a result that is not there", is: loopnode.ErrInvalidState, says: []string{"not ready"},
			do: func(e *env) error { return second(loopnode.NewFuture[int](e.loop).Result()) }},
		{name: "a nil done callback", reports: "nil", do: func(e *env) error {
			f := loopnode.NewFuture[int](e.loop)
			f.AddDoneCallback(nil)
			return f.SetResult(1)
		}},
		{name: "a result for a task", is: loopnode.ErrInvalidState, says: []string{"from its function"},
			do: func(e *env) error {
				k := task(e.ctx, func(context.Context) error { return nil })
				return k.SetResult(1)
			}},
		{name: "a future of another loop", is: loopnode.ErrWrongLoop, says: []string{"other", "bad"},
			do: func(e *env) error {
				l, done := anotherLoop(e)
				defer done()
				return second(loopnode.NewFuture[int](l).Await(e.ctx))
			}},
		{name: "a future of a closed loop, from outside", is: loopnode.ErrLoopClosed, says: []string{"gone"},
			do: func(e *env) error {
				f := loopnode.NewFuture[int](closedLoop(e))
				return elsewhere(func() error { return second(f.Await(context.Background())) })
			}},
		{name: "a future awaited from outside with a ctx that is over", is: loopnode.ErrCancelled,
			do: func(e *env) error {
				f := loopnode.NewFuture[int](e.loop)
				ctx, stop := context.WithCancel(context.Background())
				stop()
				return elsewhere(func() error { return second(f.Await(ctx)) })
			}},
		{name: "Gather of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { _, err := loopnode.Gather[int](e.ctx, nil); return err }},
		{name: "Gather of two loops", is: loopnode.ErrWrongLoop,
			do: func(e *env) error {
				l, done := anotherLoop(e)
				defer done()
				_, err := loopnode.Gather[int](e.ctx, loopnode.NewFuture[int](e.loop), loopnode.NewFuture[int](l))
				return err
			}},
		{name: "Gather of a refused task", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				_, err := loopnode.Gather[int](e.ctx, loopnode.CreateTask[int](e.ctx, "", nil))
				return err
			}},
		{name: "Gather of a refused task and a good one", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				good := task(e.ctx, func(context.Context) error { return nil })
				_, err := loopnode.Gather[int](e.ctx, good, loopnode.CreateTask[int](e.ctx, "", nil))
				return err
			}},
		{name: "Wait for a refused task", is: loopnode.ErrInvalidArgument, says: []string{"CreateTask needs a function"},
			do: func(e *env) error {
				_, _, err := loopnode.Wait(e.ctx, []loopnode.Waiter{loopnode.CreateTask[int](e.ctx, "", nil)})
				return err
			}},
		{name: "Wait for nothing", is: loopnode.ErrInvalidArgument, says: []string{"nothing to wait for"},
			do: func(e *env) error { _, _, err := loopnode.Wait(e.ctx, nil); return err }},
		{name: "Wait for nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { _, _, err := loopnode.Wait(e.ctx, []loopnode.Waiter{nil}); return err }},
		{name: "Wait with an unknown ReturnWhen", is: loopnode.ErrInvalidArgument, says: []string{"99"},
			do: func(e *env) error {
				_, _, err := loopnode.Wait(e.ctx, []loopnode.Waiter{loopnode.NewFuture[int](e.loop)}, nil, loopnode.WaitUntil(99))
				return err
			}},
		{name: "AsCompleted of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) (err error) {
				for _, err = range loopnode.AsCompleted(e.ctx, []loopnode.Awaitable[int]{nil}) {
				}
				return err
			}},
		{name: "AsCompleted of a refused task", is: loopnode.ErrInvalidArgument,
			do: func(e *env) (err error) {
				for _, err = range loopnode.AsCompleted(e.ctx, []loopnode.Awaitable[int]{loopnode.CreateTask[int](e.ctx, "", nil)}) {
				}
				return err
			}},
		{name: "Shield of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return second(loopnode.Shield[int](e.ctx, nil).Await(e.ctx)) }},
		{name: "EnsureFuture of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return second(loopnode.EnsureFuture[int](e.ctx, nil).Await(e.ctx)) }},
		{name: "EnsureFuture of a nil function", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error {
				return second(loopnode.EnsureFuture(e.ctx, loopnode.Coroutine[int](nil)).Await(e.ctx))
			}},
		{name: "WrapFuture of nil", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return second(loopnode.WrapFuture[int](e.ctx, nil).Await(e.ctx)) }},
		{name: "WrapFuture without a loop", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error {
				return second(loopnode.WrapFuture(context.Background(), loopnode.NewSafeFuture[int]()).Await(e.ctx))
			}},
		{name: "a nil exception for a SafeFuture", is: loopnode.ErrInvalidArgument,
			do: func(e *env) error { return loopnode.NewSafeFuture[int]().SetException(nil) }},
		{name: "a nil callback for a SafeFuture", do: func(e *env) error {
			f := loopnode.NewSafeFuture[int]()
			f.AddDoneCallback(nil)
			return f.SetResult(1)
		}},
	})
}

func TestSynchronisation(t *testing.T) {
	check(t, []row{
		{name: "Release of a free lock", is: loopnode.ErrInvalidState, says: []string{"not acquired"},
			do: func(e *env) error { return (&tasksync.Lock{}).Release() }},
		{name: "Acquire outside of a task", is: loopnode.ErrInvalidState, says: []string{"in a task"},
			do: func(e *env) error { return (&tasksync.Lock{}).Acquire(context.Background()) }},
		{name: "Acquire with a nil ctx", is: loopnode.ErrInvalidState, says: []string{"in a task"},
			do: func(e *env) error { return (&tasksync.Lock{}).Acquire(noCtx) }},
		{name: "a condition waited for without its lock", is: loopnode.ErrInvalidState, says: []string{"not acquired"},
			do: func(e *env) error { return tasksync.NewCondition(nil).Wait(e.ctx) }},
		{name: "a condition notified without its lock", is: loopnode.ErrInvalidState, says: []string{"not acquired"},
			do: func(e *env) error { return tasksync.NewCondition(nil).Notify(1) }},
		{name: "a condition without a predicate", is: loopnode.ErrInvalidArgument, says: []string{"predicate"},
			do: func(e *env) error { return tasksync.NewCondition(nil).WaitUntil(e.ctx, nil) }},
		{name: "a negative number of notices", do: func(e *env) error {
			c := tasksync.NewCondition(nil)
			return errors.Join(c.Acquire(e.ctx), c.Notify(-1), c.Release())
		}},
		{name: "a negative semaphore", is: loopnode.ErrInvalidArgument, says: []string{"-1", "0 or more"},
			do: func(e *env) error { return second(tasksync.NewSemaphore(-1)) }},
		{name: "a semaphore released too often", is: tasksync.ErrTooManyReleases, says: []string{"bound is 1"},
			do: func(e *env) error {
				s, err := tasksync.NewBoundedSemaphore(1)
				return errors.Join(err, s.Release())
			}},
		{name: "a barrier of nobody", is: loopnode.ErrInvalidArgument, says: []string{"1 party or more", "0"},
			do: func(e *env) error { return second(tasksync.NewBarrier(0)) }},
		{name: "a full queue", is: tasksync.ErrQueueFull, says: []string{"1 items"},
			do: func(e *env) error {
				q := tasksync.NewQueue[int](1)
				return errors.Join(q.TryPut(1), q.TryPut(2))
			}},
		{name: "an empty queue", is: tasksync.ErrQueueEmpty,
			do: func(e *env) error { return second(tasksync.NewQueue[int](-7).TryGet()) }},
		{name: "a queue after Shutdown", is: tasksync.ErrQueueShutdown,
			do: func(e *env) error {
				q := tasksync.NewQueue[int](1)
				q.Shutdown(true)
				q.Shutdown(false)
				return q.Put(e.ctx, 1)
			}},
		{name: "TaskDone of nothing", is: tasksync.ErrTooManyDone, says: []string{"more often"},
			do: func(e *env) error { return tasksync.NewQueue[int](1).TaskDone() }},
		{name: "a priority queue without an order", is: loopnode.ErrInvalidArgument, says: []string{"less"},
			do: func(e *env) error {
				q := tasksync.NewPriorityQueue[int](0, nil)
				return errors.Join(q.TryPut(2), q.TryPut(1))
			}},
		{name: "a priority queue without an order, emptied", is: loopnode.ErrInvalidArgument, says: []string{"less"},
			do: func(e *env) error { return second(tasksync.NewPriorityQueue[int](0, nil).Get(e.ctx)) }},
	})
}

// refuser is an executor that takes nothing, by one of three ways.
type refuser struct{ submit func() error }

func (r refuser) Submit(func()) error              { return r.submit() }
func (refuser) Shutdown(ctx context.Context) error { return nil }

func TestExecutors(t *testing.T) {
	one := func() (int, error) { return 1, nil }
	check(t, []row{
		{name: "RunInExecutor of nil", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error { return second(loopnode.RunInExecutor[int](e.ctx, nil, nil).Await(e.ctx)) }},
		{name: "RunInExecutor without a loop", is: loopnode.ErrNoRunningLoop,
			do: func(e *env) error {
				return second(loopnode.RunInExecutor(context.Background(), nil, one).Await(e.ctx))
			}},
		{name: "ToThread of nil", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error { return second(loopnode.ToThread[int](e.ctx, nil)) }},
		{name: "a function that panics", is: errMine, says: []string{"panic: mine"},
			do: func(e *env) error {
				return second(loopnode.RunInExecutor(e.ctx, nil, func() (int, error) { panic(errMine) }).Await(e.ctx))
			}},
		{name: "a function that calls Goexit", is: loopnode.ErrGoexit,
			do: func(e *env) error {
				return second(loopnode.RunInExecutor(e.ctx, nil, func() (int, error) { goexit(); return 1, nil }).Await(e.ctx))
			}},
		{name: "an executor that refuses", is: errMine,
			do: func(e *env) error {
				return second(loopnode.RunInExecutor(e.ctx, refuser{func() error { return errMine }}, one).Await(e.ctx))
			}},
		{name: "an executor that panics", is: errMine,
			do: func(e *env) error {
				return second(loopnode.RunInExecutor(e.ctx, refuser{func() error { panic(errMine) }}, one).Await(e.ctx))
			}},
		{name: "a nil default executor", is: loopnode.ErrInvalidArgument, says: []string{"cannot be nil"},
			do: func(e *env) error { return e.loop.SetDefaultExecutor(nil) }},
		{name: "the default executor after its shutdown", is: loopnode.ErrShutdown,
			do: func(e *env) error {
				err := e.loop.ShutdownDefaultExecutor(e.ctx)
				return errors.Join(err, second(loopnode.RunInExecutor(e.ctx, nil, one).Await(e.ctx)))
			}},
		{name: "a pool after Shutdown", is: loopnode.ErrShutdown,
			do: func(e *env) error {
				p := loopnode.NewPool(-5)
				err := errors.Join(p.Shutdown(context.Background()), p.Shutdown(context.Background()))
				return errors.Join(err, p.Submit(func() {}))
			}},
		{name: "a nil function for a pool", is: loopnode.ErrInvalidArgument, says: []string{"function"},
			do: func(e *env) error {
				p := loopnode.NewPool(1)
				return errors.Join(p.Submit(nil), elsewhere(func() error { return p.Shutdown(context.Background()) }))
			}},
		{name: "a pool that is still busy when ctx ends", is: loopnode.ErrTimeout, says: []string{"still runs"},
			do: func(e *env) error {
				p, release := loopnode.NewPool(1), make(chan struct{})
				if err := p.Submit(func() { <-release }); err != nil {
					return err
				}
				ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
				defer stop()
				err := elsewhere(func() error { return p.Shutdown(ctx) })
				close(release)
				return err
			}},
		{name: "a function for a loop that closes meanwhile", do: func(e *env) error {
			l, done := anotherLoop(e)
			p, release := loopnode.NewPool(1), make(chan struct{})
			loopnode.RunInExecutor(l.Context(noCtx), p, func() (int, error) { <-release; return 1, nil })
			done()
			close(release)
			return elsewhere(func() error { return p.Shutdown(context.Background()) })
		}},
	})
}

func TestExceptionHandlers(t *testing.T) {
	check(t, []row{
		{name: "a handler that panics", do: func(e *env) error {
			e.loop.SetExceptionHandler(func(*loopnode.Loop, loopnode.ExceptionContext) { panic("in the handler") })
			e.loop.CallSoon(func() { panic("boom") })
			if err := loopnode.Sleep(e.ctx, 0); err != nil {
				return err
			}
			if !strings.Contains(e.log.String(), "in the handler") {
				e.Errorf("the log says %q", e.log)
			}
			return nil
		}},
		{name: "a handler that calls Goexit", do: func(e *env) error {
			e.loop.SetExceptionHandler(func(*loopnode.Loop, loopnode.ExceptionContext) { goexit() })
			e.loop.CallSoon(func() { panic("boom") })
			return errors.Join(loopnode.Sleep(e.ctx, 0), loopnode.Sleep(e.ctx, 0))
		}},
		{name: "an empty report", do: func(e *env) error {
			e.loop.SetExceptionHandler(nil)
			e.loop.CallExceptionHandler(loopnode.ExceptionContext{})
			e.loop.DefaultExceptionHandler(loopnode.ExceptionContext{Exception: (*guard.Panic)(&guard.Panic{})})
			return nil
		}},
	})
}
