package conformance

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenGather(t *testing.T) {
	t.Run("gather and wait: failures, a cancelled child, their own cancellation", func(t *testing.T) {
		golden(t, "g14_gather", func(t *testing.T, say func(...any)) {
			parts(t, say, gatherResults, gatherFailure, gatherCancelledChild, gatherOutcomes,
				gatherCancelled, gatherCleanUp, waitCancelled)
		})
	})
}

// abc are three futures of which the end is told.
func abc(m *marks) (a, b, c *loopnode.Future[int]) {
	three := func(name string) *loopnode.Future[int] { return watch[int](m, name, loopnode.NewFuture[int](m.loop)) }
	return three("a"), three("b"), three("c")
}

// gathered is a task that gathers, one turn after its start.
func gathered(ctx context.Context, m *marks, aws ...loopnode.Awaitable[int]) (*loopnode.Task[int], error) {
	task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
		if got, err := loopnode.Gather(ctx, aws...); err != nil {
			m.mark("fails with", why(err))
		} else {
			m.mark("gives", pythonList(got))
		}
		return nil
	}))
	return task, turns(ctx, 1)
}

// finish waits for a task that has no result.
func finish(ctx context.Context, task *loopnode.Task[int]) error {
	_, err := task.Await(ctx)
	return err
}

func gatherResults(ctx context.Context, m *marks) error {
	m.start("results in the order of the arguments")
	a, b, c := abc(m)
	task, err := gathered(ctx, m, a, b, c)
	err = errors.Join(err, c.SetResult(3), a.SetResult(1), turns(ctx, 1), b.SetResult(2))
	return errors.Join(err, finish(ctx, task))
}

func gatherFailure(ctx context.Context, m *marks) error {
	m.start("the first failure ends the wait, not the others")
	a, b, c := abc(m)
	task, err := gathered(ctx, m, a, b, c)
	err = errors.Join(err, b.SetException(errors.New("boom")), finish(ctx, task))
	m.say("a:", pythonBool(a.Done()), "c:", pythonBool(c.Done()))
	return errors.Join(err, a.SetException(errors.New("late")), c.SetResult(3), turns(ctx, 2))
}

func gatherCancelledChild(ctx context.Context, m *marks) error {
	m.start("a cancelled child is a failure")
	a, b, c := abc(m)
	task, err := gathered(ctx, m, a, b, c)
	b.Cancel()
	err = errors.Join(err, finish(ctx, task))
	m.say("a:", pythonBool(a.Done()), "c:", pythonBool(c.Done()))
	return err
}

func gatherOutcomes(ctx context.Context, m *marks) error {
	m.start("failures as results")
	a, b, c := abc(m)
	words := []any{"gives"}
	task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
		outcomes, err := loopnode.GatherAll(ctx, a, b, c)
		for _, o := range outcomes {
			if o.Err != nil {
				words = append(words, why(o.Err))
			} else {
				words = append(words, o.Value)
			}
		}
		return err
	}))
	err := turns(ctx, 1)
	b.Cancel()
	err = errors.Join(err, c.SetException(errors.New("boom")), a.SetResult(1), finish(ctx, task))
	m.say(words...)
	return err
}

func gatherCancelled(ctx context.Context, m *marks) error {
	m.start("its task is cancelled")
	a, b, c := abc(m)
	task, err := gathered(ctx, m, a, b, c)
	err = errors.Join(err, c.SetResult(3), turns(ctx, 1))
	m.start("now")
	task.Cancel()
	m.say("a:", pythonBool(a.Cancelled()), "b:", pythonBool(b.Cancelled()), "c:", pythonBool(c.Cancelled()))
	return errors.Join(err, finish(ctx, task))
}

func gatherCleanUp(ctx context.Context, m *marks) error {
	m.start("children with a clean-up are waited for")
	tidy := func(name string) *loopnode.Task[int] {
		return loopnode.CreateTask(ctx, name, noResult(func(ctx context.Context) error {
			err := loopnode.Sleep(ctx, long)
			if err := turns(ctx, 3); err != nil {
				return err
			}
			m.mark(name, "has cleaned up")
			return err
		}))
	}
	task, err := gathered(ctx, m, tidy("one"), tidy("two"))
	err = errors.Join(err, turns(ctx, 1))
	m.start("now")
	task.Cancel()
	return errors.Join(err, finish(ctx, task))
}

func waitCancelled(ctx context.Context, m *marks) error {
	m.start("wait leaves what it waits for alone")
	a, b, _ := abc(m)
	both := []loopnode.Waiter{a, b}
	task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error {
		if _, _, err := loopnode.Wait(ctx, both); err != nil {
			m.mark("wait fails with", why(err))
		}
		return nil
	}))
	err := turns(ctx, 1)
	task.Cancel()
	err = errors.Join(err, finish(ctx, task))
	m.say("a:", pythonBool(a.Done()), "b:", pythonBool(b.Done()))

	m.start("wait for the first")
	var done, pending []loopnode.Waiter
	task = loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) (err error) {
		done, pending, err = loopnode.Wait(ctx, both, loopnode.WaitUntil(loopnode.FirstCompleted))
		return err
	}))
	err = errors.Join(err, turns(ctx, 1), b.SetResult(0), finish(ctx, task))
	m.say("b done:", pythonBool(slices.Contains(done, loopnode.Waiter(b))), "a pending:", pythonBool(slices.Contains(pending, loopnode.Waiter(a))))
	return err
}
