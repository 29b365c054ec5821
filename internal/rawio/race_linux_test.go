//go:build race

package rawio

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestRaceDetectorKnowsTheOrder: what was written before Send may be read after
// Receive by another goroutine, without a report.
func TestRaceDetectorKnowsTheOrder(t *testing.T) {
	a, b := pair(t, unix.SOCK_STREAM)
	shared := 0
	go func() { // ends when it has sent
		shared = 1
		_, _ = Send(a, []byte("x"))
	}()
	for buf := make([]byte, 1); ; {
		if _, err := Receive(b, buf); err != unix.EAGAIN {
			must(t, err)
			break
		}
	}
	if shared != 1 {
		t.Error(shared)
	}
}
