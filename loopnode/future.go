package loopnode

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
)

type futureState uint8

const (
	pending futureState = iota
	finished
	failed
	cancelled
)

// future is the half of Future[T] that does not know T. Owned by the loop
// goroutine.
type future struct {
	loop   *Loop
	owner  *task                    // when it is a task's: cancelling it is a request to the task
	asked  func(msg ...string) bool // when cancelling it is somebody else's business
	state  futureState
	shield bool // a failure after its shield was cancelled is already reported
	// over is state != pending for other goroutines: what they see after it, the
	// value and err, does not change any more.
	over   atomic.Bool
	err    error
	calls  doneCalls // Invariant: empty once done.
	lost   *unretrieved
	source []uintptr
}

// Waiter is any future or task, whatever its result type.
type Waiter interface {
	// Done reports whether there is a result, an error or a cancellation.
	Done() bool
	// Cancelled reports whether it ended cancelled.
	Cancelled() bool
	// Cancel asks it to end; see Future.Cancel.
	Cancel(msg ...string) bool
	// Exception is why it failed; see Future.Exception.
	Exception() error
	untyped() *future
}

// Future is a result that will be there later. It belongs to one loop; all
// methods but Await are for that loop's goroutine. asyncio.Future.
type Future[T any] struct {
	future
	value T
}

// NewFuture makes a pending future of l; without a loop it is born failed with
// ErrInvalidArgument. asyncio: loop.create_future.
func NewFuture[T any](l *Loop) *Future[T] {
	if l == nil {
		return refusedFuture[T](invalid("NewFuture needs a loop, not nil"))
	}
	if err := l.checkGoroutine("NewFuture; use NewSafeFuture"); err != nil {
		return refusedFuture[T](err)
	}
	f := &Future[T]{future: future{loop: l}}
	if l.debug {
		f.source = creationFrames()
	}
	return f
}

func (f *future) untyped() *future { return f }

// Loop is the loop the future belongs to. asyncio: get_loop.
func (f *future) Loop() *Loop { return f.loop }

// Done reports whether there is a result, an error or a cancellation.
func (f *future) Done() bool { return f.state != pending }

// Cancelled reports whether it ended cancelled.
func (f *future) Cancelled() bool { return f.state == cancelled }

// SetResult makes v the result. Done callbacks and waiting tasks are queued, in
// the order they came, never run inside. ErrInvalidState when already done.
func (f *Future[T]) SetResult(v T) error {
	if err := f.checkGoroutine("Future.SetResult"); err != nil {
		return err
	}
	if f.state != pending {
		return f.doneAlready("SetResult")
	}
	f.value = v
	f.settle(finished, nil)
	return nil
}

// SetException makes err the outcome. ErrInvalidState when already done,
// ErrInvalidArgument for nil. A failure nobody looks at is reported.
func (f *future) SetException(err error) error {
	if wrong := f.checkGoroutine("Future.SetException"); wrong != nil {
		return wrong
	}
	switch {
	case f.state != pending:
		return f.doneAlready("SetException")
	case err == nil:
		return invalid("SetException needs an error, not nil")
	}
	f.fail(err)
	return nil
}

func (f *future) doneAlready(what string) error {
	return fmt.Errorf("%w: %s on a future that is done", ErrInvalidState, what)
}

// Cancel ends the future with ErrCancelled and reports true; false when it is
// done. On a task it is a request: the task sees the error at its next wait,
// and may refuse. msg is carried by the CancelledError. asyncio: cancel.
func (f *future) Cancel(msg ...string) bool {
	if f.checkGoroutine("Future.Cancel") != nil {
		return false
	}
	if f.owner != nil {
		return f.owner.cancel(msg...)
	}
	if f.asked != nil && f.state == pending {
		return f.asked(msg...)
	}
	if f.state != pending {
		f.see()
		return false
	}
	f.settle(cancelled, cancelError(msg))
	return true
}

func cancelError(msg []string) error {
	e := &CancelledError{}
	if len(msg) > 0 {
		e.Msg = msg[0]
	}
	return e
}

// Result is the outcome: the value, or the error it failed with, the
// CancelledError, or ErrInvalidState while pending. asyncio: result.
func (f *Future[T]) Result() (T, error) {
	if err := f.Exception(); err != nil {
		var zero T
		return zero, err
	}
	return f.value, nil
}

// Exception is the error half of Result: nil for success. asyncio: exception.
func (f *future) Exception() error {
	if f.state == pending {
		if f.loop == nil {
			return f.err
		}
		return fmt.Errorf("%w: the result is not ready", ErrInvalidState)
	}
	f.see()
	return f.err
}

// see marks a failure as looked at.
func (f *future) see() {
	if f.lost != nil {
		f.lost.seen.Store(true)
		delete(f.loop.lost, f.lost)
		f.lost = nil
	}
}

// AddDoneCallback makes the loop call fn when the future is done; at once, that
// is in the next turn, when it is done already. asyncio: add_done_callback.
func (f *Future[T]) AddDoneCallback(fn func(*Future[T])) CallbackID {
	if f.checkGoroutine("Future.AddDoneCallback") != nil {
		return 0
	}
	return f.register(doneCall{fn: func() { fn(f) }, at: reflect.ValueOf(fn).Pointer()})
}

// AddDoneCallbackContext is AddDoneCallback with a context that fn gets and that
// the exception handler sees; a function without one has the variables it
// captured. asyncio: add_done_callback(context=…).
func (f *Future[T]) AddDoneCallbackContext(ctx context.Context, fn func(context.Context, *Future[T])) CallbackID {
	if f.checkGoroutine("Future.AddDoneCallbackContext") != nil {
		return 0
	}
	if f.loop != nil {
		ctx = f.loop.Context(ctx)
	}
	return f.register(doneCall{at: reflect.ValueOf(fn).Pointer(), fn: func() {
		f.loop.noteContext(ctx)
		fn(ctx, f)
	}})
}

// RemoveDoneCallback takes a callback back and returns how many that were: 1,
// or 0 once the future is done. asyncio: remove_done_callback.
func (f *future) RemoveDoneCallback(id CallbackID) int {
	if f.checkGoroutine("Future.RemoveDoneCallback") != nil {
		return 0
	}
	return f.forget(id)
}

// checkGoroutine is Loop.CheckGoroutine for the methods of a future, which belongs
// to no loop when it was refused at birth.
func (f *future) checkGoroutine(what string) error {
	if f.loop == nil {
		return nil
	}
	return f.loop.checkGoroutine(what)
}

func (f *future) fail(err error) {
	f.lost = trackUnretrieved(f, err)
	f.settle(failed, err)
}

// settle gives the future its final state and queues what is registered for it.
func (f *future) settle(s futureState, err error) {
	f.state, f.err = s, err
	f.over.Store(true)
	calls := f.calls.take()
	if calls.first.id != 0 {
		f.loop.fire(calls.first)
	}
	for _, c := range calls.more {
		if c.live() {
			f.loop.fire(c)
		}
	}
}

// conclude gives f an outcome that came about elsewhere, unless it has one.
func (f *Future[T]) conclude(s futureState, v T, err error) {
	switch {
	case f.state != pending:
	case s == failed:
		f.fail(err)
	default:
		f.value = v
		f.settle(s, err)
	}
}

// fire queues one done callback.
func (l *Loop) fire(c doneCall) {
	switch {
	case l == nil || l.closed.Load():
	case c.fn == nil:
		c.by.owner.schedule()
	case c.at != 0:
		l.push(c.fn, &callMeta{at: c.at})
	default:
		l.soon(c.fn)
	}
}
