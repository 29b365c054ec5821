package loopnode

import (
	"fmt"
	"runtime"
	"time"

	"github.com/loopmesh/loopmesh/internal/core"
	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// One turn has four steps, always in this order:
//
//	prepare  how long may the poller sleep: not at all when something is ready, else
//	         until the next timer
//	wait     the poller sleeps, or looks; then the inbox is drained into the ready
//	         queue, and behind it the callbacks of ready descriptors
//	digest   timers that are due go behind those; the length of the ready queue is
//	         now the size of the batch
//	batch    that many callbacks are called
//
// Invariant: what a batch schedules runs in the next turn. So a callback that
// schedules itself again and again delays descriptors and timers by one callback
// only. The inbox goes before the descriptors because what was posted before an
// event arrived must run before its callback.
//
// Only this file sleeps and only this file calls callbacks. The turns run in a
// coroutine (drive, resumeDrive): a callback that calls runtime.Goexit ends that
// coroutine, and the rest of its batch runs in a new one. run.left and run.amid
// say how far the batch had come.

// drive runs turns until a stop, a fatal error or, with once, one turn is over. It
// is what the coroutine of a run executes.
func (l *Loop) drive(once bool, limit time.Duration) {
	for {
		if !l.run.amid {
			if err := l.wait(l.prepare(limit)); err != nil {
				l.fatal = &FatalError{fmt.Errorf("loop %s: poller: %w", l.name, err)}
				return
			}
			l.run.left, l.run.amid = l.digest(), true
		}
		if l.meter != nil {
			l.measureBatch()
		} else {
			l.runBatch()
		}
		l.run.amid = false
		if once || l.fatal != nil || l.core.Stopping() {
			return
		}
	}
}

// prepare is how long this turn may sleep; limit < 0 sets no bound of its own.
func (l *Loop) prepare(limit time.Duration) time.Duration {
	if l.core.Ready.Len() > 0 || l.core.Stopping() {
		return 0
	}
	var now Instant
	if l.core.Timers.Len() > 0 {
		now = l.backend.Now()
	}
	d := l.core.Timeout(int64(now))
	if limit >= 0 && (d < 0 || d > limit) {
		return limit
	}
	return d
}

// wait lets the poller look, or sleep. With nothing watched a turn that has
// work asks the kernel nothing: posts from elsewhere show in the inbox.
func (l *Loop) wait(d time.Duration) (err error) {
	asleep := d != 0 && l.inbox.Sleep()
	if asleep {
		l.beat.leave()
		l.setCurrent(nil)
	}
	if asleep || l.watching > 0 {
		if !asleep {
			d = 0
		}
		_, err = l.backend.Wait(d, l.event)
	}
	if asleep {
		l.inbox.Awake()
	}
	l.inbox.Drain(l.admit)
	return err
}

// digest puts due timers behind the rest and fixes the size of the batch.
func (l *Loop) digest() int {
	if l.core.Timers.Len() == 0 {
		return l.core.Ready.Len()
	}
	return l.core.Digest(int64(l.backend.Now()))
}

// runBatch calls what is left of the batch; a panic costs its callback only.
func (l *Loop) runBatch() {
	for l.run.left > 0 && l.fatal == nil {
		l.beat.enter()
		if p := guard.Call(l.batch); p != nil {
			l.callbackFailed(p)
		}
	}
	l.run.left, l.run.item = 0, core.Item{}
	l.core.Ready.Shrink()
}

// runSome is the hot loop: user code is called here.
func (l *Loop) runSome() {
	for l.run.left > 0 && l.fatal == nil {
		if l.run.left--; l.run.left%watchEvery == watchEvery-1 {
			l.beat.enter() // a long batch is not a callback that is stuck
		}
		if l.run.single {
			l.share()
		}
		it := l.core.Ready.Pop()
		if it.Run == nil {
			continue // cancelled
		}
		l.run.item = it
		t, isStep := it.Meta.(*task)
		if !isStep {
			l.setCurrent(nil)
		}
		switch {
		case l.debug:
			l.runTimed(it)
		case isStep:
			t.step()
		default:
			it.Run()
		}
	}
}

// watchEvery is after how many callbacks of one batch the watchdog is told that the
// loop moves: often enough for callbacks that take long, seldom enough to cost
// nothing.
const watchEvery = 64

// share lets other goroutines run in the midst of a batch. Why only with one processor:
// with several the others find one, or take the goroutines of this one away. Why the
// callbacks of several batches are counted together: a batch of one or two costs no look
// at the clock of its own.
func (l *Loop) share() {
	if l.run.unshared++; l.run.unshared < shareEvery {
		return
	}
	l.run.unshared = 0
	if now := time.Now(); now.Sub(l.run.shared) >= shareAfter {
		runtime.Gosched()
		l.run.shared = now
	}
}

const (
	shareEvery = 4                     // callbacks between two looks at the clock
	shareAfter = 10 * time.Microsecond // without giving up the processor
)

// setCurrent says which task runs, nil for a callback. Why so late after a step:
// telling others costs as much as ten calls, and a task that runs again and
// again need not be told each time.
func (l *Loop) setCurrent(t *task) {
	if l.shown != t {
		l.shown = t
		l.current.Store(t)
	}
}

// canSkipTurn reports whether the next turn would run nothing but the task that asks
// and could not be observed: yield returns at once then.
func (l *Loop) canSkipTurn(t *task) bool {
	return l.run.left == 0 && !l.run.once && l.core.Ready.Len() == 0 && !l.inbox.Pending() &&
		l.core.Timers.Len() == 0 && l.watching == 0 && !l.core.Stopping() &&
		l.fatal == nil && !l.strict && !t.mustCancel && !t.eager
}

// callbackFailed reports what a callback threw; a FatalError ends the run.
func (l *Loop) callbackFailed(p *guard.Panic) {
	it := l.run.item
	l.run.item = core.Item{}
	if f := asFatal(p.Unwrap()); f != nil {
		l.fatal = f
		return
	}
	ec := ExceptionContext{Kind: report.Callback, Message: "Exception in callback " + callbackName(it), Exception: p, Handle: describe(it)}
	if m, ok := it.Meta.(*callMeta); ok {
		ec.Context, ec.Source = m.ctx, frames(m.source)
	}
	l.CallExceptionHandler(ec)
	l.count(p)
}

// count takes a failed callback to the supervisor; one too many ends the run.
func (l *Loop) count(err error) {
	if l.supervisor == nil || l.fatal != nil {
		return
	}
	if why := l.supervisor.CallbackFailed(err); why != nil {
		l.fatal = &FatalError{why}
	}
}

// onEvent queues the callbacks of one ready descriptor.
func (l *Loop) onEvent(owner any, ready Events) {
	l.inbox.Drain(l.admit) // what was posted during the wait goes before I/O
	owner.(*watch).ready(ready)
}

// contained calls fn for the loop itself, outside of a batch. Neither a panic
// nor runtime.Goexit in it is the caller's end.
func (l *Loop) contained(what string, fn func()) {
	if err := aside(fn); err != nil {
		l.reportAside(ExceptionContext{Kind: report.Callback, Message: "Exception " + what, Exception: err})
	}
}

// aside calls fn in a coroutine of its own and returns what it threw.
func aside(fn func()) (err error) {
	w := coro.New()
	w.Start(fn)
	switch w.Resume() {
	case coro.Exited:
		err = ErrGoexit
		w.Discard()
	case coro.Panicked:
		err = w.Panic
	}
	w.Close()
	return err
}

// reportAside is CallExceptionHandler where no batch contains the handler: its
// runtime.Goexit would end the goroutine that runs or closes the loop.
func (l *Loop) reportAside(ec ExceptionContext) {
	err := aside(func() {
		l.run.gid.Store(goroutineID())
		l.CallExceptionHandler(ec)
	})
	if err != nil {
		l.callDefault(ExceptionContext{
			Kind: report.Handler, Message: "Unhandled error in exception handler", Exception: err, Extra: map[string]any{"context": ec.String()},
		}, "Exception in default exception handler")
	}
}

// resumeDrive runs drive in a coroutine, and again in a new one after Goexit.
func (l *Loop) resumeDrive(once bool, limit time.Duration) {
	l.run.once = once
	l.run.single = runtime.GOMAXPROCS(0) == 1
	l.run.locked = l.debug && threadLocked()
	body := func() {
		l.run.gid.Store(goroutineID())
		l.label()
		l.drive(once, limit)
	}
	for {
		w := coro.New()
		w.Start(body)
		if w.Resume() != coro.Exited {
			w.Close()
			if w.Panic != nil { // not user code: that is guarded
				l.fatal = &FatalError{w.Panic}
			}
			return
		}
		w.Discard()
		l.beat.leave()
		it := l.run.item
		l.run.item = core.Item{}
		l.reportAside(ExceptionContext{
			Kind: report.Callback, Message: "Callback " + callbackName(it) + " called runtime.Goexit", Exception: ErrGoexit, Handle: describe(it),
		})
		l.count(ErrGoexit)
	}
}
