package transportactors

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// FuzzTLSRecords gives an open TLS connection what a peer that holds the keys may
// send: any payload, as records of any kind. Nothing may panic or hang, the
// answers are bounded, and the end is told once.
func FuzzTLSRecords(f *testing.F) {
	f.Add([]byte{kindData, 2, 'h', 'i', kindHandshake, 5, messageKeyUpdate, 0, 0, 1, 1, kindAlert, 2, 1, 0}, false, uint8(1))
	f.Add([]byte{kindHandshake, 5, messageKeyUpdate, 0, 0, 1, 2}, true, uint8(0))                   // a request that does not exist
	f.Add([]byte{kindHandshake, 4, 4, 0, 0, 0}, false, uint8(200))                                  // half a ticket
	f.Add([]byte{kindHandshake, 4, 0, 0, 0, 0, kindHandshake, 4, 13, 0, 0, 0}, false, uint8(0))     // a request of TLS 1.2, another for a certificate
	f.Add([]byte{kindData, 0, kindData, 0, kindAlert, 2, 1, 90, 20, 1, 1, 0, 0}, true, uint8(0))    // nothing, a warning, an old kind, no kind
	f.Add([]byte{kindAlert, 2, 1, 0}, true, uint8(1))                                               // goodbye to a goodbye
	f.Add([]byte{kindHandshake, 9, 4, 0, 0, 200, 1, 2, 3, 4, 5, kindData, 1, 'x'}, false, uint8(0)) // data inside a message
	f.Fuzz(func(t *testing.T, script []byte, closed bool, updates uint8) {
		var told []loopnode.ExceptionContext
		l, err := loopnode.New(loopnode.Config{
			Logger:           hclog.NewNullLogger(),
			ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
		})
		must(t, err)
		defer l.Close()
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "", func(ctx context.Context) (int, error) {
			return 0, overRecords(t, ctx, func(w *recordWorld) error { return w.play(script, closed, int(updates)) })
		}))
		must(t, err)
		if len(told) > 1 {
			t.Errorf("told %v", told)
		}
	})
}

// play sends updates requests for new keys, then the records of script: a kind,
// a length and a payload each.
func (w *recordWorld) play(script []byte, closed bool, updates int) error {
	w.lower.stuck = true
	if closed {
		w.client.Close()
	}
	for range updates {
		w.receive(w.records.keyUpdate(true))
		w.receive(w.records.seal(kindData, []byte("x")))
	}
	for len(script) >= 2 && !w.lower.rests {
		n := min(int(script[1]), len(script)-2)
		w.receive(w.records.seal(script[0], script[2:2+n]))
		script = script[2+n:]
	}
	if w.lower.size > 1<<20 {
		return fmt.Errorf("%d bytes of answers", w.lower.size)
	}
	w.client.EOFReceived()
	w.client.Abort()
	if w.client.phase != tlsOver || w.p.log[len(w.p.log)-1] != "lost" {
		return fmt.Errorf("phase %d, the protocol heard %v", w.client.phase, w.p.log)
	}
	return nil
}
