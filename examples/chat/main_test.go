package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 20 * time.Second

// node runs the example and gives where clients and where nodes connect.
func node(t *testing.T, join string) (clients, nodes string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	return nodeUntil(ctx, t, join)
}

// nodeUntil is node for a test that ends it with ctx, at the latest when the test ends.
func nodeUntil(ctx context.Context, t *testing.T, join string) (clients, nodes string) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, "127.0.0.1:0", join, w)
		_ = w.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	in := bufio.NewScanner(r)
	for _, what := range []struct {
		prefix string
		value  *string
	}{{"clients: ", &clients}, {"nodes: ", &nodes}} {
		if !in.Scan() || !strings.HasPrefix(in.Text(), what.prefix) {
			t.Fatalf("said %q, %v", in.Text(), in.Err())
		}
		*what.value = strings.TrimPrefix(in.Text(), what.prefix)
	}
	return clients, nodes
}

type client struct {
	net.Conn
	in *bufio.Scanner
}

func connect(t *testing.T, address string) client {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cl := client{c, bufio.NewScanner(c)}
	cl.hear(t, "* you are ")
	return cl
}

func (c client) hear(t *testing.T, part string) {
	t.Helper()
	if !c.in.Scan() || !strings.Contains(c.in.Text(), part) {
		t.Fatalf("heard %q (%v), want %q", c.in.Text(), c.in.Err(), part)
	}
}

func (c client) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text+"\n"); err != nil {
		t.Fatal(err)
	}
}

// skip hears lines with one part until one with another comes.
func (c client) skip(t *testing.T, part, until string) {
	t.Helper()
	for c.in.Scan() && strings.Contains(c.in.Text(), part) {
	}
	if !strings.Contains(c.in.Text(), until) {
		t.Fatalf("heard %q (%v), want %q", c.in.Text(), c.in.Err(), until)
	}
}

// meet lets a say hello until b, on a node that has just joined, hears it: the node of
// a may not know that one yet.
func meet(t *testing.T, a, b client) {
	t.Helper()
	heard, silent := make(chan struct{}), make(chan struct{})
	// goroutine: owner: the test; ends when b has heard or the test fails
	go func() {
		defer close(silent)
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for {
			if _, err := io.WriteString(a, "hello\n"); err != nil {
				return // the test has failed
			}
			select {
			case <-heard:
				return
			case <-again.C:
			}
		}
	}()
	defer func() { close(heard); <-silent }()
	b.hear(t, ": hello")
}

func TestChat(t *testing.T) {
	first, at := node(t, "")
	second, _ := node(t, at)
	a, b := connect(t, first), connect(t, second)
	meet(t, a, b)
	if _, err := io.WriteString(b, "two\r\nlines\npart"); err != nil { // the third is not complete
		t.Fatal(err)
	}
	for _, c := range []client{a, b} {
		c.skip(t, ": hello", ": two")
		c.hear(t, ": lines")
	}
	b.say(t, "ner")
	a.hear(t, ": partner")
}

// TestAFloodOfLinesLeavesTheOthersHeard: one client sends a hundred thousand lines; what
// another one says meanwhile is heard before the last of them.
func TestAFloodOfLinesLeavesTheOthersHeard(t *testing.T) {
	const flood = 100_000
	address, _ := node(t, "")
	loud, quiet := connect(t, address), connect(t, address)
	if _, err := io.WriteString(loud, strings.Repeat("x\n", flood)+"the end\n"); err != nil {
		t.Fatal(err)
	}
	quiet.hear(t, ": x")
	quiet.say(t, "hello")
	for quiet.in.Scan() {
		switch text := quiet.in.Text(); {
		case strings.HasSuffix(text, ": hello"):
			return
		case strings.HasSuffix(text, ": the end"):
			t.Fatal("nobody was heard until the flood had ended")
		}
	}
	t.Fatal(quiet.in.Err())
}

// TestTheEndIsSaid: a client hears that its node goes away before its connection ends.
func TestTheEndIsSaid(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	address, _ := nodeUntil(ctx, t, "")
	c := connect(t, address)
	stop()
	c.hear(t, "* this node is going away")
	if c.in.Scan() || c.in.Err() != nil {
		t.Errorf("then it hears %q, %v; want the end", c.in.Text(), c.in.Err())
	}
}
