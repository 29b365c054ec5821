package loopnode

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Outcome is how one awaitable ended.
type Outcome[T any] struct {
	Value T
	Err   error
}

// Gather waits for all of aws and returns their results in argument order. The
// first failure (a cancelled child counts) is returned at once; the others run
// on, and their later failures are not reported. Cancelling the waiting task
// cancels every child that is not done. Call it in a task of the children's
// loop. Errors besides the children's: ErrWrongLoop, ErrInvalidArgument (nil),
// and those of Await. asyncio.gather.
func Gather[T any](ctx context.Context, aws ...Awaitable[T]) ([]T, error) {
	return GatherFuture(ctx, aws...).Await(ctx)
}

// GatherFuture is Gather as a future, for the loop's goroutine: it does not
// wait. Cancelling it asks the children to end; it is done when they are.
func GatherFuture[T any](ctx context.Context, aws ...Awaitable[T]) *Future[[]T] {
	return gather(ctx, aws, false, func(aw Awaitable[T]) T {
		v, _ := aw.Result() // all have succeeded
		return v
	})
}

// GatherAll is Gather that keeps failures and cancellations of children as
// outcomes. Its error is for the gathering itself: it was cancelled, or could
// not start. asyncio.gather with return_exceptions.
func GatherAll[T any](ctx context.Context, aws ...Awaitable[T]) ([]Outcome[T], error) {
	return GatherAllFuture(ctx, aws...).Await(ctx)
}

// GatherAllFuture is GatherAll as a future; see GatherFuture.
func GatherAllFuture[T any](ctx context.Context, aws ...Awaitable[T]) *Future[[]Outcome[T]] {
	return gather(ctx, aws, true, func(aw Awaitable[T]) (o Outcome[T]) {
		o.Value, o.Err = aw.Result()
		return o
	})
}

// gather makes the outer future; read takes what a finished child leaves.
func gather[T, R any](ctx context.Context, aws []Awaitable[T], keep bool, read func(Awaitable[T]) R) *Future[[]R] {
	children, err := futuresOf(aws)
	var l *Loop
	if err == nil {
		l, err = commonLoop(ctx, children)
	}
	if err != nil {
		return refusedFuture[[]R](err)
	}
	outer := NewFuture[[]R](l)
	g := &gathering{outer: &outer.future, children: children, left: len(children), keep: keep, finish: func() {
		results := make([]R, len(aws))
		for i, aw := range aws {
			results[i] = read(aw)
		}
		outer.value = results
		outer.settle(finished, nil)
	}}
	g.start()
	return outer
}

// gathering is a gather under way.
type gathering struct {
	outer     *future
	children  []*future // each once
	left      int
	keep      bool // failures are results
	cancelled bool // a child was asked to end on the outer future's behalf
	finish    func()
}

func (g *gathering) start() {
	g.outer.asked = g.cancel
	if g.left == 0 {
		g.finish()
		return
	}
	var done []*future
	for _, c := range g.children {
		if c.state != pending {
			done = append(done, c)
			continue
		}
		c.onDoneFor(g.outer, func() { g.ended(c) })
	}
	for _, c := range done {
		g.ended(c)
	}
}

// ended counts one child.
func (g *gathering) ended(c *future) {
	g.left--
	err := c.Exception() // also what comes too late counts as looked at
	switch {
	case g.outer.state != pending:
	case err != nil && !g.keep:
		g.outer.fail(err) // not cancelled itself, even when the child was
	case g.left > 0:
	case g.cancelled:
		g.outer.fail(&CancelledError{Msg: c.cancelMessage()}) // CPython: that of the child that ended last
	default:
		g.finish()
	}
}

// cancelMessage is the message f was last cancelled with.
func (f *future) cancelMessage() string {
	var e *CancelledError
	switch {
	case f.owner != nil:
		return f.owner.cancelMsg
	case f.state == cancelled && errors.As(f.err, &e):
		return e.Msg
	}
	return ""
}

func (g *gathering) cancel(msg ...string) bool {
	asked := false
	for _, c := range g.children {
		if c.Cancel(msg...) {
			asked = true
		}
	}
	g.cancelled = g.cancelled || asked
	return asked
}

// futuresOf lists each future of aws once, in order.
func futuresOf[W Waiter](aws []W) ([]*future, error) {
	out := make([]*future, 0, len(aws))
	seen := make(map[*future]struct{}, len(aws))
	for i, aw := range aws {
		if absent(aw) {
			return nil, invalid("awaitable %d is nil", i)
		}
		f := aw.untyped()
		if _, again := seen[f]; !again {
			seen[f] = struct{}{}
			out = append(out, f)
		}
	}
	return out, nil
}

// absent reports whether w is nil, or a nil *Task or *Future in an interface.
func absent(w Waiter) bool {
	if w == nil {
		return true
	}
	v := reflect.ValueOf(w)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// commonLoop is the loop of ctx, or of the futures without one; all futures
// must be of it.
func commonLoop(ctx context.Context, fs []*future) (*Loop, error) {
	l := loopOf(ctx)
	for _, f := range fs {
		switch {
		case f.loop == nil:
			return nil, f.err // it never started
		case l == nil:
			l = f.loop
		case f.loop != l:
			return nil, fmt.Errorf("%w: %s and %s", ErrWrongLoop, l.name, f.loop.name)
		}
	}
	switch {
	case l == nil:
		return nil, fmt.Errorf("%w: give a task's ctx or Loop.Context", ErrNoRunningLoop)
	case l.running.Load() && !onLoop():
		return nil, fmt.Errorf("%w: combine futures in a task or callback of their loop %s", ErrWrongGoroutine, l.name)
	}
	return l, nil
}

// refusedFuture is born failed and belongs to no loop.
func refusedFuture[T any](err error) *Future[T] {
	return &Future[T]{future: future{state: failed, err: err}}
}
