package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// TestMain makes this program its own child: what to do is the first argument.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		os.Exit(child(os.Args[2]))
	}
	os.Exit(m.Run())
}

func child(what string) int {
	fmt.Println("child says", what)
	switch what {
	case "fail":
		return 3
	case "wait": // for a signal that ends it; a plain select would be seen as a deadlock
		never := make(chan os.Signal, 1)
		signal.Notify(never, syscall.SIGUSR1)
		<-never
	}
	return 0
}

func command(t *testing.T, what string) string {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "exec " + self + " child " + what
}

// buffer is a bytes.Buffer for the loop and the test, with a signal per write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestRestarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &buffer{more: make(chan struct{}, 1)}
	policy := actors.Strategy{Restart: actors.Transient, Intensity: 2, Period: time.Minute}
	err := run(ctx, policy, []string{command(t, "fail"), command(t, "well")}, out)
	var exit *subprocess.ExitError
	if !errors.Is(err, actors.ErrTooManyRestarts) || !errors.As(err, &exit) || exit.Code != 3 {
		t.Fatalf("got %v", err)
	}
	text := out.String()
	for part, times := range map[string]int{
		"1: started, life ": 3, "1: child says fail\n": 3, "1: starting again in ": 2, "1: given up\n": 1,
		"2: started, life 1\n": 1, "2: child says well\n": 1, "2: ended well\n": 1,
	} {
		if n := strings.Count(text, part); n != times {
			t.Errorf("%q stands there %d times, not %d:\n%s", part, n, times, text)
		}
	}
}

func TestTheEndOfTheProgramEndsTheChildren(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &buffer{more: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	// goroutine: owner: the test; ends with run, which the test waits for
	go func() {
		ended <- run(ctx, actors.Strategy{Restart: actors.Permanent}, []string{command(t, "wait")}, out)
	}()
	for !strings.Contains(out.String(), "child says wait") {
		select {
		case <-out.more:
		case <-ctx.Done():
			t.Fatalf("the child does not start:\n%s", out.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestLongLinesComeInParts(t *testing.T) {
	var out bytes.Buffer
	l := &lines{out: &out, name: "1: "}
	if err := l.copy(strings.NewReader("short\n" + strings.Repeat("x", maxLine+1) + "\nlast")); err != nil {
		t.Fatal(err)
	}
	if want := "1: short\n1: " + strings.Repeat("x", maxLine) + "\n1: x\n1: last\n"; out.String() != want {
		t.Fatalf("%d bytes, want %d", out.Len(), len(want))
	}
}
