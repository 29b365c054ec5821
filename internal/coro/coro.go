// Package coro runs functions as coroutines: code that can be suspended in the
// middle and resumed later by its owner, on iter.Pull.
//
// Why not use iter.Pull directly: creating one costs six allocations, so
// workers are pooled; a panic would reach the goroutine that resumes without the
// frames that panicked; and runtime.Goexit (every t.FailNow) would end that goroutine.
package coro

import (
	"iter"
	"reflect"
	"runtime"
	"runtime/debug"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Outcome is why Resume returned.
type Outcome uint8

const (
	Suspended Outcome = iota // the body called Suspend
	Finished                 // the body returned
	Panicked                 // the body panicked; see Worker.Panic
	Exited                   // the body called runtime.Goexit; Discard the worker
)

// Worker is one coroutine that runs bodies one after the other.
// Resume is called by its owner only; Suspend by the running body only.
type Worker struct {
	next  func() (Outcome, bool)
	stop  func()
	yield func(Outcome) bool
	body  func()
	// Panic is the panic of the last body, with the body's own frames.
	Panic *guard.Panic
	spent bool // Close or Discard was called
}

// New makes a worker. It runs nothing until Resume.
func New() *Worker {
	w := &Worker{}
	w.next, w.stop = iter.Pull(w.run)
	return w
}

// Start gives an idle worker its next body. Resume then enters it.
func (w *Worker) Start(body func()) { w.body, w.Panic = body, nil }

// Resume runs the body until it suspends or ends.
func (w *Worker) Resume() Outcome {
	out, ok := w.next()
	if !ok {
		return Exited
	}
	return out
}

// Suspend gives control back to whoever called Resume. False means the worker
// was closed while suspended: the body must return without suspending again.
func (w *Worker) Suspend() bool { return w.yield(Suspended) }

// Close ends the worker. A suspended body sees Suspend return false and its
// deferred calls run before Close returns.
func (w *Worker) Close() {
	if w.spent {
		return
	}
	w.spent = true
	if w.body == nil {
		w.stop()
		return
	}
	// Why a goroutine: a body whose deferred calls run runtime.Goexit would end
	// whoever called stop.
	done := make(chan struct{})
	// goroutine: owner: Close; ends when the body's deferred calls have run (Close waits).
	go func() {
		defer close(done)
		w.stop()
	}()
	<-done
}

// Inside reports whether the calling goroutine is a coroutine of this package, as
// Marked does, but without its error: a program may call debug.SetPanicOnFault itself,
// so Inside also looks for Worker.run among the calls of a marked goroutine. That takes
// some microseconds; use Marked where that is too long and another check follows.
func Inside() bool {
	if !Marked() {
		return false
	}
	pcs := make([]uintptr, 64)
	for skip := 1; ; skip += len(pcs) { // the innermost calls come first, run is near the end
		n := runtime.Callers(skip, pcs)
		for _, pc := range pcs[:n] {
			if f := runtime.FuncForPC(pc - 1); f != nil && f.Name() == runName {
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// runName is what the runtime calls the function at the bottom of each coroutine.
var runName = runtime.FuncForPC(reflect.ValueOf((*Worker).run).Pointer()).Name()

// run is the coroutine: it lives on a goroutine of its own, marked so that
// code can tell that it runs under a loop (see Marked).
func (w *Worker) run(yield func(Outcome) bool) {
	debug.SetPanicOnFault(true)
	w.yield = yield
	for out := w.call(); yield(out); out = w.call() {
	}
}

// call runs one body. A body that neither returned nor panicked has called
// runtime.Goexit: that ends the coroutine, and must not end its owner. So the deferred
// function yields Exited to the owner, who calls Discard; the stack of the coroutine
// unwinds on a goroutine of Discard.
func (w *Worker) call() (out Outcome) {
	out = Exited
	defer func() {
		w.body = nil
		if v := recover(); v != nil {
			w.Panic, out = guard.Caught(v), Panicked
			return
		}
		if out == Exited && !w.spent {
			w.yield(Exited)
		}
	}()
	w.body()
	return Finished
}

// Discard ends a worker whose Resume returned Exited. It does not wait: the deferred
// calls of the body run on a goroutine of their own.
func (w *Worker) Discard() {
	if w.spent {
		return
	}
	w.spent = true
	// goroutine: owner: the worker; ends when its deferred calls have run.
	go w.stop()
}

// Marked reports whether the calling goroutine is a coroutine of this package. It
// takes a few nanoseconds, and is wrong on a goroutine that called
// debug.SetPanicOnFault itself; see Inside.
//
// Why: Go has no goroutine identity, and a foreign goroutine that suspends a
// task would corrupt it. The panic-on-fault setting is the one goroutine-local
// flag the standard library lets us read in a few nanoseconds: workers set it, and
// goroutines that they start do not inherit it. Its documented effect, that a memory
// fault panics instead of ending the process, does no harm in a task.
func Marked() bool {
	on := debug.SetPanicOnFault(true)
	if !on {
		debug.SetPanicOnFault(false)
	}
	return on
}
