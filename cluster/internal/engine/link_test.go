package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestAPublishThatCouldNotBeWrittenIsADisconnect(t *testing.T) {
	for _, err := range []error{
		&net.OpError{Op: "write", Err: syscall.EPIPE}, fmt.Errorf("tls: %w", &net.OpError{Op: "write", Err: syscall.ECONNRESET}),
		net.ErrClosed, io.ErrClosedPipe, nats.ErrConnectionReconnecting,
	} {
		if got := publishError(err); !errors.Is(got, ErrDisconnected) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := publishError(nats.ErrMaxPayload); !errors.Is(got, nats.ErrMaxPayload) || errors.Is(got, ErrDisconnected) {
		t.Errorf("too large became %v", got)
	}
}

// TestAskingThatTakesTooLongIsNoDisconnect: a deadline is a net.Error as well as a write
// that failed.
func TestAskingThatTakesTooLongIsNoDisconnect(t *testing.T) {
	e := opened(t, Config{Node: "n1"})
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := e.Control().Ask(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrDisconnected) {
		t.Errorf("asking ended with %v", err)
	}
}
