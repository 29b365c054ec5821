//go:build foreign

package main

import (
	"net"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func TestRedisCLI(t *testing.T) {
	_, port, err := net.SplitHostPort(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	out := exampletest.Output(t, "set greeting \"hello world\"\nget greeting\nincr n\nnosuch\nmget greeting none\n", "redis-cli", "-p", port)
	want := "OK\nhello world\n1\nERR unknown command 'nosuch'\n\nhello world\n\n"
	if out != want {
		t.Fatalf("redis-cli printed %q, want %q", out, want)
	}
}

func TestRedisBenchmark(t *testing.T) {
	_, port, err := net.SplitHostPort(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	out := exampletest.Output(t, "", "redis-benchmark", "-p", port, "-t", "set,get,incr", "-n", "20000", "-P", "16", "-c", "20", "--csv")
	for _, name := range []string{`"SET"`, `"GET"`, `"INCR"`} {
		if !strings.Contains(out, name) {
			t.Errorf("no result for %s in\n%s", name, out)
		}
	}
}
