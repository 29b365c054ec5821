// Package guard calls user code. Every callback, task step, protocol method and
// actor hook passes through this file, so there is one place where a panic is
// caught and one place where its stack is kept.
package guard

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Panic is the value that user code panicked with, and the stack of that moment.
// It is an error; errors.Is and errors.As see the value when it is an error.
type Panic struct {
	Value any
	Stack []byte
	Calls []uintptr // the same stack from the panicking call outwards; see runtime.CallersFrames
}

// Error names the value, not the stack: the stack is for logs.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap gives the panic's value when it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Call runs fn and returns its panic, nil when it returned. fn does not escape, so a
// closure passed here costs no allocation. runtime.Goexit in fn ends the goroutine of
// Call; see CallWhole.
func Call(fn func()) (p *Panic) {
	defer func() {
		if v := recover(); v != nil {
			p = Caught(v)
		}
	}()
	fn()
	return nil
}

// CallWhole is Call for callers that must hear of every end of fn: when fn ends the
// goroutine with runtime.Goexit, exited is called on the way out.
func CallWhole(fn, exited func()) *Panic {
	back := false
	defer func() {
		if !back {
			exited()
		}
	}()
	p := Call(fn)
	back = true
	return p
}

// Drain calls step until it reports false. When a step ends the goroutine with
// runtime.Goexit, or panics, the remaining steps run on the way out, so that one
// user's function cannot keep the next user's from being called. The goroutine
// still ends; what follows the call of Drain runs only when it is deferred.
//
// A step must make progress: it takes its work off the list before it calls user
// code.
func Drain(step func() bool) {
	finished := false
	defer func() {
		if !finished {
			Drain(step)
		}
	}()
	for step() {
	}
	finished = true
}

// Caught makes the Panic of a recovered value. Call it inside the deferred
// function: the frames of the panic are still on the stack there.
func Caught(v any) *Panic {
	if p, ok := v.(*Panic); ok {
		return p // panicked with again: keep the first stack
	}
	return &Panic{Value: v, Stack: debug.Stack(), Calls: panicCalls()}
}

const maxCalls = 128

// panicCalls are the calls below the runtime's own that started the panic.
func panicCalls() []uintptr {
	pcs := make([]uintptr, maxCalls)
	pcs = pcs[:runtime.Callers(2, pcs)]
	for i, pc := range pcs {
		if f := runtime.FuncForPC(pc - 1); f != nil && f.Name() == "runtime.gopanic" {
			pcs = pcs[i+1:]
			break
		}
	}
	for len(pcs) > 1 { // a fault has the runtime's frames below gopanic too
		f := runtime.FuncForPC(pcs[0] - 1)
		if f == nil || !strings.HasPrefix(f.Name(), "runtime.") {
			break
		}
		pcs = pcs[1:]
	}
	return pcs
}
