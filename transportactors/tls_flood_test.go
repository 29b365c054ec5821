package transportactors

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// inRecords is overRecords on a loop of its own.
func inRecords(t *testing.T, fn func(ctx context.Context, w *recordWorld, told *[]loopnode.ExceptionContext) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		return overRecords(t, ctx, func(w *recordWorld) error { return fn(ctx, w, told) })
	})
}

func TestTLSFlood(t *testing.T) {
	t.Run("a peer that asks for new keys and takes no answer is not read any more", func(t *testing.T) {
		inRecords(t, func(ctx context.Context, w *recordWorld, _ *[]loopnode.ExceptionContext) error {
			w.lower.stuck = true
			const much = 16 << 20
			high, _ := w.client.WriteBufferLimits()
			fed, sent := 0, 0
			flood := func() error {
				for fed < much && !w.lower.rests {
					var chunk []byte
					for len(chunk) < 5<<10 { // less than turnReads records
						chunk = append(chunk, w.records.keyUpdate(true)...)
						chunk = append(chunk, w.records.seal(kindData, []byte("x"))...)
						sent++
					}
					w.receive(chunk)
					fed += len(chunk)
				}
				if size := w.lower.WriteBufferSize(); size > high+64<<10 {
					return fmt.Errorf("%d bytes fed, %d bytes of answers wait", fed, size)
				}
				return nil
			}
			if err := flood(); err != nil {
				return err
			}
			if fed >= much || !w.client.IsReading() {
				return fmt.Errorf("%d bytes fed and still reading; reading is %v for the protocol", fed, w.client.IsReading())
			}
			must(t, w.client.PauseReading())
			must(t, w.client.ResumeReading())
			must(t, turns(ctx, 2))
			if !w.lower.rests {
				return fmt.Errorf("pausing and resuming reads on while the answers wait")
			}
			w.lower.drain(0) // the peer takes the answers: all goes on, nothing was lost
			if err := until(ctx, func() bool { return !w.lower.rests }); err != nil {
				return err
			}
			if err := flood(); err != nil {
				return err
			}
			w.lower.drain(0)
			if err := until(ctx, func() bool { return len(w.p.data) == sent }); err != nil {
				return fmt.Errorf("%d of %d bytes came: %w", len(w.p.data), sent, err)
			}
			return nil
		})
	})
	t.Run("a read full of new keys is the work of many turns", func(t *testing.T) {
		for _, updates := range []int{1, 15} { // before each byte; crypto/tls takes no more
			inRecords(t, func(ctx context.Context, w *recordWorld, _ *[]loopnode.ExceptionContext) error {
				var flood []byte
				sent := 0
				for ; len(flood) < 200<<10; sent++ {
					for range updates {
						flood = append(flood, w.records.keyUpdate(false)...)
					}
					flood = append(flood, w.records.seal(kindData, []byte("x"))...)
				}
				w.receive(flood)
				for turned := 0; len(w.p.data) < sent; turned++ {
					if want := min((turned+1)*turnReads, sent); len(w.p.data) != want || w.lower.rests != (want < sent) {
						return fmt.Errorf("%d of %d bytes after %d turns; the lower transport rests: %v", len(w.p.data), sent, turned, w.lower.rests)
					}
					if err := turns(ctx, 1); err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
	t.Run("a protocol's own output does not stop its input", func(t *testing.T) {
		inRecords(t, func(ctx context.Context, w *recordWorld, _ *[]loopnode.ExceptionContext) error {
			w.lower.stuck = true
			must(t, w.client.Write(make([]byte, 2<<20)))
			w.receive(w.records.keyUpdate(true))
			w.receive(w.records.seal(kindData, []byte("hello")))
			if string(w.p.data) != "hello" || w.lower.rests {
				return fmt.Errorf("got %q, the lower transport rests: %v", w.p.data, w.lower.rests)
			}
			return nil
		})
	})
	t.Run("a closed connection drops a bounded amount of input once its goodbye is sent", func(t *testing.T) {
		inRecords(t, func(ctx context.Context, w *recordWorld, told *[]loopnode.ExceptionContext) error {
			w.client.Close()
			if err := flooded(w); err != nil {
				return err
			}
			return logged(w.p, "made", "lost")
		})
	})
	t.Run("while its goodbye waits it stops reading, and ends when that has left", func(t *testing.T) {
		inRecords(t, func(ctx context.Context, w *recordWorld, told *[]loopnode.ExceptionContext) error {
			w.lower.stuck = true
			w.client.Close()
			if err := flooded(w); err == nil || !w.lower.rests {
				return fmt.Errorf("lost before its goodbye had left (%v), or reading: %v", err, !w.lower.rests)
			}
			w.lower.drain(0)
			return logged(w.p, "made", "lost")
		})
	})
}

// flooded feeds a closed connection until it is lost or stops reading.
func flooded(w *recordWorld) error {
	fed, block := 0, make([]byte, 16<<10)
	for fed < 64<<20 && w.client.phase == tlsClosing && !w.lower.rests {
		record := w.records.seal(kindData, block)
		w.receive(record)
		fed += len(record)
	}
	if w.client.phase == tlsClosing || fed > 2*discardMost {
		return fmt.Errorf("%d bytes fed, phase %d", fed, w.client.phase)
	}
	return w.client.reason
}

func TestTLSKeepsInput(t *testing.T) {
	t.Run("input that is not decrypted yet outlives the buffer that it was read into", func(t *testing.T) {
		inRecords(t, func(ctx context.Context, w *recordWorld, told *[]loopnode.ExceptionContext) error {
			c := &cup{probe: w.p}
			c.onUpdate = func() { _ = w.client.PauseReading() }
			w.client.SetProtocol(c)
			var input []byte
			for at := 0; at < 32<<10; at += 1 << 10 {
				input = append(input, w.records.seal(kindData, pattern(32 << 10)[at:at+1<<10])...)
			}
			w.receive(input)
			if len(w.p.data) != len(c.room) || len(w.client.in) == 0 {
				return fmt.Errorf("%d bytes came and %d wait: nothing is proven", len(w.p.data), len(w.client.in))
			}
			clear(loopaccess.Of(w.client.loop).ReadBuffer()) // as the read of another connection does
			c.onUpdate = nil
			must(t, w.client.ResumeReading())
			must(t, turns(ctx, 2))
			if !bytes.Equal(w.p.data, pattern(32<<10)) || len(*told) != 0 {
				return fmt.Errorf("got %d bytes, told %v", len(w.p.data), *told)
			}
			return nil
		})
	})
}
