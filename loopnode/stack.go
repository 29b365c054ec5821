package loopnode

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Stack is where the task is: for one that waits the calls that led to the
// wait, for one that has not started its function, for one that failed with a
// panic the calls that led there; none when it ended otherwise. The oldest call
// comes first. A limit above 0 keeps that many: the newest, of a panic the
// oldest. Loop goroutine, also from other tasks; elsewhere it is empty.
// asyncio: Task.get_stack.
func (k *Task[T]) Stack(limit int) []runtime.Frame { return k.t.stack(limit) }

// PrintStack writes Stack for people. Its error is w's.
// asyncio: Task.print_stack.
func (k *Task[T]) PrintStack(w io.Writer, limit int) error { return k.t.printStack(w, limit) }

// Stack is where the task is; see Task.Stack.
func (r TaskRef) Stack(limit int) []runtime.Frame { return r.t.stack(limit) }

// PrintStack writes Stack for people; see Task.PrintStack.
func (r TaskRef) PrintStack(w io.Writer, limit int) error { return r.t.printStack(w, limit) }

func (t *task) stack(limit int) []runtime.Frame {
	if t.fut == nil || t.loop == nil || t.loop.closed.Load() || t.loop.foreign() {
		return nil
	}
	if t.fut.state != pending {
		return oldest(panicFrames(t.fut.err), limit)
	}
	out := outward(t.where())
	if limit > 0 && len(out) > limit {
		out = out[len(out)-limit:]
	}
	return out
}

func oldest(fs []runtime.Frame, limit int) []runtime.Frame {
	if limit > 0 && len(fs) > limit {
		return fs[:limit]
	}
	return fs
}

// where asks a task that is not done for its calls, innermost first.
func (t *task) where() []uintptr {
	switch {
	case t.loop.current.Load() == t:
		return callers()
	case t.started && t.w != nil && !t.inner:
		// The task wakes for a moment, writes its calls down and waits on.
		var pcs []uintptr
		t.report = &pcs
		t.w.co.Resume()
		t.report = nil
		return pcs
	}
	return []uintptr{t.body.entry() + 1} // not started, or in the middle of an eager step
}

// entry is where the user's function of the task begins.
func (k *Task[T]) entry() uintptr {
	if k.at != 0 {
		return k.at
	}
	return reflect.ValueOf(k.fn).Pointer()
}

// showAs makes fn, a function, the one that descriptions of the task name. For
// tasks whose own function is a closure of a library around the user's.
func (k *Task[T]) showAs(fn any) { k.at = reflect.ValueOf(fn).Pointer() }

const maxStack = 256

func callers() []uintptr {
	pcs := make([]uintptr, maxStack)
	return pcs[:runtime.Callers(2, pcs)]
}

// outward turns calls, innermost first, into the user's frames, oldest first:
// what waits, and what runs tasks, is left out.
func outward(pcs []uintptr) []runtime.Frame {
	if len(pcs) == 0 {
		return nil
	}
	var fs []runtime.Frame
	user := false
	for it := runtime.CallersFrames(pcs); ; {
		f, more := it.Next()
		own := strings.HasPrefix(f.Function, ownPackage)
		if own && strings.HasSuffix(f.Function, ").exec") {
			break // below it the coroutine runs tasks
		}
		if coroutineFrame(f.Function) {
			if !more {
				break
			}
			continue
		}
		if user = user || !own || strings.HasSuffix(f.File, "_test.go"); user {
			fs = append(fs, f)
		}
		if !more {
			break
		}
	}
	for i, j := 0, len(fs)-1; i < j; i, j = i+1, j-1 {
		fs[i], fs[j] = fs[j], fs[i]
	}
	return fs
}

// coroutineFrame reports whether a call belongs to the coroutine of a generator's
// body: in the stack of a task such calls stand between the body and Next.
func coroutineFrame(name string) bool {
	for _, prefix := range []string{"iter.", "runtime.", coroPackage, ownPackage + "(*generator)", ownPackage + "(*generatorOf["} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

const coroPackage = "github.com/loopmesh/loopmesh/internal/coro."

// panicFrames are the calls that led to the panic a task failed with.
func panicFrames(err error) []runtime.Frame {
	var p *guard.Panic
	if !errors.As(err, &p) || len(p.Calls) == 0 {
		return nil
	}
	return outward(p.Calls)
}

func (t *task) printStack(w io.Writer, limit int) error {
	fs := t.stack(limit)
	var b strings.Builder
	switch {
	case len(fs) == 0:
		fmt.Fprintf(&b, "No stack for %s\n", t)
	case t.fut.state == failed:
		fmt.Fprintf(&b, "Traceback for %s (most recent call last):\n", t)
	default:
		fmt.Fprintf(&b, "Stack for %s (most recent call last):\n", t)
	}
	for _, f := range fs {
		fmt.Fprintf(&b, "  %s:%d, in %s\n", f.File, f.Line, f.Function)
	}
	if len(fs) > 0 && t.fut.state == failed {
		fmt.Fprintf(&b, "%v\n", t.fut.err)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
