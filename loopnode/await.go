package loopnode

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/coro"
)

// Await waits for the outcome and returns it. In a task it suspends the task; a
// future that is done costs nothing. From another goroutine it blocks that
// goroutine. It ends early when the task is cancelled (which cancels the future
// too) or when a ctx of its own ends (which does not). Errors besides the
// future's: CancelledError, ErrTimeout, ErrWrongLoop (the task is of another
// loop), ErrWouldBlock (called in a callback), ErrWrongGoroutine (called with
// the ctx of a task from a goroutine that is not the task), ErrLoopClosed,
// ErrInvalidArgument (nil ctx). asyncio: await future.
func (f *Future[T]) Await(ctx context.Context) (T, error) {
	var zero T
	switch {
	case f == nil:
		return zero, invalid("Await of a nil future")
	case f.loop == nil && f.err == nil:
		return zero, invalid("Await of a future that NewFuture did not make")
	case f.loop == nil:
		return zero, f.err
	case ctx == nil:
		return zero, invalid("Await needs a ctx, not nil")
	}
	t := taskOf(ctx)
	if t == nil {
		return awaitOutside(ctx, f)
	}
	if err := t.await(ctx, &f.future); err != nil {
		return zero, err
	}
	return f.Result()
}

// await suspends t until f is done. nil: f is done.
func (t *task) await(ctx context.Context, f *future) error {
	if err := t.owned(); err != nil {
		return err
	}
	switch {
	case f.loop != t.loop:
		return fmt.Errorf("%w: task %s of loop %s waits for a future attached to a different loop, %s", ErrWrongLoop, t.label(), t.loop.name, f.loop.name)
	case f == t.fut:
		return fmt.Errorf("%w: task %s cannot await on itself", ErrInvalidState, t.label())
	case f.state != pending:
		return nil
	}
	var alarm func() bool
	if ownDone(ctx, t) {
		if ctx.Err() != nil {
			return contextError(ctx)
		}
		alarm = t.onContext(ctx, f)
		defer alarm()
	}
	t.waiting, t.waitID = f, f.register(doneCall{by: t.fut})
	if t.mustCancel && f.Cancel(t.cancelMsg) {
		t.mustCancel = false
	}
	return t.suspend()
}

// suspend gives the loop back and returns what was thrown into the task.
func (t *task) suspend() error {
	if t.loop.closed.Load() {
		return t.refuseWait()
	}
	w := t.coroutine()
	t.parked = t.loop.beat.turn
	ok := w.co.Suspend()
	for t.report != nil {
		*t.report = append(*t.report, callers()...)
		ok = w.co.Suspend()
	}
	if w.gid == 0 {
		w.identify(t.loop)
		t.gid.Store(w.gid)
	}
	f, thrown := t.waiting, t.thrown
	t.waiting, t.waitID, t.thrown = nil, 0, nil
	switch {
	case !ok || t.loop.closed.Load(): // the second: inside of a generator, whose coroutine goes on
		return t.refuseWait()
	case !t.mustCancel:
		return thrown
	}
	t.mustCancel = false
	if f != nil && f.state == cancelled {
		return nil // an earlier request took effect: the future tells it
	}
	return t.cancelled()
}

// interrupt ends the task's wait with err. Why it forgets what it waited for: a
// cancellation from here on is the task's own, and must not be lost on that.
func (t *task) interrupt(err error) {
	t.waiting.forget(t.waitID)
	t.waiting, t.waitID = nil, 0
	t.thrown = err
	t.schedule()
}

// maxRefusals is how often a task of a closed loop may try to wait before a
// panic unwinds it: one that ignores the error must not hang Close.
const maxRefusals = 1000

func (t *task) refuseWait() error {
	err := fmt.Errorf("%w: task %s cannot wait any more", ErrLoopClosed, t.label())
	if t.refusals++; t.refusals > maxRefusals {
		panic(err)
	}
	return err
}

// onContext wakes the task when a ctx of its own ends first.
func (t *task) onContext(ctx context.Context, f *future) (stop func() bool) {
	id := f.calls.last + 1 // what register will draw
	return context.AfterFunc(ctx, func() {
		_ = t.loop.post(func() {
			if t.waiting == f && t.waitID == id && f.state == pending {
				t.interrupt(contextError(ctx))
			}
		})
	})
}

// contextError says in this package's words why ctx ended; errors.Is also knows
// the context package's.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	e := &CancelledError{}
	if cause := context.Cause(ctx); cause != nil && cause != context.Canceled {
		e.Msg = cause.Error()
	}
	return e
}

// owned tells whether the calling goroutine is the one that runs t.
func (t *task) owned() error {
	switch {
	case !coro.Marked(): // the quick look: current tells the rest
		return fmt.Errorf("%w: the ctx of task %s was used on another goroutine; give that goroutine a ctx without a task", ErrWrongGoroutine, t.label())
	case t.loop.closed.Load():
		return t.refuseWait()
	case t.loop.current.Load() != t:
		if other := t.loop.current.Load(); other != nil {
			return fmt.Errorf("%w: task %s waits with the ctx of task %s; each task waits with the ctx that its own function gets", ErrWouldBlock, other.label(), t.label())
		}
		return fmt.Errorf("%w: the ctx of task %s was used outside of it", ErrWouldBlock, t.label())
	case t.loop.debug && !t.loop.run.locked && threadLocked():
		return fmt.Errorf("%w: task %s has locked its thread (runtime.LockOSThread), so a wait would end the process; unlock it first, or run this code on an Executor", ErrInvalidState, t.label())
	}
	return nil
}

// awaitOutside blocks a goroutine that runs no loop.
func awaitOutside[T any](ctx context.Context, f *Future[T]) (v T, err error) {
	if onLoop() {
		return v, fmt.Errorf("%w: use a task, or AddDoneCallback", ErrWouldBlock)
	}
	if f.over.Load() { // before anything else: neither an ended ctx nor a closed loop matters then
		_ = f.loop.post(f.see) // a closed loop reports nothing any more
		if f.err != nil {
			return v, f.err
		}
		return f.value, nil
	}
	type outcome struct {
		v   T
		err error
	}
	ready := make(chan outcome, 1)
	look := func() {
		v, err := f.Result()
		ready <- outcome{v, err}
	}
	var id CallbackID // loop goroutine
	if err := f.loop.post(func() {
		if f.state != pending {
			look()
			return
		}
		id = f.onDone(look)
	}); err != nil {
		return v, err
	}
	select {
	case o := <-ready:
		return o.v, o.err
	case <-ctx.Done():
		_ = f.loop.post(func() { f.forget(id) }) // a closed loop calls nobody anyway
		err = contextError(ctx)
	case <-f.loop.gone:
		err = fmt.Errorf("%w: %s, while waiting for its future", ErrLoopClosed, f.loop.name)
	}
	select {
	case o := <-ready: // Why: of several ready cases select takes any
		return o.v, o.err
	default:
		return v, err
	}
}
