package conformance

import (
	"context"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestGoldenGroup(t *testing.T) {
	t.Run("a group ends as its tasks, its body and its parent do", func(t *testing.T) {
		golden(t, "g15_task_group", func(t *testing.T, say func(...any)) {
			parts(t, say, groupEnds, groupParent)
		})
	})
}

// groupBody is what runs in a group.
type groupBody func(ctx context.Context, m *marks, g *loopnode.TaskGroup) error

// member starts a task of the group and marks its end.
func member(m *marks, g *loopnode.TaskGroup, name string, fn func(context.Context) error) *loopnode.Task[int] {
	return watch[int](m, name, loopnode.GroupTask(g, name, noResult(fn)))
}

// fails is a task that fails after some turns.
func fails(m *marks, name string, after int) func(context.Context) error {
	return func(ctx context.Context) error {
		m.mark(name, "starts")
		if err := turns(ctx, after); err != nil {
			return err
		}
		m.mark(name, "fails")
		return errors.New(name + " failed")
	}
}

func group(ctx context.Context, m *marks, body groupBody) {
	err := loopnode.WithTaskGroup(ctx, func(ctx context.Context, g *loopnode.TaskGroup) error {
		if err := body(ctx, m, g); err != nil {
			return err
		}
		m.mark("the body ends")
		return nil
	})
	if err != nil {
		m.mark("the group fails with", why(err))
		return
	}
	m.mark("the group ends well")
}

// groupEnds: the parts in which the group ends by itself.
func groupEnds(ctx context.Context, m *marks) error {
	for _, part := range []struct {
		name string
		body groupBody
	}{
		{"all end well", func(_ context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "one", m.sleeper("one", 0))
			member(m, g, "two", m.sleeper("two", 0))
			return nil
		}},
		{"one fails while the group waits", func(_ context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "sleeper", m.sleeper("sleeper", long))
			member(m, g, "bad", fails(m, "bad", 2))
			return nil
		}},
		{"one fails while the body waits", func(ctx context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "bad", fails(m, "bad", 1))
			err := loopnode.Sleep(ctx, long)
			m.mark("the body hears", why(err))
			return err
		}},
		{"two fail in one turn", func(_ context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "bad", fails(m, "bad", 1))
			member(m, g, "worse", fails(m, "worse", 1))
			return nil
		}},
		{"another fails in its clean-up", failsTwice},
		{"the body fails", func(ctx context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "sleeper", m.sleeper("sleeper", long))
			if err := turns(ctx, 2); err != nil {
				return err
			}
			return errors.New("body failed")
		}},
		{"a task that is cancelled is no failure", func(ctx context.Context, m *marks, g *loopnode.TaskGroup) error {
			one := member(m, g, "one", m.sleeper("one", long))
			member(m, g, "two", m.sleeper("two", 0))
			err := turns(ctx, 1)
			one.Cancel()
			return err
		}},
	} {
		m.start(part.name)
		group(ctx, m, part.body)
	}
	return nil
}

// failsTwice: a task fails, and the other one in its clean-up.
func failsTwice(_ context.Context, m *marks, g *loopnode.TaskGroup) error {
	member(m, g, "tidy", func(ctx context.Context) error {
		_ = loopnode.Sleep(ctx, long) // it only ends cancelled
		if err := turns(ctx, 2); err != nil {
			return err
		}
		return errors.New("clean-up failed")
	})
	member(m, g, "bad", fails(m, "bad", 1))
	return nil
}

// groupParent: the parts in which the task around the group is cancelled.
func groupParent(ctx context.Context, m *marks) error {
	for _, part := range []struct {
		name string
		body groupBody
	}{
		{"the parent is cancelled", func(_ context.Context, m *marks, g *loopnode.TaskGroup) error {
			member(m, g, "one", m.sleeper("one", long))
			return nil
		}},
		{"the parent is cancelled and a task fails", failsTwice},
	} {
		m.start(part.name)
		var parent *loopnode.Task[int]
		parent = loopnode.CreateTask(ctx, "parent", noResult(func(ctx context.Context) error {
			group(ctx, m, part.body)
			if err := turns(ctx, 1); err != nil {
				m.say("the next wait is cancelled")
			} else {
				m.say("the next wait is not cancelled")
			}
			m.say("open requests:", parent.Cancelling())
			return nil
		}))
		if err := turns(ctx, 2); err != nil {
			return err
		}
		m.start("now")
		parent.Cancel("stop")
		if err := finish(ctx, parent); err != nil {
			return err
		}
	}
	return nil
}
