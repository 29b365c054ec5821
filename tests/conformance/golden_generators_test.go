package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenGenerators(t *testing.T) {
	t.Run("LOOP-22 a generator runs inside the task that asks it, and is closed and shut down there", func(t *testing.T) {
		golden(t, "g26_generators", func(t *testing.T, say func(...any)) {
			parts(t, say, generatorTurns, generatorTask, generatorCancelled, generatorShared, generatorTimeouts,
				generatorClosed, generatorNested, generatorShutdown)
		})
	})
}

type generator = *loopnode.Generator[int]

// numbers yields 1, 2, 3; it waits some turns before each, and some when it is
// told to leave.
func numbers(m *marks, name string, before, after int) generator {
	return loopnode.NewGenerator(func(ctx context.Context, yield func(int) error) error {
		for i := 1; i <= 3; i++ {
			err := turns(ctx, before)
			if err == nil {
				err = yield(i)
			}
			if err != nil {
				return leaves(ctx, m, name, after, err)
			}
		}
		return nil
	})
}

// leaves is the clean-up of a body that was told to leave by err.
func leaves(ctx context.Context, m *marks, name string, after int, err error) error {
	word := why(err)
	if errors.Is(err, loopnode.ErrGeneratorExit) {
		word = "exit"
	}
	m.mark(name, "hears", word)
	if again := turns(ctx, after); again != nil {
		m.mark(name, "hears in its clean-up", why(again))
		return again
	}
	m.mark(name, "leaves")
	return err
}

func askGenerator(m *marks, name string, g generator) func(context.Context) error {
	return func(ctx context.Context) error {
		v, ok, err := g.Next(ctx)
		switch {
		case errors.Is(err, loopnode.ErrCancelled):
			m.mark(name, "hears", why(err))
			return err
		case errors.Is(err, loopnode.ErrBusy):
			m.mark(name, "hears busy")
		case err != nil:
			return err
		case ok:
			m.mark(name, "gets", v)
		default:
			m.mark(name, "gets nothing")
		}
		return nil
	}
}

func closeGenerator(m *marks, name string, g generator) func(context.Context) error {
	return func(ctx context.Context) error {
		err := g.Close(ctx)
		switch {
		case errors.Is(err, loopnode.ErrCancelled):
			m.mark(name, "hears", why(err))
			return err
		case errors.Is(err, loopnode.ErrInvalidState):
			m.mark(name, "hears ignored")
		case err != nil:
			return err
		default:
			m.mark(name, "closed")
		}
		return nil
	}
}

// askMany asks n times.
func askMany(ctx context.Context, m *marks, g generator, n int) error {
	for range n {
		if err := askGenerator(m, "main", g)(ctx); err != nil {
			return err
		}
	}
	return nil
}

func generatorTurns(ctx context.Context, m *marks) error {
	m.start("a body that does not wait")
	if err := askMany(ctx, m, numbers(m, "body", 0, 0), 5); err != nil {
		return err
	}
	m.start("a body that waits")
	return askMany(ctx, m, numbers(m, "body", 2, 0), 4)
}

func generatorTask(ctx context.Context, m *marks) error {
	m.start("whose task")
	current := loopnode.NewGenerator(func(ctx context.Context, yield func(string) error) error {
		t, is := loopnode.CurrentTask(ctx)
		if !is {
			return errors.New("no task")
		}
		return yield(t.Name())
	})
	_, err := loopnode.CreateTask(ctx, "asker", noResult(func(ctx context.Context) error {
		for name, err := range current.All(ctx) {
			if err != nil {
				return err
			}
			m.mark("the body is in", name)
		}
		return nil
	})).Await(ctx)
	return err
}

func generatorCancelled(ctx context.Context, m *marks) error {
	m.start("cancelled")
	g := numbers(m, "body", 9, 0)
	task := m.task(ctx, "task", askGenerator(m, "task", g))
	if err := turns(ctx, 2); err != nil {
		return err
	}
	task.Cancel("enough")
	if err := turns(ctx, 4); err != nil {
		return err
	}
	return askMany(ctx, m, g, 1)
}

func generatorShared(ctx context.Context, m *marks) error {
	m.start("two tasks, no wait")
	g := numbers(m, "body", 0, 0)
	for _, name := range []string{"a", "b", "c", "d"} {
		m.task(ctx, name, askGenerator(m, name, g))
	}
	if err := turns(ctx, 3); err != nil {
		return err
	}
	m.start("two tasks, waits")
	g = numbers(m, "body", 2, 0)
	for _, name := range []string{"a", "b"} {
		m.task(ctx, name, askGenerator(m, name, g))
	}
	if err := turns(ctx, 5); err != nil {
		return err
	}
	return closeGenerator(m, "main", g)(ctx)
}

// noTime runs what under a limit that is over at once.
func noTime(ctx context.Context, m *marks, what func(context.Context) error) error {
	err := loopnode.Timeout(ctx, 0, what)
	if errors.Is(err, loopnode.ErrTimeout) {
		m.mark("timeout")
		return nil
	}
	return err
}

func generatorTimeouts(ctx context.Context, m *marks) error {
	m.start("no time, no wait")
	g := numbers(m, "body", 0, 0)
	if err := noTime(ctx, m, askGenerator(m, "main", g)); err != nil {
		return err
	}
	if err := noTime(ctx, m, closeGenerator(m, "main", g)); err != nil {
		return err
	}
	m.start("no time, waits")
	if err := noTime(ctx, m, askGenerator(m, "main", numbers(m, "body", 2, 0))); err != nil {
		return err
	}
	m.start("no time to clean up")
	g = numbers(m, "body", 0, 2)
	if err := askMany(ctx, m, g, 1); err != nil {
		return err
	}
	return noTime(ctx, m, closeGenerator(m, "main", g))
}

func generatorClosed(ctx context.Context, m *marks) error {
	m.start("cleans up")
	g := numbers(m, "body", 0, 2)
	for _, step := range []func(context.Context) error{
		askGenerator(m, "main", g), closeGenerator(m, "main", g), askGenerator(m, "main", g),
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	m.start("cancelled while it cleans up")
	g = numbers(m, "body", 0, 9)
	if err := askMany(ctx, m, g, 1); err != nil {
		return err
	}
	task := m.task(ctx, "task", closeGenerator(m, "task", g))
	if err := turns(ctx, 2); err != nil {
		return err
	}
	task.Cancel()
	if err := turns(ctx, 3); err != nil {
		return err
	}
	m.start("yields on")
	g = loopnode.NewGenerator(func(_ context.Context, yield func(int) error) error {
		_ = yield(1)
		return yield(2)
	})
	if err := askMany(ctx, m, g, 1); err != nil {
		return err
	}
	return closeGenerator(m, "main", g)(ctx)
}

func generatorNested(ctx context.Context, m *marks) error {
	m.start("one in the other")
	return askMany(ctx, m, loopnode.NewGenerator(func(ctx context.Context, yield func(int) error) error {
		for i, err := range numbers(m, "inner", 1, 0).All(ctx) {
			if err != nil {
				return err
			}
			if err := turns(ctx, 1); err != nil {
				return err
			}
			if err := yield(i * 10); err != nil {
				return err
			}
		}
		return nil
	}), 4)
}

func generatorShutdown(ctx context.Context, m *marks) error {
	m.start("shutdown")
	gs := []generator{numbers(m, "a", 0, 2), numbers(m, "b", 0, 1), numbers(m, "fresh", 0, 0)}
	for _, g := range gs[:2] {
		if err := askMany(ctx, m, g, 1); err != nil {
			return err
		}
	}
	if err := m.loop.ShutdownAsyncgens(ctx); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	m.mark("shut down")
	return askMany(ctx, m, gs[0], 1)
}
