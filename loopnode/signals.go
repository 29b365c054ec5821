package loopnode

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// ErrUncatchable: no program may catch this signal, or Go's runtime keeps it.
// RuntimeError("sig N cannot be caught").
var ErrUncatchable = errors.New("signal cannot be caught")

// AddSignalHandler makes the loop call fn, in a turn like any other callback,
// when the process gets sig; a sleeping loop wakes. A second handler for the
// same signal replaces the first. Signals that arrive while a call of fn is
// queued become one call. A panic of fn goes to the exception handler.
//
// A signal has one owner in the process: the loop that handles it, until it
// removes the handler or is closed. While SIGINT is handled, Run leaves it to
// the handler.
//
// It does not wait. Loop goroutine; any goroutine while the loop does not run.
// Errors, after which nothing has changed: ErrInvalidArgument (no signal of this
// system, nil function), ErrUncatchable (SIGKILL, SIGSTOP, and faults such as
// SIGSEGV, which Go turns into panics), ErrBusy (another loop handles it),
// ErrWrongGoroutine, ErrLoopClosed. asyncio: loop.add_signal_handler.
func (l *Loop) AddSignalHandler(sig os.Signal, fn func()) error {
	n, err := signalNumber(sig)
	switch {
	case err != nil:
		return err
	case fn == nil:
		return invalid("the handler of %v is nil", sig)
	case l.closed.Load():
		return closedError(l)
	case l.foreign():
		return fmt.Errorf("%w: add signal handlers on loop %s itself", ErrWrongGoroutine, l.name)
	}
	if h := l.signals[n]; h != nil {
		h.fn = fn
		return nil
	}
	if owner := signalOwners.claim(n, l); owner != l {
		return fmt.Errorf("%w: loop %s handles the signal %v; remove its handler first", ErrBusy, owner.name, sig)
	}
	if l.signals == nil {
		l.signals = map[syscall.Signal]*signalHandler{}
	}
	l.signals[n] = newSignalHandler(l, n, fn)
	return nil
}

// RemoveSignalHandler takes sig's handler away and reports whether there was
// one; a call of it that is queued is dropped. The signal then does again what
// it did before: Go's default action, nothing if it was ignored, and what other
// channels of signal.Notify make of it. False on another goroutine than the
// running loop's. asyncio: loop.remove_signal_handler.
func (l *Loop) RemoveSignalHandler(sig os.Signal) bool {
	n, err := signalNumber(sig)
	if err != nil || l.foreign() {
		return false
	}
	h := l.signals[n]
	if h == nil {
		return false
	}
	delete(l.signals, n)
	h.end()
	return true
}

// endSignals removes every handler: the loop is being closed.
func (l *Loop) endSignals() {
	for _, h := range l.signals {
		h.end()
	}
	l.signals = nil
}

// signalNumber checks that sig can have a handler.
func signalNumber(sig os.Signal) (syscall.Signal, error) {
	n, ok := sig.(syscall.Signal)
	switch {
	case !ok:
		return 0, invalid("%v is no signal of this system; use a syscall.Signal such as syscall.SIGTERM", sig)
	case n < 1 || n > lastSignal:
		return 0, invalid("signal number %d is not in the range 1 to %d", int(n), int(lastSignal))
	case uncatchable(n):
		return 0, fmt.Errorf("%w: signal %d (%v)", ErrUncatchable, int(n), n)
	}
	return n, nil
}

// signalHandler is one handler with its way from os/signal to the loop.
type signalHandler struct {
	loop    *Loop
	sig     syscall.Signal
	fn      func() // owned by the loop goroutine
	arrived chan os.Signal
	queued  atomic.Bool // a call is on its way: more signals need no other
	ignored bool        // what the signal did before
	over    chan struct{}
}

func newSignalHandler(l *Loop, sig syscall.Signal, fn func()) *signalHandler {
	h := &signalHandler{
		loop: l, sig: sig, fn: fn, ignored: signal.Ignored(sig),
		arrived: make(chan os.Signal, 1), // one waiting stands for all: they merge
		over:    make(chan struct{}),
	}
	signal.Notify(h.arrived, sig)
	// goroutine: owner: the handler; ends when it is removed or its loop closed (end waits).
	go h.forward()
	return h
}

func (h *signalHandler) forward() {
	defer close(h.over)
	for range h.arrived {
		if !h.queued.Swap(true) {
			_ = h.loop.post(h.call) // refused by a closed loop: nobody is left to tell
		}
	}
}

// call runs the handler in a turn of the loop.
func (h *signalHandler) call() {
	h.queued.Store(false) // what arrives from here on is told by another call
	if h.loop.signals[h.sig] == h {
		h.fn()
	}
}

// end gives the signal back.
func (h *signalHandler) end() {
	signal.Stop(h.arrived)
	close(h.arrived) // Stop promises that nobody sends any more
	<-h.over
	if h.ignored {
		signal.Ignore(h.sig)
	}
	signalOwners.release(h.sig)
}

// ownerTable says which loop handles which signal. It is process-wide because
// signals are.
type ownerTable struct {
	mu    sync.Mutex
	loops map[syscall.Signal]*Loop
}

var signalOwners = ownerTable{loops: map[syscall.Signal]*Loop{}}

// claim makes l the owner unless there is one, and returns who is.
func (o *ownerTable) claim(sig syscall.Signal, l *Loop) *Loop {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner := o.loops[sig]; owner != nil {
		return owner
	}
	o.loops[sig] = l
	return l
}

func (o *ownerTable) release(sig syscall.Signal) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.loops, sig)
}

// taken reports whether a loop handles sig. Any goroutine.
func (o *ownerTable) taken(sig syscall.Signal) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loops[sig] != nil
}
