package loopnode

import (
	"context"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// TaskSpec is how a task is about to be made. Options and the loop's TaskFactory
// may change it.
type TaskSpec struct {
	// Context is what the task's ctx gets its values from, and its end; nil is
	// the loop's own.
	Context context.Context
	// Name is the task's name; "" becomes Task-N.
	Name string
	// Start is when the first step runs.
	Start TaskStart
	// Body runs the task's function and keeps its result. A factory may put its
	// own function around it; one that does not call it leaves the zero result, and
	// nil is an error. Options do not see it.
	Body func(ctx context.Context) error
}

// TaskStart is when a task's first step runs.
type TaskStart uint8

const (
	// StartDefault leaves it to the factory, and without one is StartSoon.
	StartDefault TaskStart = iota
	// StartSoon is the next turn.
	StartSoon
	// StartEager is at once, inside CreateTask; see EagerStart.
	StartEager
)

// TaskOption changes how one task is made.
type TaskOption func(*TaskSpec)

// EagerStart(true) runs the task's first step inside CreateTask, until it waits:
// a task that does not wait is done when CreateTask returns and was never
// queued. It does so only where the calling goroutine runs the task's loop;
// elsewhere the task starts in the next turn. EagerStart(false) overrides an
// eager TaskFactory. asyncio 3.14: create_task(eager_start=…).
func EagerStart(on bool) TaskOption {
	if on {
		return startEager
	}
	return startSoon
}

func startEager(s *TaskSpec) { s.Start = StartEager }
func startSoon(s *TaskSpec)  { s.Start = StartSoon }

// TaskFactory sees every task of a loop before it is made, with the call's
// options applied, and may change it. With an error the task is born failed; a
// panic counts as one. It runs inside CreateTask, on whatever goroutine called
// that, so it must be safe for several at once.
type TaskFactory func(l *Loop, spec *TaskSpec) error

// SetTaskFactory makes f decide how the loop's tasks are made; nil restores the
// default. Any goroutine. asyncio: loop.set_task_factory.
func (l *Loop) SetTaskFactory(f TaskFactory) {
	if f == nil {
		l.factory.Store(nil)
		return
	}
	l.factory.Store(&f)
}

// TaskFactory is what SetTaskFactory set, nil for the default. Any goroutine.
// asyncio: loop.get_task_factory.
func (l *Loop) TaskFactory() TaskFactory {
	if f := l.factory.Load(); f != nil {
		return *f
	}
	return nil
}

// EagerTasks is a TaskFactory: tasks start eagerly unless the call says
// otherwise. asyncio.eager_task_factory.
func EagerTasks(_ *Loop, spec *TaskSpec) error {
	if spec.Start == StartDefault {
		spec.Start = StartEager
	}
	return nil
}

// plan asks the options and the factory how to make k.
func (k *Task[T]) plan(ctx context.Context, name string, factory *TaskFactory, opts []TaskOption) (*TaskSpec, error) {
	spec := &TaskSpec{Context: ctx, Name: name}
	p := guard.Call(func() {
		for _, opt := range opts {
			if opt != nil {
				opt(spec)
			}
		}
	})
	if p != nil {
		return nil, p
	}
	if factory != nil {
		own := k.fn
		if k.at == 0 {
			k.showAs(own) // not the closure below
		}
		spec.Body = func(ctx context.Context) (err error) {
			k.value, err = own(ctx)
			return err
		}
		var err error
		if p := guard.Call(func() { err = (*factory)(k.loop, spec) }); p != nil {
			err = p
		}
		if err != nil {
			return nil, err
		}
		body := spec.Body
		if body == nil {
			return nil, invalid("the TaskFactory set TaskSpec.Body to nil; leave it alone, or put a function around it")
		}
		k.fn = func(ctx context.Context) (T, error) {
			err := body(ctx)
			return k.value, err
		}
	}
	if spec.Context == nil {
		spec.Context = k.loop.ctx
	}
	return spec, nil
}
