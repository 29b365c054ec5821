package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func TestACounterIsUsedFromAnotherNode(t *testing.T) {
	next := exampletest.Start(t, serve)
	join := strings.TrimPrefix(next("join: "), "nats://")
	var out bytes.Buffer
	if err := use(t.Context(), join, &out); err != nil {
		t.Fatal(err, out.String())
	}
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	end := said[2] // with the incarnation of n1, which is another one each time
	said[2] = "the end"
	if got := strings.Join(said, ", "); got != "total: 45, refused: a negative number, the end, gone" {
		t.Fatal(got)
	}
	if !strings.HasPrefix(end, "n1/counter ended: ") || !strings.HasSuffix(end, "it stopped") {
		t.Fatal(end)
	}
	if why := next("the counter ended: "); why != "it stopped" {
		t.Fatal(why)
	}
}

func TestNobodyToJoinIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := use(ctx, "127.0.0.1:1", io.Discard); err == nil {
		t.Fatal("it joined nobody")
	}
}
