package loopnode

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/internal/core"
)

// Debug reports whether the loop is in debug mode. asyncio: loop.get_debug.
func (l *Loop) Debug() bool { return l.debug }

// SetDebug switches debug mode: calls that belong to the loop's goroutine and come
// from another one are refused with ErrWrongGoroutine and logged (those without a
// result do nothing), slow callbacks are named, and callbacks, timers, futures and tasks remember where
// they were created. It also works on a closed loop. Loop goroutine.
// asyncio: loop.set_debug.
func (l *Loop) SetDebug(on bool) {
	l.debug = on
	l.tracing.Store(on)
	l.strict = on || l.closed.Load()
}

// SlowCallback is the duration from which on a callback is slow; debug mode logs it.
// asyncio: loop.slow_callback_duration.
func (l *Loop) SlowCallback() time.Duration { return l.slowAt }

// SetSlowCallback changes SlowCallback. Loop goroutine.
func (l *Loop) SetSlowCallback(d time.Duration) { l.slowAt = d }

// runTimed is one callback in debug mode.
func (l *Loop) runTimed(it core.Item) {
	start := l.backend.Now()
	l.beat.task = nil
	if t, isStep := it.Meta.(*task); isStep {
		t.step()
	} else {
		it.Run()
	}
	if took := l.backend.Now().Sub(start); took >= l.slowAt {
		what := describe(it)
		if t := l.beat.task; t != nil {
			what = t.String() // the task, not the handle of its step
		}
		l.log.Warn(fmt.Sprintf("Executing %s took %.3f seconds", what, took.Seconds()), "loop", l.name)
	}
}

// describe is a callback for people.
func describe(it core.Item) string {
	if t, isStep := it.Meta.(*task); isStep {
		return t.String()
	}
	s := "<Handle " + callbackName(it)
	if m, ok := it.Meta.(*callMeta); ok && len(m.source) > 0 {
		at := runtime.CallersFrames(m.source[:1])
		f, _ := at.Next()
		s += fmt.Sprintf(" created at %s:%d", f.File, f.Line)
	}
	return s + ">"
}

// runningSource adds where the running callback was created.
func (l *Loop) runningSource(ec *ExceptionContext) {
	if m, ok := l.run.item.Meta.(*callMeta); ok && ec.Running == "" {
		ec.Running = frames(m.source)
	}
}

// maxFrames is asyncio's limit for creation traces.
const maxFrames = 10

// creationFrames remembers who is scheduling; the frames of this package are
// left out.
func creationFrames() []uintptr {
	pcs := make([]uintptr, maxFrames+8)
	pcs = pcs[:runtime.Callers(2, pcs)]
	for len(pcs) > 1 && ownFrame(pcs[0]) {
		pcs = pcs[1:]
	}
	return pcs[:min(len(pcs), maxFrames)]
}

const ownPackage = "github.com/loopmesh/loopmesh/loopnode."

func ownFrame(pc uintptr) bool {
	f := runtime.FuncForPC(pc - 1)
	return f != nil && strings.HasPrefix(f.Name(), ownPackage) && !strings.Contains(f.Name(), ".Test")
}

// frames prints program counters as a stack.
func frames(pcs []uintptr) string {
	if len(pcs) == 0 {
		return ""
	}
	var b strings.Builder
	for it := runtime.CallersFrames(pcs); ; {
		f, more := it.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}

// foreign reports whether the loop runs on another goroutine than this one.
// Debug mode only: it may cost about a microsecond.
func (l *Loop) foreign() bool { return l.running.Load() && !l.here() }

// CheckGoroutine refuses, in debug mode, a call that belongs to the loop's
// goroutine and comes from another one: ErrWrongGoroutine, also logged; what
// names the call. Otherwise nil. For transports and the like. Any goroutine.
//
// Why in the public methods and not where a callback is queued: what is refused
// must change nothing. A future that took its result and then could not wake its
// waiter would leave that one waiting for ever.
func (l *Loop) checkGoroutine(what string) error {
	if !l.tracing.Load() || !l.foreign() {
		return nil
	}
	err := fmt.Errorf("%w: %s", ErrWrongGoroutine, what)
	l.log.Warn("call refused", "loop", l.name, "call", what, "error", err)
	return err
}

// goroutineID reads the number from the first line of the stack trace, the only
// place where Go shows it. It costs some microseconds.
func goroutineID() uint64 {
	var buf [64]byte
	line := bytes.TrimPrefix(firstLine(buf[:]), []byte("goroutine "))
	if i := bytes.IndexByte(line, ' '); i > 0 {
		id, _ := strconv.ParseUint(string(line[:i]), 10, 64)
		return id
	}
	return 0
}

// threadLocked reports whether the calling goroutine has locked its thread with
// runtime.LockOSThread. Debug mode only: it costs some microseconds.
//
// Why it matters: the runtime ends the process, beyond any recover, when a
// coroutine is suspended under a lock that its resumer does not hold.
func threadLocked() bool {
	var buf [96]byte
	return lockedHeader(firstLine(buf[:]))
}

// lockedHeader reads the first line of a stack trace.
func lockedHeader(line []byte) bool { return bytes.Contains(line, []byte("locked to thread")) }

// firstLine is the first line of the calling goroutine's stack trace, in buf.
func firstLine(buf []byte) []byte {
	line, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte{'\n'})
	return line
}
