//go:build foreign

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func TestCurlThroughTheProxy(t *testing.T) {
	body := strings.Repeat("0123456789", 100_000)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	defer site.Close()
	at := forward(t, strings.TrimPrefix(site.URL, "http://"))
	if out := exampletest.Output(t, "", "curl", "-sS", "--fail", "http://"+at+"/"); out != body {
		t.Fatalf("curl got %d of %d bytes", len(out), len(body))
	}
}
