// Package otlp sends the spans of a program's nodes to an OpenTelemetry collector, over
// HTTP:
//
//	nodecmd.Main(nodecmd.WithTracing(otlp.Tracing), …)
//
// The standard variables say where and how, and no flag does: OTEL_EXPORTER_OTLP_ENDPOINT
// or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (without one of them nothing is made and nothing
// is sent), OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED.
package otlp

import (
	"context"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing makes the provider of a node and what sends its last spans. It does not wait
// for the collector: spans that it does not take are dropped, after the attempts that
// OpenTelemetry's exporter makes.
//
// Every node is an instance of its own (service.instance.id is its name), so that the
// spans of three nodes in one process can be told apart.
func Tracing(ctx context.Context, node string) (trace.TracerProvider, func(context.Context) error, error) {
	if !wanted(os.Getenv) {
		return nil, nil, nil
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "loopmesh"), attribute.String("service.instance.id", node)),
		resource.WithHost(), resource.WithProcessPID(), resource.WithTelemetrySDK(),
		resource.WithFromEnv()) // the variables win
	if err != nil {
		return nil, nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return p, p.Shutdown, nil
}

// wanted: the exporter alone would send to port 4318 of this machine where no variable
// names a collector, and every node would log that nobody is there.
func wanted(variable func(string) string) bool {
	return variable("OTEL_SDK_DISABLED") != "true" &&
		(variable("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "")
}
