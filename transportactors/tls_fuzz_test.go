package transportactors

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// FuzzTLSInput feeds a server transport what a stranger may send, in pieces.
// Nothing may panic, hang or be announced; all ends when the stranger does.
func FuzzTLSInput(f *testing.F) {
	hello := firstFlight(f)
	f.Add(hello, uint8(7))
	f.Add(hello[:len(hello)/2], uint8(1))
	f.Add(append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 100)...), uint8(50))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3))
	f.Add([]byte{21, 3, 3, 0, 2, 1, 0}, uint8(2))
	f.Add([]byte{0x80, 46, 1, 3, 1}, uint8(0))
	setup, err := startSetup(theTLSWorld().serverConfig(), true, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte, step uint8) {
		var told []loopnode.ExceptionContext
		l, err := loopnode.New(loopnode.Config{
			Logger:           hclog.NewNullLogger(),
			ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
		})
		must(t, err)
		defer l.Close()
		_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
			p := newProbe(ctx)
			lower := &sink{loop: l, stuck: true}
			lower.up = newTLS(l, setup, p)
			lower.up.attach(lower)
			for rest := input; len(rest) > 0 && lower.up.phase != tlsOver; {
				n := min(len(rest), 1+int(step)*16, len(lower.up.GetBuffer(-1)))
				copy(lower.up.room, rest[:n])
				lower.up.BufferUpdated(n)
				rest = rest[n:]
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return 0, err
				}
			}
			lower.up.EOFReceived()
			lower.up.Abort()
			for range 5 { // the handshake's task ends
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return 0, err
				}
			}
			if lower.up.phase != tlsOver || lower.up.handshake != nil && lower.up.handshake.ctx != nil {
				return 0, errors.New("the handshake goes on without its connection")
			}
			return 0, logged(p)
		}))
		must(t, err)
		if len(told) != 0 {
			t.Errorf("told %v", told)
		}
	})
}

// firstFlight is what a client sends first.
func firstFlight(f testing.TB) []byte {
	near, far := net.Pipe()
	// goroutine: owner: the test; ends when the pipe is closed.
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "localhost"}).Handshake()
	}()
	record := make([]byte, 16<<10)
	_, err := io.ReadFull(far, record[:5])
	if err != nil {
		f.Fatal(err)
	}
	n := 5 + int(record[3])<<8 + int(record[4])
	_, err = io.ReadFull(far, record[5:n])
	if err := errors.Join(err, near.Close(), far.Close()); err != nil {
		f.Fatal(err)
	}
	return record[:n]
}
