package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

// TestAFifoKeepsNobodyWaiting asks for a FIFO nobody writes to, more often than
// the loop's pool has threads, and for a file meanwhile.
func TestAFifoKeepsNobodyWaiting(t *testing.T) {
	root := ""
	url, _ := site(t, func(c *config) { root = c.root })
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		c := exampletest.Dial(t, strings.TrimPrefix(url, "http://"))
		if _, err := fmt.Fprint(c, "GET /files/fifo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 403 ") {
			t.Fatalf("%.60q, %v", answer, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/files/note.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || string(text) != "a note\n" {
		t.Fatalf("%q, %v", text, err)
	}
}
