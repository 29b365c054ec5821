package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// pair is a connection between two probes on one loop.
func pair(ctx context.Context) (s *Server, here, there *probe, err error) {
	here, there = newProbe(ctx), newProbe(ctx)
	if s, err = serve(ctx, there); err != nil {
		return nil, nil, nil, err
	}
	if _, _, err = CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String()); err != nil {
		return nil, nil, nil, err
	}
	for there.t == nil {
		if err = loopnode.Sleep(ctx, 0); err != nil {
			return nil, nil, nil, err
		}
	}
	return s, here, there, nil
}

// within is inLoop with a pair that is aborted at the end.
func within(t *testing.T, fn func(ctx context.Context, here, there *probe) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		s, here, there, err := pair(ctx)
		if err != nil {
			return err
		}
		err = fn(ctx, here, there)
		s.Close()
		here.t.Abort()
		there.t.Abort()
		return errors.Join(err, s.WaitClosed(ctx))
	})
}

func TestWritelines(t *testing.T) {
	t.Run("WRT-05 many pieces go in order, also more than one call takes", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			var pieces [][]byte
			all := pattern(3 << 20)
			for i := 0; i < len(all); i += 1 << 10 {
				pieces = append(pieces, all[i:i+1<<10])
			}
			if err := here.t.Writelines(pieces); err != nil {
				return err
			}
			if len(pieces[0]) != 1<<10 {
				return errors.New("the caller's list was changed")
			}
			_ = here.t.Writelines(nil)
			here.t.Close()
			if err := there.wait(ctx); err != nil {
				return err
			}
			if !bytes.Equal(there.data, all) {
				return fmt.Errorf("%d bytes came", len(there.data))
			}
			return nil
		})
	})
}

// bufferedProbe reads into 5 bytes of its own.
type bufferedProbe struct {
	probe
	room [5]byte
	asks int
}

func (b *bufferedProbe) GetBuffer(int) []byte { b.asks++; return b.room[:] }
func (b *bufferedProbe) BufferUpdated(n int)  { b.data = append(b.data, b.room[:n]...) }

func TestSlowReader(t *testing.T) {
	t.Run("a writer that heeds its pauses keeps little more than the high mark in memory", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			const total = 64 << 20
			var most, sent int
			paused := false
			pump := func() {
				for i := 0; !paused && sent < total; i++ {
					n := []int{1, 4096, 100, 64 << 10, 3, 5000}[i%6]
					_ = here.t.Write(make([]byte, n))
					sent += n
					held := 0
					for _, p := range here.t.(*conn).queue.pieces {
						held += cap(p)
					}
					most = max(most, held)
				}
			}
			here.onPause = func() { paused = true }
			here.onResume = func() { paused = false; pump() }
			came, turn := 0, 0
			there.onData = func(b []byte) {
				there.data = nil
				came += len(b)
				if turn++; turn%16 == 0 { // it rests now and then
					_ = there.t.PauseReading()
					there.t.Loop().CallSoon(func() { _ = there.t.ResumeReading() })
				}
			}
			pump()
			if err := until(ctx, func() bool { return came == sent && sent >= total }); err != nil {
				return fmt.Errorf("%d of %d: %w", came, sent, err)
			}
			if high, _ := here.t.WriteBufferLimits(); most > high+1<<20 {
				return fmt.Errorf("it held %d bytes", most)
			}
			return nil
		})
	})
}
