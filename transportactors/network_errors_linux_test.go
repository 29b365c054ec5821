package transportactors

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// logText is a log in memory. Any goroutine.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// brokenOff makes a connection with a net client that resets it, on a loop in debug
// mode or not; onData is the server's. It returns the reason the server's
// protocol got, the log and the reports.
func brokenOff(t *testing.T, debug bool, onData func(*probe)) (log string, told []loopnode.ExceptionContext, reason error) {
	t.Helper()
	text := &logText{}
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		p := newProbe(ctx)
		p.onData = func([]byte) { onData(p) }
		s, err := serve(ctx, p)
		if err != nil {
			return err
		}
		if _, err := aside(ctx, func() (int, error) {
			c, err := peer(s)
			if err != nil {
				return 0, err
			}
			if _, err = c.Write([]byte("x")); err != nil {
				return 0, err
			}
			_, _ = c.Read(make([]byte, 1)) // the server has read, and answered or closed
			return 0, errors.Join(c.SetLinger(0), c.Close())
		}); err != nil {
			return err
		}
		reason = p.wait(ctx)
		s.Close()
		return s.WaitClosed(ctx)
	}, loopnode.WithConfig(loopnode.Config{
		Debug: debug, Logger: hclog.New(&hclog.LoggerOptions{Output: text, Level: hclog.Debug}),
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
	}))
	must(t, err)
	return text.String(), told, reason
}

func TestNetworkErrors(t *testing.T) {
	for _, debug := range []bool{false, true} {
		name := map[bool]string{false: "without debug mode", true: "in debug mode"}[debug]
		t.Run("DBG-10 a network error that ends a transport is logged in debug mode only: "+name, func(t *testing.T) {
			log, told, reason := brokenOff(t, debug, func(p *probe) { _ = p.t.Write([]byte("y")) })
			if !errors.Is(reason, syscall.ECONNRESET) || len(told) != 0 {
				t.Fatalf("reason %v, reports %v", reason, told)
			}
			if strings.Contains(log, "Fatal error on transport") != debug || strings.Contains(log, "[ERROR]") {
				t.Fatal(log)
			}
		})
		t.Run("DBG-10 any other error goes to the exception handler, always: "+name, func(t *testing.T) {
			boom := errors.New("boom")
			_, told, reason := brokenOff(t, debug, func(*probe) { panic(boom) })
			if !errors.Is(reason, boom) || len(told) != 1 || !errors.Is(told[0].Exception, boom) || told[0].Transport == nil || told[0].Protocol == nil {
				t.Fatalf("reason %v, reports %v", reason, told)
			}
		})
	}
}
