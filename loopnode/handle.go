package loopnode

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"time"

	"github.com/loopmesh/loopmesh/internal/core"
)

// Handle is one scheduled callback. asyncio.Handle.
//
// It is a name for a place in the queue, not the callback itself: a handle that
// the caller drops costs no allocation.
type Handle struct {
	loop      *Loop
	pos       uint64
	ctx       context.Context
	cancelled bool
}

// Positions that name no place in the queue.
const (
	refusedClosed = math.MaxUint64 - iota
	refusedNil
	refusedGoroutine
	firstRefusal
)

// Cancel prevents the callback if it has not started, also from an earlier
// callback of the same batch. Repeating it is harmless. Loop goroutine.
func (h *Handle) Cancel() {
	if !h.cancelled && h.pos < firstRefusal && h.loop.checkGoroutine("Handle.Cancel") == nil {
		h.cancelled = h.loop.core.Ready.Cancel(h.pos)
	}
}

// Cancelled reports whether Cancel prevented the callback, or it was refused.
// It stays false after a normal run.
func (h *Handle) Cancelled() bool { return h.cancelled || h.pos >= firstRefusal }

// Context is the context given when scheduling, or the loop's own.
func (h *Handle) Context() context.Context {
	if h.ctx == nil {
		return h.loop.ctx
	}
	return h.ctx
}

// Err tells why the callback was refused and will not run; nil when it was
// accepted: ErrLoopClosed, ErrInvalidArgument (nil function), ErrWrongGoroutine
// (debug mode).
func (h *Handle) Err() error { return refusal(h.loop, h.pos) }

func refusal(l *Loop, pos uint64) error {
	switch pos {
	case refusedClosed:
		return closedError(l)
	case refusedNil:
		return invalid("the callback is nil")
	case refusedGoroutine:
		return fmt.Errorf("%w: use Ref().CallSoonThreadsafe", ErrWrongGoroutine)
	}
	return nil
}

// CallSoon runs fn in the next turn of the loop, in the order of the calls,
// never inside CallSoon. It does not wait. Loop goroutine only; elsewhere use
// Ref().CallSoonThreadsafe. A refused callback (loop closed, nil) is logged and
// told by Handle.Err. asyncio: loop.call_soon.
func (l *Loop) CallSoon(fn func()) *Handle { return &Handle{loop: l, pos: l.callSoon(fn)} }

// callSoon is CallSoon without the handle. Why apart: CallSoon has to stay so small that it
// is inlined, or a handle that its caller drops costs an allocation
// (TestADroppedHandleCostsNothing).
func (l *Loop) callSoon(fn func()) uint64 {
	if l.checkGoroutine("Loop.CallSoon; use Ref().CallSoonThreadsafe") != nil {
		return refusedGoroutine
	}
	return l.soon(fn)
}

// CallSoonContext is CallSoon with a context that fn gets and that the
// exception handler sees. asyncio: loop.call_soon(context=…).
func (l *Loop) CallSoonContext(ctx context.Context, fn func(context.Context)) *Handle {
	ctx = l.Context(ctx)
	h := &Handle{loop: l, ctx: ctx, pos: refusedGoroutine}
	if l.checkGoroutine("Loop.CallSoonContext; use Ref().CallSoonThreadsafe") != nil {
		return h
	}
	var call func()
	if fn != nil {
		call = func() { fn(ctx) }
	}
	h.pos = l.push(call, &callMeta{ctx: ctx, at: reflect.ValueOf(fn).Pointer()})
	return h
}

// soon is callSoon without the check of the goroutine.
func (l *Loop) soon(fn func()) uint64 {
	if l.strict || fn == nil {
		return l.push(fn, nil)
	}
	if l.inbox.Pending() {
		l.inbox.Drain(l.admit) // one FIFO: what others posted before goes first
	}
	return l.core.Ready.Push(core.Item{Run: fn})
}

// queue is soon for the step of a task.
func (l *Loop) queue(t *task) {
	if l.strict {
		l.push(t.step, nil)
		return
	}
	if l.inbox.Pending() {
		l.inbox.Drain(l.admit)
	}
	l.core.Ready.Push(stepOf(t))
}

// callMeta is what a callback carries when somebody may ask: always in debug
// mode, and when it was given a context.
type callMeta struct {
	ctx    context.Context
	at     uintptr   // the user's function inside the callback; 0 when it is the callback
	source []uintptr // who scheduled it; debug only
}

// push is the checked way into the ready queue.
func (l *Loop) push(fn func(), m *callMeta) uint64 {
	if pos := l.refuse(fn); pos != 0 {
		return pos
	}
	if l.debug {
		if m == nil {
			m = &callMeta{}
		}
		m.source = creationFrames()
	}
	if l.inbox.Pending() {
		l.inbox.Drain(l.admit)
	}
	it := core.Item{Run: fn}
	if m != nil {
		it.Meta = m
	}
	return l.core.Ready.Push(it)
}

// refuse checks what a callback may be scheduled with; 0 is yes.
func (l *Loop) refuse(fn func()) uint64 {
	var pos uint64
	switch {
	case l.closed.Load():
		pos = refusedClosed
	case fn == nil:
		pos = refusedNil
	default:
		return 0
	}
	l.log.Warn("callback refused: it will not run", "loop", l.name, "callback", funcName(fn), "error", refusal(l, pos))
	return pos
}

// noteContext gives the callback that runs a context, for its failure's report.
func (l *Loop) noteContext(ctx context.Context) {
	m := &callMeta{ctx: ctx}
	if old, ok := l.run.item.Meta.(*callMeta); ok {
		m.source, m.at = old.source, old.at
	}
	l.run.item.Meta = m
}

// TimerHandle is one scheduled timer. asyncio.TimerHandle.
type TimerHandle struct {
	loop    *Loop
	timer   core.Timer
	refused uint64
}

// CallLater runs fn once, d from now; a negative d means the next turn, after
// what is ready. Timers of equal deadline run first in, first out. It does not
// wait. Loop goroutine only. asyncio: loop.call_later.
func (l *Loop) CallLater(d time.Duration, fn func()) *TimerHandle {
	return l.CallAt(l.Time().Add(d), fn)
}

// CallAt runs fn once when the loop's clock reaches when; Never is legal. A
// timer is never early by more than the clock's resolution (1 µs), but may be
// late. Loop goroutine only. asyncio: loop.call_at.
func (l *Loop) CallAt(when Instant, fn func()) *TimerHandle {
	h := &TimerHandle{loop: l}
	h.timer.When = int64(when)
	if l.checkGoroutine("Loop.CallAt; use Ref().CallSoonThreadsafe and set the timer there") != nil {
		h.refused = refusedGoroutine
		return h
	}
	if l.strict || fn == nil {
		if h.refused = l.refuse(fn); h.refused != 0 {
			return h
		}
		if l.debug {
			h.timer.Meta = &callMeta{source: creationFrames()}
		}
	}
	h.timer.Run = fn
	l.core.At(&h.timer, int64(when))
	return h
}

// CallLaterContext is CallLater with a context that fn gets and that the exception
// handler sees. asyncio: loop.call_later(context=…).
func (l *Loop) CallLaterContext(ctx context.Context, d time.Duration, fn func(context.Context)) *TimerHandle {
	return l.CallAtContext(ctx, l.Time().Add(d), fn)
}

// CallAtContext is CallAt with a context, as CallLaterContext.
// asyncio: loop.call_at(context=…).
func (l *Loop) CallAtContext(ctx context.Context, when Instant, fn func(context.Context)) *TimerHandle {
	if fn == nil {
		return l.CallAt(when, nil)
	}
	ctx = l.Context(ctx)
	h := l.CallAt(when, func() { fn(ctx) })
	m := &callMeta{ctx: ctx, at: reflect.ValueOf(fn).Pointer()}
	if debug, is := h.timer.Meta.(*callMeta); is {
		m.source = debug.source
	}
	h.timer.Meta = m
	return h
}

// Cancel prevents the timer if it has not run. Loop goroutine.
func (h *TimerHandle) Cancel() {
	if h.loop.checkGoroutine("TimerHandle.Cancel") == nil {
		h.loop.core.CancelTimer(&h.timer)
	}
}

// Cancelled reports whether Cancel came in time, or the timer was refused.
func (h *TimerHandle) Cancelled() bool { return h.timer.Cancelled() || h.refused != 0 }

// When is the deadline; it survives firing and cancelling.
func (h *TimerHandle) When() Instant { return Instant(h.timer.When) }

// Err tells why the timer was refused; see Handle.Err.
func (h *TimerHandle) Err() error { return refusal(h.loop, h.refused) }

// callbackName names the user's function that a callback calls.
func callbackName(it core.Item) string {
	at := uintptr(0)
	switch m := it.Meta.(type) {
	case *callMeta:
		at = m.at
	case *SafeHandle:
		at = m.at
	}
	if f := runtime.FuncForPC(at); f != nil {
		return f.Name()
	}
	return funcName(it.Run)
}

// funcName names a callback for people.
func funcName(fn func()) string {
	if fn == nil {
		return "nil"
	}
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return "func"
}
