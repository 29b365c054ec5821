package loopnode

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/core"
)

// Ref is the address of a loop: comparable, safe from every goroutine, and it
// may name a loop on another node.
type Ref struct {
	addr actors.Address
	loop *Loop // nil when the loop is elsewhere
	via  any   // what carries calls to it, see WithCarrier; comparable
}

// Ref is the loop's address for other goroutines. Any goroutine.
func (l *Loop) Ref() Ref { return Ref{addr: actors.Address{Path: l.name}, loop: l} }

// RemoteRef names a loop by address alone. Package cluster makes these.
func RemoteRef(addr actors.Address) Ref { return Ref{addr: addr} }

// WithAddress is the same local loop under the address another node knows.
func (r Ref) WithAddress(addr actors.Address) Ref { r.addr = addr; return r }

// WithCarrier ties a ref to what carries calls to its loop: package cluster's node,
// where one process has several. carrier must be comparable.
func (r Ref) WithCarrier(carrier any) Ref { r.via = carrier; return r }

// Carrier is what WithCarrier said; nil when nothing did.
func (r Ref) Carrier() any { return r.via }

// Address is where the loop is.
func (r Ref) Address() actors.Address { return r.addr }

// Name is the loop's name on its node.
func (r Ref) Name() string { return r.addr.Path }

// IsLocal reports whether the loop is in this process.
func (r Ref) IsLocal() bool { return r.loop != nil }

// Local is the loop itself when it is in this process: for code that knows that
// it runs on it, or that it does not run.
func (r Ref) Local() (*Loop, bool) { return r.loop, r.loop != nil }

// String is the address.
func (r Ref) String() string { return r.addr.String() }

// CallSoonThreadsafe runs fn on the loop, behind everything scheduled before it
// (one queue with CallSoon), and wakes the loop when it sleeps. It does not
// wait. Any goroutine, the loop's own included. A nil error means: it will run
// unless the loop is closed first. Errors: ErrLoopClosed; ErrNotLocal for a loop
// on another node: a closure cannot travel, a function registered with
// cluster.Func can. asyncio: loop.call_soon_threadsafe.
func (r Ref) CallSoonThreadsafe(fn func()) error {
	if r.loop == nil {
		return r.notLocal()
	}
	return r.loop.post(fn)
}

// CallSoonThreadsafeContext is CallSoonThreadsafe with a context that fn gets and
// that the exception handler sees. asyncio: call_soon_threadsafe(context=…).
func (r Ref) CallSoonThreadsafeContext(ctx context.Context, fn func(context.Context)) error {
	switch {
	case r.loop == nil:
		return r.notLocal()
	case fn == nil:
		return invalid("the callback is nil")
	}
	ctx = r.loop.Context(ctx)
	m := &callMeta{ctx: ctx, at: reflect.ValueOf(fn).Pointer()}
	if !r.loop.inbox.Put(core.Item{Run: func() { fn(ctx) }, Meta: m}) {
		return closedError(r.loop)
	}
	return nil
}

func (r Ref) notLocal() error {
	return fmt.Errorf("%w: %s: register the function with cluster.Func and call it by name", ErrNotLocal, r)
}

// post is Ref.CallSoonThreadsafe. Any goroutine.
func (l *Loop) post(fn func()) error {
	if fn == nil {
		return invalid("the callback is nil")
	}
	if !l.inbox.Put(core.Item{Run: fn}) {
		return closedError(l)
	}
	return nil
}

func closedError(l *Loop) error { return fmt.Errorf("%w: %s", ErrLoopClosed, l.name) }

// Stop asks the loop to stop; see Loop.Stop. Any goroutine.
func (r Ref) Stop() error {
	return r.CallSoonThreadsafe(func() { r.loop.Stop() })
}

// SafeHandle is a scheduled callback that any goroutine may cancel.
type SafeHandle struct {
	mu    sync.Mutex
	state atomic.Int32
	fn    func()
	at    uintptr // fn, for descriptions
	done  chan struct{}
}

const (
	safePending int32 = iota
	safeRunning
	safeDone
	safeCancelled
)

// CallSoonThreadsafeHandle is CallSoonThreadsafe with a handle to cancel it.
func (r Ref) CallSoonThreadsafeHandle(fn func()) (*SafeHandle, error) {
	if fn == nil {
		return nil, invalid("the callback is nil")
	}
	if r.loop == nil {
		return nil, r.notLocal()
	}
	h := &SafeHandle{fn: fn, at: reflect.ValueOf(fn).Pointer(), done: make(chan struct{})}
	if !r.loop.inbox.Put(core.Item{Run: h.run, Meta: h}) {
		return nil, closedError(r.loop)
	}
	return h, nil
}

func (h *SafeHandle) run() {
	if !h.state.CompareAndSwap(safePending, safeRunning) {
		return
	}
	h.mu.Lock()
	fn := h.fn
	h.fn = nil
	h.mu.Unlock()
	defer func() {
		h.state.Store(safeDone)
		close(h.done)
	}()
	fn()
}

// Cancel prevents the callback if it has not started; Cancelled tells. It does
// not wait for a callback that runs; Done does. Repeating it is harmless. Any
// goroutine. asyncio 3.14: Handle.cancel of a thread-safe handle.
func (h *SafeHandle) Cancel() {
	if !h.state.CompareAndSwap(safePending, safeCancelled) {
		return
	}
	h.mu.Lock()
	h.fn = nil // keeps nothing alive
	h.mu.Unlock()
	close(h.done)
}

// Cancelled reports whether the callback has not started and never will: Cancel
// came in time, or the loop was closed first. Any goroutine.
func (h *SafeHandle) Cancelled() bool { return h.state.Load() == safeCancelled }

// Done is closed when the callback has returned, was cancelled, or was dropped
// because the loop was closed first. Any goroutine.
func (h *SafeHandle) Done() <-chan struct{} { return h.done }
