package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/casts"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Function is a named, typed function that can run on a loop of any node whose
// program registers it. Func makes one, or Declare and Handle. Any goroutine.
type Function[In, Out any] struct {
	name   string
	shared *shared[In, Out] // by those that Via makes; nil in one that is not registered here
	via    *Node
}

// shared is what all values of a registered function have in common.
type shared[In, Out any] struct {
	body  atomic.Pointer[body[In, Out]] // nil until Handle
	form  codec.Form[In]
	casts sync.Pool // of *cast[In]
}

// cast is a call without an answer on its way out, until its flow has sent it. They are
// used again: there may be a million a second.
type cast[In any] struct {
	frame wire.Frame
	in    In
	buf   bytes.Buffer // has frame.Payload
}

// castOf makes the frame of a call without an answer. release takes it back when nobody
// uses the frame any more.
func (s *shared[In, Out]) castOf(name string, o order, in In) (c *cast[In], err error) {
	if s == nil {
		s = &shared[In, Out]{form: codec.FormOf[In]()}
	}
	c, _ = s.casts.Get().(*cast[In])
	if c == nil {
		c = &cast[In]{}
	}
	c.in = in
	c.frame = wire.Frame{Kind: wire.Cast, Function: name, Op: o.op, When: o.when}
	c.frame.Codec, c.frame.Payload, err = s.form.Encode(&c.in, &c.buf)
	return c, err
}

// keptBuffer is how large a buffer may be that is kept for the next cast.
const keptBuffer = 4 << 10

func (s *shared[In, Out]) release(c *cast[In]) {
	if s == nil || c.buf.Cap() > keptBuffer {
		return
	}
	var none In
	c.in, c.frame.Payload = none, nil
	c.buf.Reset()
	s.casts.Put(c)
}

type body[In, Out any] func(ctx context.Context, in In) (Out, error)

// Func registers fn under name and returns the handle to call it with. Use it
// for a package variable: all programs of a cluster that import the package then
// know the function. fn runs as a task on the loop it is called on: it may await,
// must not block, and its ctx ends when the caller gives up or dies, or its
// deadline passes. In and Out travel as CBOR, []byte as it is (see the
// package). A function that calls itself, or others that call it, needs Declare.
//
// Func panics when the name is empty, longer than 255 bytes, begins with $ or is
// taken, like http.Handle.
func Func[In, Out any](name string, fn func(ctx context.Context, in In) (Out, error)) *Function[In, Out] {
	f := Declare[In, Out](name)
	f.Handle(fn)
	return f
}

// Declare is Func without the function, which Handle gives. Why two steps: Go does
// not initialize a variable whose initializer refers to the variable, and a function
// that passes its message on does so:
//
//	var gossip = cluster.Declare[News, struct{}]("news.gossip")
//	var _ = gossip.Handle(func(ctx context.Context, in News) (struct{}, error) {
//		return struct{}{}, gossip.CallSoon(ctx, next(), in)
//	})
//
// Until Handle, calls of it end with ErrUnknownFunction here. It panics as Func does.
func Declare[In, Out any](name string) *Function[In, Out] {
	if name == "" || len(name) > wire.MaxName || name[0] == '$' {
		panic(fmt.Sprintf("cluster: Func(%q): needs a name of 1 to %d bytes that does not begin with $", name, wire.MaxName))
	}
	f := &Function[In, Out]{name: name, shared: &shared[In, Out]{form: codec.FormOf[In]()}}
	e := &registry.Entry{Name: name, In: reflect.TypeFor[In]().String(), Out: reflect.TypeFor[Out]().String(), Serve: f.serve, Run: f.runOnly, Func: f.shown}
	if !registry.AddFunction(e) {
		panic(fmt.Sprintf("cluster: a function named %q is registered already; choose another name", name))
	}
	return f
}

// Handle gives a declared function its body, see Func. It panics when the function has
// one. It returns a value only so that it can initialize a package variable.
func (f *Function[In, Out]) Handle(fn func(ctx context.Context, in In) (Out, error)) struct{} {
	b := body[In, Out](fn)
	if fn == nil || !f.shared.body.CompareAndSwap(nil, &b) {
		panic(fmt.Sprintf("cluster: Handle of %q: needs a function, once", f.name))
	}
	return struct{}{}
}

// run runs the body in the task of a call.
func (f *Function[In, Out]) run(ctx context.Context, in In) (out Out, err error) {
	if f.shared == nil || f.shared.body.Load() == nil {
		return out, fault.Codef(wire.UnknownFunction, "%w: %q is declared here and has no body (Handle)", ErrUnknownFunction, f.name)
	}
	out, err = (*f.shared.body.Load())(ctx, in)
	return out, fault.Readable(err)
}

// shown is what descriptions of a task name: the body, if there is one.
func (f *Function[In, Out]) shown() any {
	if b := f.shared.body.Load(); b != nil {
		return *b
	}
	return f.run
}

// Name is the name it is registered under.
func (f *Function[In, Out]) Name() string { return f.name }

// Via is the function bound to a node: its calls go through that node, whatever ctx
// and ref say.
func (f *Function[In, Out]) Via(n *Node) *Function[In, Out] {
	bound := *f
	bound.via = n
	return &bound
}

// serve runs the function for another node. Loop goroutine, in the call's task.
func (f *Function[In, Out]) serve(ctx context.Context, c wire.Codec, payload []byte) (registry.Outcome, error) {
	in, err := codec.Decode[In](c, payload)
	if err != nil {
		return registry.Outcome{}, err
	}
	out, err := f.run(ctx, in)
	if err != nil {
		return registry.Outcome{}, err
	}
	var o registry.Outcome
	o.Codec, o.Payload, err = codec.EncodeFor(c, out)
	return o, err
}

// runOnly is serve for a call without an answer.
func (f *Function[In, Out]) runOnly(ctx context.Context, c wire.Codec, payload []byte) error {
	in, err := codec.Decode[In](c, payload)
	if err == nil {
		_, err = f.run(ctx, in)
	}
	return err
}

// Call runs the function on ref's loop and returns its result. At most once:
// after ErrExpired, ErrNodeDown or ErrDisconnected it may have run or not.
// It suspends the task ctx belongs to, or blocks the goroutine; when ctx ends
// the function's task is cancelled. Without a deadline in ctx it ends after
// Config.CallTimeout. A loop in this process is called without a network and
// without encoding: the values are shared, not copied.
//
// Errors: what the function returned (errors.Is finds registered errors), and
// ErrUnknownNode, ErrUnknownLoop, ErrUnknownFunction, ErrDeadIncarnation, ErrStaleAddress,
// ErrExpired, ErrBadPayload, ErrTooLarge, ErrPanic, ErrCancelled, ErrBusy,
// ErrClosed, ErrNodeDown, ErrDisconnected, ErrNoNode.
func (f *Function[In, Out]) Call(ctx context.Context, ref loopnode.Ref, in In) (out Out, err error) {
	if ctx == nil {
		return out, errNoContext(f.name)
	}
	n := f.node(ctx, ref)
	loop, addr, err := locate(n, ref)
	if err != nil {
		return out, err
	}
	if loop != nil {
		return callLocal(ctx, n, loop, addr.Node, f.name, func(ctx context.Context) (Out, error) { return f.run(ctx, in) })
	}
	frame := wire.Frame{Kind: wire.Call, Function: f.name}
	if frame.Codec, frame.Payload, err = codec.Encode(in); err != nil {
		return out, err
	}
	r, err := n.out.Request(ctx, addr, &frame)
	if err != nil {
		return out, err
	}
	return codec.Decode[Out](r.Codec, r.Payload)
}

// CallSoon runs the function on ref's loop in its next turn, at most once, and
// drops its result; an error goes to that loop's exception handler. Calls from
// one goroutine to one loop keep their order.
//
// A loop of another node that does not take calls as fast as they come slows its
// callers: CallSoon waits until the loop has taken enough, at most until ctx ends. It
// suspends the task ctx belongs to, or blocks the goroutine; in a callback of a loop,
// which may not wait, it is ErrNoCredit at once. nil means that the call was sent; if it
// does not run, Config.OnLoss is told and Stats counts it. Errors: ErrNoCredit (with
// ctx's error when
// that ended the wait), ErrUnknownNode, ErrDeadIncarnation, ErrDisconnected, ErrNodeDown,
// ErrTooLarge, ErrBadPayload, ErrClosed, ErrNoNode. asyncio: loop.call_soon_threadsafe.
func (f *Function[In, Out]) CallSoon(ctx context.Context, ref loopnode.Ref, in In) error {
	return f.cast(ctx, ref, order{op: wire.Soon, mayWait: true}, in)
}

// TryCallSoon is CallSoon that never waits: it is ErrNoCredit when CallSoon would wait.
func (f *Function[In, Out]) TryCallSoon(ctx context.Context, ref loopnode.Ref, in In) error {
	return f.cast(ctx, ref, order{op: wire.Soon}, in)
}

// CallLater is CallSoon after a delay, which counts from the arrival there. It
// is lost with its loop. asyncio: loop.call_later.
func (f *Function[In, Out]) CallLater(ctx context.Context, ref loopnode.Ref, d time.Duration, in In) error {
	return f.cast(ctx, ref, order{wire.Later, int64(d), true}, in)
}

// CallAt is CallSoon at a time of the wall clock there. It is lost with its
// loop. asyncio: loop.call_at.
func (f *Function[In, Out]) CallAt(ctx context.Context, ref loopnode.Ref, when time.Time, in In) error {
	return f.cast(ctx, ref, order{wire.At, when.UnixNano(), true}, in)
}

// order is when a call without an answer runs, and whether its caller may wait.
type order struct {
	op      wire.Op
	when    int64
	mayWait bool
}

func (f *Function[In, Out]) cast(ctx context.Context, ref loopnode.Ref, o order, in In) error {
	if ctx == nil {
		return errNoContext(f.name)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", fault.Place(f.name, ref.String()), context.Cause(ctx))
	}
	n := f.node(ctx, ref)
	loop, addr, err := locate(n, ref)
	if err != nil {
		return err
	}
	if loop != nil {
		run := func(ctx context.Context) (struct{}, error) {
			_, err := f.run(ctx, in)
			return struct{}{}, err
		}
		return casts.Schedule(loop, o.op, o.when, func() {
			casts.Run(&calls.Context{Context: contextOn(n, loop)}, loop, f.name, run)
		})
	}
	c, err := f.shared.castOf(f.name, o, in)
	if err == nil {
		err = n.casts.Send(ctx, addr, &c.frame, o.mayWait) // it does not keep the frame
	}
	f.shared.release(c)
	return err
}

func (f *Function[In, Out]) node(ctx context.Context, ref loopnode.Ref) *Node {
	if f.via != nil {
		return f.via
	}
	return nodeOf(ctx, ref)
}

func errNoContext(name string) error {
	return badConfig("a call of %s needs a ctx, not nil: use context.Background()", name)
}

// callLocal runs fn on a loop of this process, the caller's own included. node is that of
// the loop's address.
func callLocal[Out any](ctx context.Context, n *Node, loop *loopnode.Loop, node, name string, fn func(context.Context) (Out, error)) (Out, error) {
	to := calls.Callee{Base: contextOn(n, loop), Loop: loop, Node: node, Name: name, Limit: defaultCallTimeout}
	if n != nil {
		to.Limit, to.Traces, to.From = n.cfg.CallTimeout, n.traces, n.link.Self().Peer()
	}
	return calls.Local(ctx, to, fn)
}

// contextOn is what a task on loop starts from; n is nil where no node was started.
func contextOn(n *Node, loop *loopnode.Loop) context.Context {
	if n == nil {
		return loop.Context(context.Background())
	}
	return n.loopContext(loop)
}

// locate finds where ref is: a loop of this process, or an address that n has
// to reach.
func locate(n *Node, ref loopnode.Ref) (*loopnode.Loop, actors.Address, error) {
	addr := ref.Address()
	if loop, ok := ref.Local(); ok {
		return loop, addr, nil
	}
	if n == nil {
		return nil, addr, fmt.Errorf("%w that carries a call to %s: call cluster.Start before; where there are several nodes, take the ref from Node.Ref, a ctx from Node.Context, or Function.Via", ErrNoNode, addr)
	}
	if addr.Node != "" && addr.Node != n.name {
		return nil, addr, nil
	}
	h, err := n.loops.At(addr)
	if err != nil {
		return nil, addr, err
	}
	return h.Loop, addr, nil
}

// CallJSON is Function.Call for those who know only the name, such as a command
// line: this program need not register the function. in and the result are JSON;
// an empty in is null, and bytes are a string in base64. It waits as Call does,
// also on a loop of this very process. Errors as of Call.
func (n *Node) CallJSON(ctx context.Context, ref loopnode.Ref, name string, in json.RawMessage) (json.RawMessage, error) {
	if ctx == nil {
		return nil, errNoContext(name)
	}
	if len(in) == 0 {
		in = json.RawMessage("null")
	}
	if !json.Valid(in) {
		return nil, fmt.Errorf("%w: the argument of %s is not JSON", ErrBadPayload, name)
	}
	loop, addr, err := locate(n, ref)
	if err != nil {
		return nil, err
	}
	if loop != nil {
		return callLocalJSON(ctx, n, loop, addr.Node, name, in)
	}
	r, err := n.out.Request(ctx, addr, &wire.Frame{Kind: wire.Call, Function: name, Codec: wire.JSON, Payload: in})
	if err != nil {
		return nil, err
	}
	return asJSON(registry.Outcome{Codec: r.Codec, Payload: r.Payload})
}

func callLocalJSON(ctx context.Context, n *Node, loop *loopnode.Loop, node, name string, in json.RawMessage) (json.RawMessage, error) {
	e := registry.Function(name)
	if e == nil {
		return nil, fault.New(n.name+"/"+loop.Name(), name, ErrUnknownFunction, "this program registers no function of that name")
	}
	out, err := callLocal(ctx, n, loop, node, name, func(ctx context.Context) (registry.Outcome, error) {
		return e.Serve(ctx, wire.JSON, in)
	})
	if err != nil {
		return nil, err
	}
	return asJSON(out)
}

// asJSON is the result as JSON: bytes become a string in base64.
func asJSON(o registry.Outcome) (json.RawMessage, error) {
	if o.Codec == wire.Raw {
		return json.Marshal(o.Payload)
	}
	return o.Payload, nil
}
