package conformance

import (
	"context"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenCancel(t *testing.T) {
	t.Run("a task hears of its cancellation at its next wait, and may refuse", func(t *testing.T) {
		golden(t, "g11_cancel", cancelling)
	})
	t.Run("a shield ends alone", func(t *testing.T) {
		golden(t, "g12_shield", shielding)
	})
}

// parts runs the parts of a scenario one after the other in one task.
func parts(t *testing.T, say func(...any), all ...func(ctx context.Context, m *marks) error) {
	t.Helper()
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		m := newMarks(l, say)
		defer m.end()
		for _, part := range all {
			if err := part(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func cancelling(t *testing.T, say func(...any)) {
	parts(t, say, cancelEarly, cancelAsleep, cancelTwice, cancelRefused, cancelItself, cancelChain, cancelWithdrawn)
}

func cancelEarly(ctx context.Context, m *marks) error {
	m.start("before its first step")
	task := m.task(ctx, "task", m.sleeper("task", long))
	m.say("cancel:", pythonBool(task.Cancel()))
	return turns(ctx, 3)
}

func cancelAsleep(ctx context.Context, m *marks) error {
	m.start("asleep")
	task := m.task(ctx, "task", m.sleeper("task", long))
	if err := turns(ctx, 1); err != nil {
		return err
	}
	m.say("cancel:", pythonBool(task.Cancel("enough")))
	m.say("open requests:", task.Cancelling(), "done:", pythonBool(task.Done()))
	if err := turns(ctx, 3); err != nil {
		return err
	}
	m.say("cancel again:", pythonBool(task.Cancel()))
	return nil
}

func cancelTwice(ctx context.Context, m *marks) error {
	m.start("twice")
	task := m.task(ctx, "task", func(ctx context.Context) error {
		m.mark("hears", why(loopnode.Sleep(ctx, long)))
		err := turns(ctx, 5)
		m.mark("hears in its clean-up", why(err))
		return err
	})
	if err := turns(ctx, 1); err != nil {
		return err
	}
	task.Cancel("one")
	if err := turns(ctx, 2); err != nil {
		return err
	}
	task.Cancel("two")
	return turns(ctx, 3)
}

func cancelRefused(ctx context.Context, m *marks) error {
	m.start("refused")
	task := watch[int](m, "task", loopnode.CreateTask(ctx, "task", func(ctx context.Context) (int, error) {
		m.mark("hears", why(loopnode.Sleep(ctx, long)))
		err := turns(ctx, 1)
		m.mark("goes on")
		return 7, err
	}))
	if err := turns(ctx, 1); err != nil {
		return err
	}
	task.Cancel()
	v, err := task.Await(ctx)
	m.say("result:", v, "cancelled:", pythonBool(task.Cancelled()), "open requests:", task.Cancelling())
	return err
}

func cancelItself(ctx context.Context, m *marks) error {
	m.start("by itself")
	m.task(ctx, "task", func(ctx context.Context) error {
		me, _ := loopnode.CurrentTask(ctx)
		ready := loopnode.NewFuture[int](m.loop)
		if err := ready.SetResult(0); err != nil {
			return err
		}
		me.Cancel("me")
		m.mark("asked")
		if _, err := ready.Await(ctx); err != nil {
			return err
		}
		m.mark("a done future does not wait")
		err := turns(ctx, 1)
		m.mark("hears", why(err))
		return err
	})
	return turns(ctx, 3)
}

func cancelChain(ctx context.Context, m *marks) error {
	m.start("a chain")
	future := watch[int](m, "future", loopnode.NewFuture[int](m.loop))
	waits := func(name string, on loopnode.Awaitable[int]) *loopnode.Task[int] {
		return m.task(ctx, name, func(ctx context.Context) error {
			_, err := on.Await(ctx)
			m.mark(name, "hears", why(err))
			return err
		})
	}
	child := waits("child", future)
	parent := waits("parent", child)
	if err := turns(ctx, 2); err != nil {
		return err
	}
	m.start("cancel")
	parent.Cancel("top")
	m.say("future cancelled:", pythonBool(future.Cancelled()), "child:", pythonBool(child.Done()))
	return turns(ctx, 5)
}

func cancelWithdrawn(ctx context.Context, m *marks) error {
	m.start("withdrawn")
	var task *loopnode.Task[int]
	task = m.task(ctx, "task", func(ctx context.Context) error {
		if err := loopnode.Sleep(ctx, long); err != nil {
			m.mark("open requests:", task.Uncancel())
		}
		err := turns(ctx, 1)
		m.mark("goes on")
		return err
	})
	if err := turns(ctx, 1); err != nil {
		return err
	}
	task.Cancel()
	err := turns(ctx, 4)
	m.say("cancelled:", pythonBool(task.Cancelled()))
	return err
}

func shielding(t *testing.T, say func(...any)) {
	reports := 0
	parts(t, say,
		func(_ context.Context, m *marks) error {
			m.loop.SetExceptionHandler(func(*loopnode.Loop, loopnode.ExceptionContext) { reports++ })
			return nil
		},
		shieldCancelled, shieldedWait,
		shieldEnds("the inner one is cancelled", func(inner *loopnode.Future[int]) error {
			inner.Cancel()
			return nil
		}),
		shieldEnds("the inner one fails, and the outer one hears", func(inner *loopnode.Future[int]) error {
			return inner.SetException(errors.New("boom"))
		}),
		func(ctx context.Context, m *marks) error {
			m.start("the inner one fails, and nobody hears any more")
			inner, outer := shielded(ctx, m)
			outer.Cancel()
			if err := turns(ctx, 1); err != nil {
				return err
			}
			if err := inner.SetException(errors.New("boom")); err != nil {
				return err
			}
			err := turns(ctx, 2)
			m.say("reports:", reports)
			return err
		},
		func(ctx context.Context, m *marks) error {
			m.start("what is done is given back")
			inner := loopnode.NewFuture[int](m.loop)
			err := inner.SetResult(1)
			m.say("the same:", pythonBool(loopnode.Shield(ctx, inner) == inner))
			return err
		})
}

// shielded is a new future behind a shield.
func shielded(ctx context.Context, m *marks) (inner, outer *loopnode.Future[int]) {
	inner = watch[int](m, "inner", loopnode.NewFuture[int](m.loop))
	return inner, watch[int](m, "outer", loopnode.Shield(ctx, inner))
}

func shieldCancelled(ctx context.Context, m *marks) error {
	m.start("the outer one is cancelled")
	inner, outer := shielded(ctx, m)
	m.say("cancel:", pythonBool(outer.Cancel()))
	if err := turns(ctx, 2); err != nil {
		return err
	}
	m.say("inner done:", pythonBool(inner.Done()))
	if err := inner.SetResult(0); err != nil {
		return err
	}
	return turns(ctx, 2)
}

func shieldedWait(ctx context.Context, m *marks) error {
	m.start("a task waits at it and is cancelled")
	inner := watch[int](m, "inner", loopnode.NewFuture[int](m.loop))
	task := m.task(ctx, "task", func(ctx context.Context) error {
		_, err := loopnode.Shield(ctx, inner).Await(ctx)
		m.mark("hears", why(err))
		v, err := inner.Await(ctx)
		m.mark("inner gives", v)
		return err
	})
	if err := turns(ctx, 1); err != nil {
		return err
	}
	task.Cancel()
	if err := turns(ctx, 3); err != nil {
		return err
	}
	if err := inner.SetResult(5); err != nil {
		return err
	}
	return turns(ctx, 3)
}

// shieldEnds is the part in which the future behind the shield ends.
func shieldEnds(name string, end func(inner *loopnode.Future[int]) error) func(context.Context, *marks) error {
	return func(ctx context.Context, m *marks) error {
		m.start(name)
		inner, _ := shielded(ctx, m)
		if err := end(inner); err != nil {
			return err
		}
		return turns(ctx, 4)
	}
}
