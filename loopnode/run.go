package loopnode

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RunForever runs the loop on the calling goroutine until Stop. It returns nil
// then. That goroutine must not have locked its thread (runtime.LockOSThread): the
// runtime ends the process when a task is switched under a lock. Stop before RunForever makes it one turn long. Errors: ErrLoopClosed,
// ErrLoopRunning, ErrNestedLoop (another loop runs on this goroutine), and a
// *FatalError that a callback or task threw; after it the loop is usable and
// the rest of its queue is intact. asyncio: loop.run_forever.
func (l *Loop) RunForever() error { return l.runWith(false, -1) }

// RunOnce runs one turn: it waits at most limit for something to do (0: does
// not wait, negative: as long as it takes) and runs what is ready. It is for
// programs with a main loop of their own. asyncio: the two halves of
// run_forever, 3.13.
func (l *Loop) RunOnce(limit time.Duration) error { return l.runWith(true, limit) }

// Stop makes the current turn the last one: the whole batch still runs, what it
// schedules stays queued for the next run. It never fails, also on a loop that
// does not run or is closed. Loop goroutine; elsewhere Ref().Stop, which debug
// mode does on its own: it logs the call and the loop still stops.
// asyncio: loop.stop.
func (l *Loop) Stop() {
	if l.checkGoroutine("Loop.Stop; use Ref().Stop") != nil {
		_ = l.Ref().Stop() // closed meanwhile: it has stopped
		return
	}
	l.core.Stop()
}

func (l *Loop) runWith(once bool, limit time.Duration) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	l.resumeDrive(once, limit)
	l.core.TakeStop()
	if f := l.fatal; f != nil {
		return f
	}
	return nil
}

// enter makes this goroutine the loop's.
func (l *Loop) enter() error {
	if err := l.beginRun(); err != nil {
		return err
	}
	l.fatal = nil
	running.add(l)
	l.beat.start(l)
	return nil
}

// beginRun makes the loop running, unless it runs or is closed.
func (l *Loop) beginRun() error {
	l.phase.Lock()
	defer l.phase.Unlock()
	if err := l.runnable(); err != nil {
		return err
	}
	l.running.Store(true)
	return nil
}

func (l *Loop) leave() {
	l.beat.leave()
	l.setCurrent(nil)
	l.beat.stop()
	l.fatal = nil
	l.run.left, l.run.amid = 0, false
	running.remove(l)
	l.running.Store(false)
}

// Awaitable is a Future, a Task, or anything else that waits like one.
type Awaitable[T any] interface {
	Waiter
	typed() *Future[T]
	// Result is the outcome of one that is done; see Future.Result.
	Result() (T, error)
	// Await waits for the outcome; see Future.Await.
	Await(ctx context.Context) (T, error)
}

// RunUntilComplete runs l until f is done and returns its result. A result that
// is there already still takes one turn. Errors besides f's own: ErrWrongLoop,
// ErrInvalidArgument (nil), ErrLoopStopped (Stop came first; f stays pending and
// can be awaited by a later run) and what RunForever returns.
// asyncio: loop.run_until_complete.
func RunUntilComplete[T any](l *Loop, f Awaitable[T]) (T, error) {
	var zero T
	switch {
	case absent(f):
		return zero, invalid("RunUntilComplete: nothing to wait for (nil)")
	case l == nil:
		return zero, invalid("RunUntilComplete needs a loop, not nil: make one with New, or use Run")
	}
	if err := l.runUntil(f.untyped()); err != nil {
		return zero, err
	}
	return f.Result()
}

func (l *Loop) runUntil(f *future) error {
	if f.loop == nil {
		return f.err
	}
	if f.loop != l {
		return fmt.Errorf("%w: it is of %s, not %s", ErrWrongLoop, f.loop.name, l.name)
	}
	if err := l.runnable(); err != nil {
		return err
	}
	id := f.onDone(func() {
		if asFatal(f.err) == nil { // a fatal error ends the run itself
			l.Stop()
		}
	})
	err := l.RunForever()
	f.forget(id) // a leftover must not stop a later run
	switch {
	case err != nil:
		if asFatal(err) != nil && f.state == failed && errors.Is(f.err, err) {
			f.see() // it left through the run: not "never retrieved"
		}
		return err
	case f.state == pending:
		return fmt.Errorf("%w: %s", ErrLoopStopped, l.name)
	}
	return nil
}

// runnable tells whether a run may start here, and changes nothing.
func (l *Loop) runnable() error {
	switch {
	case l.closed.Load():
		return closedError(l)
	case l.running.Load():
		return fmt.Errorf("%w: %s", ErrLoopRunning, l.name)
	case onLoop():
		return fmt.Errorf("%w: start loop %s from a goroutine of its own", ErrNestedLoop, l.name)
	}
	return nil
}
