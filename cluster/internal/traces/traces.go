// Package traces makes spans of OpenTelemetry for what crosses loops and nodes, and
// carries their context from the caller to the function. Without a provider a *Tracer is
// nil: then nothing is made and nothing travels.
package traces

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// Tracer makes the spans of one node. Any goroutine; a nil one makes none.
type Tracer struct {
	node   string
	tracer trace.Tracer
}

const instrumentation = "github.com/loopmesh/loopmesh/cluster"

// New is the tracer of a node; nil without a provider.
func New(p trace.TracerProvider, node string) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{node, p.Tracer(instrumentation)}
}

// Two ends of one call use Call and Run. Neither of them trusts the other: a text that
// cannot be read begins a new trace, and nothing else changes.

// Call begins the span of who calls a function. text is the context of the span as it
// travels; end is called once, with what the call ended in.
func (t *Tracer) Call(ctx context.Context, function, target string) (text string, end func(error)) {
	if t == nil {
		return "", func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, "call "+function, trace.WithSpanKind(trace.SpanKindClient), t.about(function, target))
	return Text(ctx), ender(span)
}

// Run begins the span of a function that runs, below the span that text tells. The
// function gets the ctx that it returns; one that does not return ends the span with
// ErrUnfinished.
func (t *Tracer) Run(ctx context.Context, text, function, loop string, kind trace.SpanKind) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(with(ctx, text), "run "+function, trace.WithSpanKind(kind), t.about(function, t.node+"/"+loop))
	return ctx, ender(span)
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
