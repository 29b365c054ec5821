package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/nodecmd"
)

var double = cluster.Func("otlp.double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// collector is an OTLP server that keeps what it gets.
type collector struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path == "/v1/traces" {
		_, _ = c.got.ReadFrom(body)
	}
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// A node of a program sends the spans of its calls, the last ones when it stops.
func TestSpansReachTheCollector(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SERVICE_NAME", "shop")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	called := false
	code := nodecmd.Run(ctx, []string{"start", "--name", "n1", "--listen", "none", "--loops", "1", "--log-level", "off"}, io.Discard, io.Discard,
		nodecmd.WithTracing(Tracing),
		nodecmd.WithPrepare(func(ctx context.Context, n *cluster.Node) error {
			ref, err := n.Ref("n1/io-0")
			if err != nil {
				return err
			}
			_, err = double.Via(n).Call(ctx, ref, 2)
			called = err == nil
			stop() // the program ends as by Ctrl-C
			return err
		}))
	if !called {
		t.Fatalf("exit code %d without a call", code)
	}
	for _, want := range []string{"call otlp.double", "run otlp.double", "shop", "n1"} {
		if !strings.Contains(c.text(), want) {
			t.Errorf("the collector has no %q", want)
		}
	}
}

func TestWithoutTheVariablesNothingIsMade(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	if p, flush, err := Tracing(t.Context(), "n1"); p != nil || flush != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if p, flush, err := Tracing(t.Context(), "n1"); p != nil || flush != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
}
