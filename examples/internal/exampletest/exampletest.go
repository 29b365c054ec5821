// Package exampletest runs an example's main loop for its tests.
package exampletest

import (
	"bufio"
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// Start runs an example until the test ends, which fails when run does. next
// returns what the example prints behind prefix in its next line.
func Start(t testing.TB, run func(ctx context.Context, out io.Writer) error) (next func(prefix string) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	// goroutine: owner: the test; ends with run, which its clean-up waits for
	go func() {
		err := run(ctx, w)
		_ = w.Close() // a reader that waits for a line gets the end
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		_ = r.Close() // nobody reads any more: printing must not wait
		if err := <-ended; err != nil {
			t.Errorf("the example ended with: %v", err)
		}
	})
	lines := bufio.NewScanner(r)
	return func(prefix string) string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the example ended before it printed %q", prefix)
		}
		text, ok := strings.CutPrefix(lines.Text(), prefix)
		if !ok {
			t.Fatalf("the example printed %q, not %q", lines.Text(), prefix)
		}
		return text
	}
}

// Dial connects over TCP, with a deadline for everything that follows.
func Dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Output runs a foreign program and returns what it prints; it must exit with 0.
func Output(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
