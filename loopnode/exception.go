package loopnode

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// ExceptionContext says what went wrong and where. Every field but Message may
// be zero. asyncio: the context dict of call_exception_handler.
type ExceptionContext struct {
	// Kind is what the report is about, for handlers that tell reports apart.
	Kind      report.Kind
	Message   string
	Exception error // often a *Panic, whose Stack has the user's frames
	Future    any
	Task      any
	Handle    any
	Protocol  any
	Transport any
	Generator any
	Context   context.Context // of the callback, task or future concerned; the handler's values come from here
	Source    string          // where it was created; debug mode
	Running   string          // where the callback that ran was created; debug mode
	Extra     map[string]any
}

// ExceptionHandler handles what nobody else does. It runs on the loop.
type ExceptionHandler func(*Loop, ExceptionContext)

// SetExceptionHandler replaces the handler; nil is the default one. Loop
// goroutine. asyncio: loop.set_exception_handler.
func (l *Loop) SetExceptionHandler(h ExceptionHandler) {
	if l.checkGoroutine("Loop.SetExceptionHandler") == nil {
		l.handler = h
	}
}

// ExceptionHandler is the custom handler, nil when it is the default one.
// asyncio: loop.get_exception_handler.
func (l *Loop) ExceptionHandler() ExceptionHandler { return l.handler }

// CallExceptionHandler hands ec to the exception handler. A handler that panics
// is reported by the default one; the loop survives both. A FatalError thrown
// by a handler ends the run. Loop goroutine. asyncio: loop.call_exception_handler.
func (l *Loop) CallExceptionHandler(ec ExceptionContext) {
	l.runningSource(&ec)
	if ec.Context == nil {
		ec.Context = l.ctx
	}
	if l.handler == nil {
		l.callDefault(ec, "Exception in default exception handler")
		return
	}
	err := l.callHandler(ec)
	if err == nil || l.takeFatal(err) {
		return
	}
	l.callDefault(ExceptionContext{
		Kind: report.Handler, Message: "Unhandled error in exception handler", Exception: err, Extra: map[string]any{"context": ec.String()},
	}, "Exception in default exception handler while handling an unexpected error in custom exception handler")
}

// callHandler calls the custom handler and returns what it threw. Why aside when the
// loop closes: no batch contains the handler then, and its runtime.Goexit would end
// the goroutine that closes the loop, in the middle of that.
func (l *Loop) callHandler(ec ExceptionContext) error {
	call := func() { l.handler(l, ec) }
	if l.closed.Load() {
		return aside(call)
	}
	if p := guard.Call(call); p != nil {
		return p
	}
	return nil
}

func (l *Loop) callDefault(ec ExceptionContext, failed string) {
	if p := guard.Call(func() { l.DefaultExceptionHandler(ec) }); p != nil && !l.takeFatal(p) {
		guard.Call(func() { l.log.Error(failed, "panic", fmt.Sprint(p.Value)) })
	}
}

// takeFatal makes a FatalError end the run.
func (l *Loop) takeFatal(thrown error) bool {
	p, _ := thrown.(*guard.Panic)
	if p == nil {
		return false
	}
	f := asFatal(p.Unwrap())
	if f != nil {
		l.fatal = f
	}
	return f != nil
}

// DefaultExceptionHandler logs ec as one error record. asyncio:
// loop.default_exception_handler.
func (l *Loop) DefaultExceptionHandler(ec ExceptionContext) {
	message := ec.Message
	if message == "" {
		message = "Unhandled exception in event loop"
	}
	args := []any{"loop", l.name}
	for _, f := range ec.fields() {
		args = append(args, f.key, f.text)
	}
	if ec.Exception != nil {
		args = append(args, "error", printable(ec.Exception))
		if p, ok := ec.Exception.(*guard.Panic); ok {
			args = append(args, "stack", string(p.Stack))
		}
	}
	l.log.Error(message, args...)
}

type field struct{ key, text string }

// fields are the other keys, sorted.
func (ec *ExceptionContext) fields() (out []field) {
	all := map[string]any{}
	maps.Copy(all, ec.Extra)
	for key, v := range map[string]any{
		"future": ec.Future, "task": ec.Task, "handle": ec.Handle, "protocol": ec.Protocol,
		"transport": ec.Transport, "asyncgen": ec.Generator,
	} {
		if v != nil {
			all[key] = v
		}
	}
	if ec.Source != "" {
		all["source_traceback"] = ec.Source
	}
	if ec.Running != "" {
		all["handle_traceback"] = ec.Running
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, field{key, printable(all[key])})
	}
	return out
}

// String is the report on one line.
func (ec ExceptionContext) String() string {
	s := ec.Message
	for _, f := range ec.fields() {
		s += fmt.Sprintf(" %s=%s", f.key, f.text)
	}
	if ec.Exception != nil {
		s += " exception=" + printable(ec.Exception)
	}
	return s
}

// printable prints v; a value whose printing fails must not hide the report.
func printable(v any) (s string) {
	if p := guard.Call(func() { s = fmt.Sprint(v) }); p != nil {
		return fmt.Sprintf("<%T: printing it failed: %v>", v, p.Value)
	}
	return s
}
