package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func forward(t testing.TB, target string) string {
	next := exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "127.0.0.1:0", target, out) })
	return next("forwarding from ")
}

// behind is a target that hands its connections to the test.
func behind(t testing.TB) (address string, conns chan *net.TCPConn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = make(chan *net.TCPConn, 8)
	over := make(chan struct{})
	// goroutine: owner: the test; ends with the listener
	go func() {
		defer close(over)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-over })
	return ln.Addr().String(), conns
}

func TestForwardsBothWaysAndEachEnd(t *testing.T) {
	target, conns := behind(t)
	client := exampletest.Dial(t, forward(t, target)).(*net.TCPConn)
	server := <-conns
	defer server.Close()
	question, answer := strings.Repeat("ask", 500_000), strings.Repeat("tell", 500_000)
	sent := make(chan error, 1)
	// goroutine: owner: the test; ends when the question is sent, which the test waits for
	go func() {
		_, err := io.WriteString(client, question)
		sent <- errors.Join(err, client.CloseWrite())
	}()
	if b, err := io.ReadAll(server); err != nil || string(b) != question {
		t.Fatalf("the target got %d of %d bytes, %v", len(b), len(question), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	// goroutine: owner: the test; ends when the answer is sent, which the test waits for
	go func() {
		_, err := io.WriteString(server, answer) // after the client's end: half open
		sent <- errors.Join(err, server.Close())
	}()
	if b, err := io.ReadAll(client); err != nil || string(b) != answer {
		t.Fatalf("the client got %d of %d bytes, %v", len(b), len(answer), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestASlowReaderHoldsTheSenderBack(t *testing.T) {
	target, conns := behind(t)
	client := exampletest.Dial(t, forward(t, target))
	server := <-conns
	defer server.Close()
	stuck, pieces := make(chan struct{}), make(chan int, 1)
	// goroutine: owner: the test; ends when the client is closed
	go func() {
		piece, n := make([]byte, 64<<10), 0
		for range 10_000 { // 640 MB: more than any buffer on the way
			if _, err := server.Write(piece); err != nil {
				break
			}
			if n++; n == 1 {
				close(stuck)
			}
		}
		pieces <- n
	}()
	<-stuck
	if _, err := io.ReadFull(client, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-pieces; n == 10_000 {
		t.Fatal("everything was taken from the sender while the reader slept")
	}
}

func TestATargetThatRefusesEndsTheClient(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	client := exampletest.Dial(t, forward(t, target))
	if b, _ := io.ReadAll(client); len(b) > 0 { // a reset or an end
		t.Fatalf("got %q", b)
	}
}
