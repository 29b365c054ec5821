package nodecmd

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster"
)

// Tracing makes what gets the spans of a node (cluster.Config.Tracing). It is called once
// for each node that the program starts, before the start. flush is called when the node
// has stopped, and has until its ctx ends to send what is left. A nil provider makes no
// spans.
type Tracing func(ctx context.Context, node string) (p trace.TracerProvider, flush func(ctx context.Context) error, err error)

// WithTracing has the nodes of the program make spans. Why an option, and not done
// always: an exporter brings more code than all of the rest; package otlp has one.
func WithTracing(t Tracing) Option { return func(p *program) { p.tracing = t } }

// trace opens the tracing of a node. It comes before the node's start, because the first
// call may come with it, and what it returns is called behind the node's end, because
// the last spans are those of the calls that the end has waited for.
func (p *program) trace(ctx context.Context, cfg *cluster.Config) (flush func(context.Context) error, err error) {
	flush = func(context.Context) error { return nil }
	if p.tracing == nil {
		return flush, nil
	}
	provider, send, err := p.tracing(ctx, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("tracing of node %s: %w", cfg.Name, err)
	}
	cfg.Tracing = provider
	if send != nil {
		flush = send
	}
	return flush, nil
}
