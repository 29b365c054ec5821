package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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

func TestSlowReader(t *testing.T) {
	t.Run("WRT-10 pausing comes inside the write that crosses the mark; WRT-11 and alternates", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			const total, step = 32 << 20, 64 << 10
			var most, sent int
			chunk := pattern(step)
			paused := false
			pump := func() {
				for !paused && sent < total {
					before := here.t.WriteBufferSize()
					_ = here.t.Write(chunk)
					sent += step
					if size := here.t.WriteBufferSize(); size > 64<<10 && !paused {
						panic(fmt.Sprintf("%d bytes queued, %d before, and not paused", size, before))
					}
					most = max(most, here.t.WriteBufferSize())
				}
				if sent == total {
					here.t.Close()
				}
			}
			here.onPause = func() { paused = true }
			here.onResume = func() {
				if here.t.WriteBufferSize() > 16<<10 {
					panic("resumed above the low mark")
				}
				paused = false
				pump()
			}
			pump()
			if err := there.wait(ctx); err != nil {
				return err
			}
			if want := bytes.Repeat(chunk, total/step); !bytes.Equal(there.data, want) {
				return fmt.Errorf("got %d bytes, not the %d sent", len(there.data), total)
			}
			if most > 64<<10+step {
				return fmt.Errorf("the queue grew to %d bytes", most)
			}
			marks := slices.DeleteFunc(slices.Clone(here.log), func(s string) bool { return s != "pause" && s != "resume" })
			for i, s := range marks {
				if want := []string{"pause", "resume"}[i%2]; s != want {
					return fmt.Errorf("call %d is %s", i, s)
				}
			}
			if len(marks) == 0 {
				return errors.New("never paused")
			}
			return nil
		})
	})
}

func TestWaterMarks(t *testing.T) {
	t.Run("WRT-09 water marks have defaults, derive from one another and are checked", func(t *testing.T) {
		within(t, func(_ context.Context, here, _ *probe) error {
			for _, c := range []struct{ high, low, wantLow, wantHigh int }{
				{-1, -1, 16 << 10, 64 << 10}, {400, -1, 100, 400}, {-1, 25, 25, 100}, {0, -1, 0, 0}, {7, 7, 7, 7},
			} {
				if err := here.t.SetWriteBufferLimits(c.high, c.low); err != nil {
					return err
				}
				if low, high := here.t.WriteBufferLimits(); low != c.wantLow || high != c.wantHigh {
					return fmt.Errorf("%v gave low %d and high %d", c, low, high)
				}
			}
			if err := here.t.SetWriteBufferLimits(1, 2); !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("high below low gave %v", err)
			}
			_ = here.t.SetWriteBufferLimits(1<<30, 0)
			_ = here.t.Write(make([]byte, 16<<20))
			if slices.Contains(here.log, "pause") {
				return errors.New("paused below the mark")
			}
			_ = here.t.SetWriteBufferLimits(1<<10, 0)
			if !slices.Contains(here.log, "pause") {
				return errors.New("a mark below the size did not pause")
			}
			return nil
		})
	})
}

func TestPauseReading(t *testing.T) {
	t.Run("RDT-03 nothing is received between pause and resume; RDT-01 both may be repeated", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			_ = there.t.PauseReading()
			_ = there.t.PauseReading()
			if there.t.IsReading() {
				return errors.New("reading after pause")
			}
			_ = here.t.Write([]byte("abc"))
			for range 20 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			if len(there.data) != 0 {
				return fmt.Errorf("received %q while paused", there.data)
			}
			_ = there.t.ResumeReading()
			_ = there.t.ResumeReading()
			here.t.Close()
			if err := there.wait(ctx); err != nil {
				return err
			}
			if string(there.data) != "abc" {
				return fmt.Errorf("received %q", there.data)
			}
			return nil
		})
	})
}

func TestLastWords(t *testing.T) {
	t.Run("TRN-04 a paused writer is resumed while closing, and its last bytes leave", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			here.onResume = func() { _ = here.t.Write([]byte("last")) }
			_ = here.t.Write(make([]byte, 8<<20))
			here.t.Close()
			if err := there.wait(ctx); err != nil {
				return err
			}
			if !bytes.HasSuffix(there.data, []byte("last")) || len(there.data) != 8<<20+4 {
				return fmt.Errorf("%d bytes came", len(there.data))
			}
			return here.wait(ctx)
		})
	})
}

func TestAbort(t *testing.T) {
	t.Run("WRT-14 abort drops everything and the loss follows; TRN-02 once", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			_ = here.t.Write(make([]byte, 16<<20))
			here.t.Abort()
			if here.t.WriteBufferSize() != 0 || !here.t.IsClosing() || slices.Contains(here.log, "lost") {
				return fmt.Errorf("after abort: %d bytes, %v", here.t.WriteBufferSize(), here.log)
			}
			here.t.Abort()
			here.t.Close()
			if err := here.wait(ctx); err != nil {
				return err
			}
			here.t.Close()
			_ = there.lost
			if err := here.t.WriteEOF(); err != nil {
				return err
			}
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			if n := len(slices.DeleteFunc(slices.Clone(here.log), func(s string) bool { return s != "lost" })); n != 1 {
				return fmt.Errorf("lost %d times", n)
			}
			return nil
		})
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

func TestSetProtocol(t *testing.T) {
	t.Run("TRN-11 the protocol can be exchanged in the middle of the stream", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			next := newProbe(ctx)
			there.onData = func([]byte) { there.t.SetProtocol(next); _ = there.t.Write([]byte("go")) }
			here.onData = func([]byte) { _ = here.t.Write([]byte("second")); here.t.Close() }
			_ = here.t.Write([]byte("first"))
			if err := next.wait(ctx); err != nil {
				return err
			}
			if string(there.data) != "first" || string(next.data) != "second" || next.log[0] != "data" {
				return fmt.Errorf("%q then %q", there.data, next.data)
			}
			if there.t.Protocol() != nil && there.lost.Done() {
				return errors.New("the old protocol heard of the loss")
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

func TestBufferedProtocol(t *testing.T) {
	t.Run("BUF-01 bytes are read into the protocol's memory; BUF-04 the end is no update", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			b := &bufferedProbe{probe: *newProbe(ctx)}
			there.t.SetProtocol(b)
			_ = here.t.Write([]byte("hello, world"))
			here.t.Close()
			if err := b.wait(ctx); err != nil {
				return err
			}
			if string(b.data) != "hello, world" || b.asks != 4 || slices.Contains(b.log, "data") {
				return fmt.Errorf("%q in %d rounds, %v", b.data, b.asks, b.log)
			}
			return nil
		})
	})
	t.Run("BUF-02 no room ends the connection", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			b := &noRoom{probe: *newProbe(ctx)}
			there.t.SetProtocol(b)
			_ = here.t.Write([]byte("x"))
			if err := b.wait(ctx); !errors.Is(err, ErrEmptyBuffer) {
				return fmt.Errorf("the reason is %v", err)
			}
			return nil
		})
	})
}

type noRoom struct{ probe }

func (*noRoom) GetBuffer(int) []byte { return nil }
func (*noRoom) BufferUpdated(int)    { panic("updated") }
