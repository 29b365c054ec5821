package durable

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster"
)

var noted = cluster.Func("durable.noted", func(context.Context, int) (struct{}, error) { return struct{}{}, nil })

// What is stored carries the span of who asked for it to where it runs.
func TestATraceSurvivesTheStore(t *testing.T) {
	to := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(to))
	a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Tracing: provider})
	ctx, root := provider.Tracer("test").Start(testCtx(t), "order")
	ref := newLoop(t, a)
	worker, err := Work(a, "mail", ref)
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Stop()
	timers, err := Serve(a, "shop", ref)
	if err != nil {
		t.Fatal(err)
	}
	defer timers.Stop()
	if err := Send(ctx, a, "mail", "one", noted, 1); err != nil {
		t.Fatal(err)
	}
	if err := CallLater(ctx, a, "two", noted, 2, time.Millisecond, Group("shop")); err != nil {
		t.Fatal(err)
	}
	root.End()
	until(t, "two runs", func() bool {
		runs := 0
		for _, s := range to.GetSpans() {
			if s.Name == "run durable.noted" {
				runs++
				if s.Parent.SpanID() != root.SpanContext().SpanID() || s.SpanContext.TraceID() != root.SpanContext().TraceID() || s.SpanKind != trace.SpanKindConsumer {
					t.Errorf("%+v is not below %+v", s.Parent, root.SpanContext())
				}
			}
		}
		return runs == 2
	})
}
