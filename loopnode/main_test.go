package loopnode

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// newLoop makes a loop that is closed with the test and keeps what it logs.
func newLoop(t testing.TB, change ...func(*Config)) (*Loop, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg := Config{Logger: testLogger(log)}
	for _, c := range change {
		c(&cfg)
	}
	l, err := New(cfg)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, log
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t testing.TB, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// inTask runs fn as a task of a fresh loop.
func inTask(t *testing.T, fn func(ctx context.Context, l *Loop) error) {
	t.Helper()
	l, _ := newLoop(t)
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, l)
	}))
	must(t, err)
}

// runTurns runs n turns that do not wait.
func runTurns(t testing.TB, l *Loop, n int) {
	t.Helper()
	for range n {
		must(t, l.RunOnce(0))
	}
}

func testLogger(log *logBuffer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug})
}

// comes waits for what must come over c.
func comes[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}
