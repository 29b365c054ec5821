// Package traces makes spans of OpenTelemetry for what crosses loops and nodes, and
// carries their context from the caller to the function. Without a provider, and while nobody
// records, nothing is made and nothing travels.
package traces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// What does a trace show? Each call is two spans. The first belongs to who calls: it
// lasts as long as the call does, its way there and back and the wait for the loop
// included. The second belongs to the function: it begins with its task. The time between
// the two beginnings is the network and the queue of the loop, which is what somebody who
// looks at a slow call wants to see apart. What is stored before it runs has the second
// span only, below the span of who asked for it, however much later.
//
// Why a text that travels, and not the ids as numbers? The W3C's form is what every other
// system writes and reads, a newer version of it passes through us as it is, and a call
// that is traced is rare beside those that are not: sampling sees to that.

// Tracer makes the spans of one node, for its provider and for recordings (record.go). Any
// goroutine; a nil one makes none.
type Tracer struct {
	node   string
	tracer trace.Tracer // nil: no provider

	mu       sync.Mutex // of changes of recorded
	recorded atomic.Pointer[recordings]
}

const instrumentation = "github.com/loopmesh/loopmesh/cluster"

// New is the tracer of a node; without a provider it makes spans only while somebody records.
func New(p trace.TracerProvider, node string) *Tracer {
	t := &Tracer{node: node}
	if p != nil {
		t.tracer = p.Tracer(instrumentation)
	}
	return t
}

// On reports whether there is anybody to make spans for.
func (t *Tracer) On() bool { return t != nil && (t.tracer != nil || t.recorded.Load() != nil) }

// Two ends of one call use Call and Run. Neither of them trusts the other: a text that
// cannot be read begins a new trace, and nothing else changes.

// Call begins the span of who calls a function. text is the context of the span as it
// travels; end is called once, with what the call ended in.
func (t *Tracer) Call(ctx context.Context, function, target string) (text string, end func(error)) {
	if !t.On() {
		return "", func(error) {}
	}
	up, end := trace.SpanContextFromContext(ctx), func(error) {}
	r := t.find(ctx, function)
	switch {
	case t.tracer != nil:
		var span trace.Span
		ctx, span = t.tracer.Start(ctx, "call "+function, trace.WithSpanKind(trace.SpanKindClient), t.about(function, target))
		end = ender(span)
	case r != nil:
		ctx = trace.ContextWithSpanContext(ctx, below(ctx))
	}
	if r == nil {
		return Text(ctx), end
	}
	sc := marked(trace.SpanContextFromContext(ctx), r.name)
	in, _ := ctx.Value(recordedKey{}).(within)
	ended := r.add(Span{ID: sc.SpanID().String(), Parent: cmp.Or(in.span, idOf(up)), Called: true, Name: function, Node: t.node, Target: target, Begun: time.Now()})
	return Text(trace.ContextWithSpanContext(ctx, sc)), both(ended, end)
}

// Run begins the span of a function that runs, below the span that text tells; came is when
// its call arrived on the node, zero where that is not known. The function gets the ctx that
// it returns; one that does not return ends the span with ErrUnfinished.
func (t *Tracer) Run(ctx context.Context, text, function, loop string, kind trace.SpanKind, came time.Time) (context.Context, func(error)) {
	if !t.On() {
		return ctx, func(error) {}
	}
	ctx = with(ctx, text)
	up, end := trace.SpanContextFromContext(ctx), func(error) {}
	r := t.find(ctx, function)
	switch {
	case t.tracer != nil:
		var span trace.Span
		ctx, span = t.tracer.Start(ctx, "run "+function, trace.WithSpanKind(kind), t.about(function, t.node+"/"+loop))
		end = ender(span)
	case r != nil:
		ctx = trace.ContextWithSpanContext(ctx, below(ctx))
	}
	if r == nil {
		return ctx, end
	}
	s := Span{ID: idOf(trace.SpanContextFromContext(ctx)), Parent: idOf(up), Name: function, Node: t.node, Target: t.node + "/" + loop, Begun: time.Now()}
	if !came.IsZero() {
		s.QueueNS = int64(s.Begun.Sub(came))
	}
	return context.WithValue(ctx, recordedKey{}, within{r.name, s.ID}), both(r.add(s), end)
}

// both calls one function behind the other.
func both(first, second func(error)) func(error) {
	return func(err error) { first(err); second(err) }
}

// idOf is the id of a span as text, "" for none.
func idOf(sc trace.SpanContext) string {
	if !sc.HasSpanID() {
		return ""
	}
	return sc.SpanID().String()
}

// about are the attributes of a call, by OpenTelemetry's names for remote calls.
func (t *Tracer) about(function, target string) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("rpc.system", "loopmesh"),
		attribute.String("rpc.method", function),
		attribute.String("loopmesh.node", t.node),
		attribute.String("loopmesh.target", target))
}

// ErrUnfinished is what a span of Run ends in when its function did not return.
var ErrUnfinished = errors.New("the function did not return: it panicked, or ended its goroutine")

// ender ends a span with the outcome of what it stands for.
func ender(span trace.Span) func(error) {
	return func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, fmt.Sprint(err))
		}
		span.End()
	}
}

// The context travels in the form of the W3C: traceparent, and behind a space tracestate
// where there is one.

const (
	parent = "traceparent"
	state  = "tracestate"
)

// Text is the context of the span in ctx as it travels; "" without one, and a state that
// is too long stays behind.
func Text(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	if in, ok := ctx.Value(recordedKey{}).(within); ok { // what is sent for later is recorded, too
		ctx = trace.ContextWithSpanContext(ctx, marked(trace.SpanContextFromContext(ctx), in.name))
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	text := c[parent]
	if s := c[state]; s != "" && len(text)+1+len(s) <= wire.MaxTrace {
		text += " " + s
	}
	return text
}

// with is ctx below the span that text tells; what cannot be read tells none.
func with(ctx context.Context, text string) context.Context {
	if text == "" {
		return ctx
	}
	p, s, _ := strings.Cut(text, " ")
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{parent: p, state: s})
}
