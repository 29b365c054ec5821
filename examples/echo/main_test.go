package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", "127.0.0.1:0", w) }()
	lines := bufio.NewScanner(r)
	var at []string // Why: the loop waits in its second print; it serves nobody before
	for _, kind := range []string{"protocol on ", "stream on "} {
		if !lines.Scan() {
			t.Fatal("no address")
		}
		address, ok := strings.CutPrefix(lines.Text(), kind)
		if !ok {
			t.Fatalf("got %q", lines.Text())
		}
		at = append(at, address)
	}
	for _, address := range at {
		talk(t, address)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func talk(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
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
