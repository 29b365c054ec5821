// Package guard calls user code. Every callback, task step, protocol method and
// actor hook passes through this file, so there is one place where a panic is
// caught and one place where its stack is kept.
package guard

import (
	"fmt"
	"runtime/debug"
)

// Panic is what user code threw, with the stack it was thrown from.
// It is an error; errors.Is and errors.As see the value when it is an error.
type Panic struct {
	Value any
	Stack []byte
}

// Error names the value, not the stack: the stack is for logs.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap gives the panic's value when it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Call runs fn and returns what it threw, nil when it returned.
// fn does not escape, so a closure passed here costs no allocation.
// runtime.Goexit passes through: who owns the goroutine contains it.
func Call(fn func()) (p *Panic) {
	defer func() {
		if v := recover(); v != nil {
			p = Caught(v)
		}
	}()
	fn()
	return nil
}

// Caught makes the Panic of a recovered value. Call it inside the deferred
// function: the frames of the panic are still on the stack there.
func Caught(v any) *Panic {
	if p, ok := v.(*Panic); ok {
		return p // rethrown: keep the first stack
	}
	return &Panic{Value: v, Stack: debug.Stack()}
}
