package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

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
