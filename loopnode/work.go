package loopnode

import (
	"context"
	"reflect"

	"github.com/loopmesh/loopmesh/internal/core"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// workTask is the task of a loopaccess.Work. It is a task like any other, in one piece
// of memory: a call of another node is one, and there may be a million a second. Task[T]
// would cost a closure for the body and one for its end, and a turn of the loop between
// the end and who is told of it.
type workTask struct {
	future
	t    task
	work loopaccess.Work
	at   uintptr // what descriptions name; 0 when it is work.Func
}

// Start begins w as a task. See loopaccess.Loop.
func (a *access) Start(ctx context.Context, name string, w loopaccess.Work) (loopaccess.Task, error) {
	l := a.loop()
	if l.closed.Load() {
		return nil, closedError(l)
	}
	if l.factory.Load() != nil {
		return l.startAsPlanned(ctx, name, w)
	}
	k := &workTask{work: w}
	k.loop, k.owner = l, &k.t
	k.t.loop, k.t.fut, k.t.body, k.t.name = l, &k.future, k, name
	if l.tracing.Load() {
		k.source = creationFrames()
	}
	k.t.ctx.task = &k.t
	k.t.inherit(ctx)
	if l.inbox.Pending() {
		l.inbox.Drain(l.admit) // one FIFO: what others posted before goes first
	}
	l.accept(core.Item{Meta: &k.t})
	return (*taskAccess)(&k.t), nil
}

// startAsPlanned is Start on a loop whose tasks are made by a TaskFactory.
func (l *Loop) startAsPlanned(ctx context.Context, name string, w loopaccess.Work) (loopaccess.Task, error) {
	body := func(ctx context.Context) (struct{}, error) { return struct{}{}, w.Run(ctx) }
	k := newTask(l, ctx, name, body, w.Func(), func(k *Task[struct{}]) { k.t.tellWork(w) }, nil)
	if k.loop == nil {
		return nil, k.err
	}
	return (*taskAccess)(&k.t), nil
}

// tellWork tells w how its task has ended. A task that was abandoned, and the one that
// ends the loop, tell nobody: who owns w knows that its loop ends.
func (t *task) tellWork(w loopaccess.Work) {
	if t.fut.state != pending && t.loop.fatal == nil {
		w.Ended(t.fut.Exception())
	}
}

func (k *workTask) exec() error { return k.work.Run(&k.t.ctx) }

func (k *workTask) told() { k.t.tellWork(k.work) }

func (k *workTask) entry() uintptr {
	if k.at == 0 {
		k.showAs(k.work.Func())
	}
	return k.at
}

func (k *workTask) showAs(fn any) { k.at = reflect.ValueOf(fn).Pointer() }
