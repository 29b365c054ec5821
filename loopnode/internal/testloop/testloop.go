// Package testloop holds what the tests of loopnode's wings share: a loop that
// ends with the test, and a task on it.
package testloop

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Patience bounds waits for what must come.
const Patience = 20 * time.Second

// Log keeps what is logged. Any goroutine.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger logs everything into l.
func (l *Log) Logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: l, Level: hclog.Debug})
}

// New makes a loop that is closed with the test, and its log.
func New(t testing.TB, change ...func(*loopnode.Config)) (*loopnode.Loop, *Log) {
	t.Helper()
	log := &Log{}
	cfg := loopnode.Config{Logger: log.Logger()}
	for _, c := range change {
		c(&cfg)
	}
	l, err := loopnode.New(cfg)
	Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, log
}

// InTask runs fn as a task of a fresh loop.
func InTask(t testing.TB, fn func(ctx context.Context, l *loopnode.Loop) error) {
	t.Helper()
	l, _ := New(t)
	_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, l)
	}))
	Must(t, err)
}

// Pass gives up n turns of the task.
func Pass(t testing.TB, ctx context.Context, n int) {
	t.Helper()
	for range n {
		Must(t, loopnode.Sleep(ctx, 0))
	}
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// IsErr checks that err is want.
func IsErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// Same compares two lists.
func Same[T comparable](t testing.TB, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
