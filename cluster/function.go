package cluster

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Function is a named, typed function that can run on a loop of any node whose
// program registers it. Func makes one.
type Function[In, Out any] struct {
	name string
	fn   func(context.Context, In) (Out, error)
	via  *Node
}

// entry is a registered function without its types.
type entry struct {
	name    string
	in, out string // types, for people
	serve   func(ctx context.Context, codec wire.Codec, payload []byte) (outcome, error)
}

// outcome is a result as it travels.
type outcome struct {
	codec   wire.Codec
	payload []byte
}

// registry are the functions of this program.
var registry = functionTable{byName: map[string]*entry{}}

type functionTable struct {
	mu     sync.RWMutex
	byName map[string]*entry
}

func (t *functionTable) find(name string) *entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

func (t *functionTable) add(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName[e.name] != nil {
		return false
	}
	t.byName[e.name] = e
	return true
}

// Func registers fn under name and returns the handle to call it with. Use it
// for a package variable: all programs of a cluster that import the package then
// know the function. fn runs as a task on the loop it is called on: it may await,
// must not block, and its ctx ends when the caller gives up or dies, or its
// deadline passes. In and Out travel as JSON, []byte as it is.
//
// Func panics when the name is empty, longer than 255 bytes or taken, like
// http.Handle.
func Func[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) *Function[In, Out] {
	if name == "" || len(name) > wire.MaxName || fn == nil {
		panic(fmt.Sprintf("cluster: Func(%q): needs a name of 1 to %d bytes and a function", name, wire.MaxName))
	}
	f := &Function[In, Out]{name: name, fn: fn}
	if !registry.add(&entry{name: name, in: reflect.TypeFor[In]().String(), out: reflect.TypeFor[Out]().String(), serve: f.serve}) {
		panic(fmt.Sprintf("cluster: a function named %q is registered already; choose another name", name))
	}
	return f
}

// Name is the name it is registered under.
func (f *Function[In, Out]) Name() string { return f.name }

// Via is the function bound to a node: its calls go through that node. Needed
// only where one process has several nodes and no ctx tells which one.
func (f *Function[In, Out]) Via(n *Node) *Function[In, Out] {
	bound := *f
	bound.via = n
	return &bound
}

// serve runs the function for another node. Loop goroutine, in the call's task.
func (f *Function[In, Out]) serve(ctx context.Context, codec wire.Codec, payload []byte) (outcome, error) {
	in, err := decode[In](codec, payload)
	if err != nil {
		return outcome{}, err
	}
	out, err := f.fn(ctx, in)
	if err != nil {
		return outcome{}, err
	}
	var o outcome
	o.codec, o.payload, err = encode(out)
	return o, err
}

// Call runs the function on ref's loop and returns its result. At most once:
// after ErrExpired, ErrNodeDown or ErrDisconnected it may have run or not.
// It suspends the task ctx belongs to, or blocks the goroutine; when ctx ends
// the function's task is cancelled. Without a deadline in ctx it ends after
// Config.CallTimeout. A loop in this process is called without a network and
// without JSON: the values are shared, not copied.
//
// Errors: what the function returned (errors.Is finds registered errors), and
// ErrUnknownNode, ErrUnknownLoop, ErrUnknownFunction, ErrDeadIncarnation,
// ErrExpired, ErrBadPayload, ErrTooLarge, ErrPanic, ErrCancelled, ErrBusy,
// ErrClosed, ErrNodeDown, ErrDisconnected, ErrNoNode.
func (f *Function[In, Out]) Call(ctx context.Context, ref loopnode.Ref, in In) (out Out, err error) {
	n := f.node(ctx)
	loop, addr, err := locate(n, ref)
	if err != nil {
		return out, err
	}
	if loop != nil {
		return callLocal(ctx, n, loop, f, in)
	}
	frame := wire.Frame{Kind: wire.Call, Function: f.name}
	if frame.Codec, frame.Payload, err = encode(in); err != nil {
		return out, err
	}
	r, err := n.request(ctx, addr, &frame)
	if err != nil {
		return out, err
	}
	return decode[Out](r.codec, r.payload)
}

// CallSoon runs the function on ref's loop in its next turn, at most once, and
// drops its result; an error goes to that loop's exception handler. Calls from
// one goroutine to one loop keep their order. It does not wait; nil means that it
// is on its way out. Errors: ErrUnknownNode, ErrDisconnected, ErrTooLarge, ErrBadPayload,
// ErrClosed, ErrNoNode. asyncio: loop.call_soon_threadsafe.
func (f *Function[In, Out]) CallSoon(ref loopnode.Ref, in In) error {
	return f.cast(ref, wire.Soon, 0, in)
}

// CallLater is CallSoon after a delay, which counts from the arrival there. It
// is lost with its loop. asyncio: loop.call_later.
func (f *Function[In, Out]) CallLater(ref loopnode.Ref, d time.Duration, in In) error {
	return f.cast(ref, wire.Later, int64(d), in)
}

// CallAt is CallSoon at a time of the wall clock there. It is lost with its
// loop. asyncio: loop.call_at.
func (f *Function[In, Out]) CallAt(ref loopnode.Ref, when time.Time, in In) error {
	return f.cast(ref, wire.At, when.UnixNano(), in)
}

func (f *Function[In, Out]) cast(ref loopnode.Ref, op wire.Op, when int64, in In) error {
	n := f.node(context.Background())
	loop, addr, err := locate(n, ref)
	if err != nil {
		return err
	}
	if loop != nil {
		run := func(ctx context.Context) (struct{}, error) {
			_, err := f.fn(ctx, in)
			return struct{}{}, err
		}
		return schedule(loop, op, when, func() { runCast(&callContext{Context: loopContext(n, loop)}, loop, f.name, run, nil) })
	}
	frame := wire.Frame{Kind: wire.Cast, Function: f.name, Op: op, When: when}
	if frame.Codec, frame.Payload, err = encode(in); err != nil {
		return err
	}
	return n.cast(addr, &frame)
}

func (f *Function[In, Out]) node(ctx context.Context) *Node {
	if f.via != nil {
		return f.via
	}
	return nodeOf(ctx)
}

// locate finds where ref is: a loop of this process, or an address that n has
// to reach.
func locate(n *Node, ref loopnode.Ref) (*loopnode.Loop, actors.Address, error) {
	addr := ref.Address()
	if loop, ok := ref.Local(); ok {
		return loop, addr, nil
	}
	if n == nil {
		return nil, addr, fmt.Errorf("%w: call cluster.Start before calling %s", ErrNoNode, addr)
	}
	if addr.Node != "" && addr.Node != n.name {
		return nil, addr, nil
	}
	h, err := n.here(addr)
	if err != nil {
		return nil, addr, err
	}
	return h.loop, addr, nil
}
