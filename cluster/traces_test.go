package cluster_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

var tracer = struct{ trace.Tracer }{}

var (
	inner = cluster.Func("traces.inner", func(ctx context.Context, fail bool) (string, error) {
		_, span := tracer.Start(ctx, "child")
		defer span.End()
		if fail {
			return "", errors.New("no paper")
		}
		out, err := loopnode.ToThread(ctx, func(context.Context) (string, error) {
			b, err := exec.Command("echo", "printed").Output()
			return string(b), err
		})
		return strings.TrimSpace(out), err
	})
	outer = cluster.Func("traces.outer", func(ctx context.Context, to [2]string) (string, error) {
		node, _ := cluster.NodeOf(ctx)
		ref, err := node.Ref(to[0])
		if err != nil {
			return "", err
		}
		return inner.Call(ctx, ref, to[1] == "fail")
	})
	blows = cluster.Func("traces.blows", func(context.Context, int) (int, error) { panic("boom") })
)

// traced starts two nodes whose spans go into one place.
func traced(t *testing.T) (a, b *cluster.Node, spans func() map[string]tracetest.SpanStub) {
	t.Helper()
	to := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(to))
	tracer.Tracer = provider.Tracer("test")
	start := func(cfg cluster.Config) *cluster.Node {
		cfg.Logger, cfg.Tracing = hclog.NewNullLogger(), provider
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
			_, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
			return err
		}
		n, err := cluster.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		return n
	}
	a = start(cluster.Config{Name: "a"})
	b = start(cluster.Config{Name: "b", Beside: a})
	if err := a.WaitMembers(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	return a, b, func() map[string]tracetest.SpanStub {
		out := map[string]tracetest.SpanStub{}
		for _, s := range to.GetSpans() {
			out[s.Name] = s
		}
		to.Reset()
		return out
	}
}

func refOf(t *testing.T, n *cluster.Node, address string) loopnode.Ref {
	t.Helper()
	ref, err := n.Ref(address)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// chain fails unless each span is the child of the one before.
func chain(t *testing.T, spans map[string]tracetest.SpanStub, names ...string) {
	t.Helper()
	for i, name := range names {
		s, ok := spans[name]
		switch {
		case !ok:
			t.Fatalf("no span %q among %d", name, len(spans))
		case i == 0:
		case s.Parent.SpanID() != spans[names[i-1]].SpanContext.SpanID() || s.SpanContext.TraceID() != spans[names[0]].SpanContext.TraceID():
			t.Errorf("%q is not below %q", name, names[i-1])
		}
	}
}

// One trace from who calls on node a, over a function of b, back to a function of a that
// runs a child process.
func TestOneTraceOverNodes(t *testing.T) {
	a, _, spans := traced(t)
	ctx, root := tracer.Start(t.Context(), "order")
	out, err := outer.Via(a).Call(ctx, refOf(t, a, "b/io-0"), [2]string{"a/io-0", "print"})
	root.End()
	if out != "printed" || err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	seen := spans()
	chain(t, seen, "order", "call traces.outer", "run traces.outer", "call traces.inner", "run traces.inner", "child")
	call, run := seen["call traces.outer"], seen["run traces.outer"]
	if call.SpanKind != trace.SpanKindClient || run.SpanKind != trace.SpanKindServer || !run.Parent.IsRemote() {
		t.Errorf("kinds %v and %v, remote %v", call.SpanKind, run.SpanKind, run.Parent.IsRemote())
	}
	attributes := map[string]string{}
	for _, kv := range run.Attributes {
		attributes[string(kv.Key)] = kv.Value.AsString()
	}
	if attributes["rpc.method"] != "traces.outer" || attributes["loopmesh.node"] != "b" || attributes["loopmesh.target"] != "b/io-0" {
		t.Errorf("%v", attributes)
	}
}

func TestATraceSaysWhatFailed(t *testing.T) {
	a, _, spans := traced(t)
	if _, err := outer.Via(a).Call(t.Context(), refOf(t, a, "b/io-0"), [2]string{"a/io-0", "fail"}); err == nil {
		t.Fatal("no error")
	}
	seen := spans()
	chain(t, seen, "call traces.outer", "run traces.outer", "call traces.inner", "run traces.inner")
	for _, name := range []string{"call traces.outer", "run traces.outer", "call traces.inner", "run traces.inner"} {
		if s := seen[name].Status; s.Code != codes.Error || !strings.Contains(s.Description, "no paper") {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if _, err := blows.Via(a).Call(t.Context(), refOf(t, a, "b/io-0"), 1); !errors.Is(err, cluster.ErrPanic) {
		t.Fatal(err)
	}
	if s := spans()["run traces.blows"].Status; s.Code != codes.Error || !strings.Contains(s.Description, "panicked") {
		t.Errorf("%+v", s)
	}
	if _, err := inner.Via(a).Call(t.Context(), refOf(t, a, "nobody/io-0"), true); !errors.Is(err, cluster.ErrUnknownNode) {
		t.Fatal(err)
	}
	if s := spans()["call traces.inner"].Status; s.Code != codes.Error {
		t.Errorf("%+v", s)
	}
}

// A call within the process is traced like one to another node.
func TestATraceWithinTheProcess(t *testing.T) {
	a, _, spans := traced(t)
	ctx, root := tracer.Start(t.Context(), "order")
	_, err := inner.Via(a).Call(ctx, refOf(t, a, "a/io-0"), false)
	root.End()
	if err != nil {
		t.Fatal(err)
	}
	chain(t, spans(), "order", "call traces.inner", "run traces.inner", "child")
}
