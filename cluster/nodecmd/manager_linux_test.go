package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serviceManager listens as systemd does, and hands on what it is told.
type serviceManager struct {
	t    *testing.T
	conn *net.UnixConn
}

func asManager(t *testing.T, watchdog time.Duration) *serviceManager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	return &serviceManager{t, c}
}

// next is what is said within d; "": nothing.
func (m *serviceManager) next(d time.Duration) string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		m.t.Fatal(err)
	}
	text := make([]byte, 1000)
	n, err := m.conn.Read(text)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text[:n])
}

// started runs a node until the function that it returns is called, which gives its exit
// code.
func started(t *testing.T, args ...string) (stop func() int) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"start", "--name", "n1"}, args...), w, io.Discard)
		_ = w.Close()
	}()
	upAndRunning(t, r)
	return func() int { cancel(); return <-ended }
}

// The manager is told that the node is ready, hears that it lives as long as every loop
// turns, hears nothing while one does not, and is told that it stops.
func TestTheServiceManagerIsTold(t *testing.T) {
	const watchdog = 600 * time.Millisecond
	m := asManager(t, watchdog)
	stop := started(t, "--loops", "2", "--drain", "3s")
	if got := m.next(patience); !strings.HasPrefix(got, "READY=1\nSTATUS=node n1 serves, 3 loops") {
		t.Fatalf("first it was told %q", got)
	}
	for range 3 {
		if got := m.next(patience); got != "WATCHDOG=1" {
			t.Fatalf("it was told %q", got)
		}
	}
	done := make(chan said, 1)
	go func() { done <- loopmesh("func", "call", "test.block", "null", "--on", "n1/io-1", "--timeout", "1m") }()
	silent := false
	for end := time.Now().Add(patience); !silent && time.Now().Before(end); { // a round that began before may still be told
		silent = m.next(2*watchdog) == ""
	}
	release <- struct{}{}
	if s := <-done; s.code != exitOK || !silent {
		t.Fatalf("a loop stood still, and signs of life were sent: %v, %+v", !silent, s)
	}
	if got := m.next(patience); got != "WATCHDOG=1" {
		t.Fatalf("the loop goes on, and it was told %q", got)
	}
	ended := make(chan int, 1)
	go func() { ended <- stop() }()
	got := ""
	for got = "WATCHDOG=1"; got == "WATCHDOG=1"; {
		got = m.next(patience)
	}
	if got != "STOPPING=1\nSTATUS=leaving\nEXTEND_TIMEOUT_USEC=8000000" {
		t.Errorf("at its end it was told %q", got)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if got := m.next(100 * time.Millisecond); got != "" {
		t.Errorf("behind its end it was told %q", got)
	}
}

// Without a watchdog there are no signs of life, and a node that is drained by an order
// says that it stops.
func TestADrainIsToldToTheServiceManager(t *testing.T) {
	m := asManager(t, 0)
	stop := started(t, "--loops", "1")
	if got := m.next(patience); !strings.HasPrefix(got, "READY=1") {
		t.Fatalf("%q", got)
	}
	if s := loopmesh("drain", "n1", "--limit", "5s"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	if got := m.next(patience); !strings.HasPrefix(got, "STOPPING=1") {
		t.Errorf("%q", got)
	}
	stop()
}
