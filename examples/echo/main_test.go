package main

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func TestEcho(t *testing.T) {
	next := exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "127.0.0.1:0", "127.0.0.1:0", out) })
	for _, address := range []string{next("protocol on "), next("stream on ")} {
		c := exampletest.Dial(t, address)
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(c)
		if err != nil || string(back) != "hello" {
			t.Fatalf("got %q, %v", back, err)
		}
	}
}
