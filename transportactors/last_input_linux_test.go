package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// sayAndLeave has here say something and leave. fd is the socket of the other end,
// which does not read; write, a write of that end, is repeated until it fails.
func sayAndLeave(ctx context.Context, here *probe, fd func() int, said []byte, write func() error) error {
	if err := here.t.Write(said); err != nil {
		return err
	}
	if err := eventually(ctx, func() bool { return here.t.WriteBufferSize() == 0 && sock.Unread(fd()) > 0 }); err != nil {
		return err
	}
	here.t.Abort()
	if err := here.wait(ctx); err != nil {
		return err
	}
	for range 1000 {
		if err := write(); err != nil {
			return nil
		}
		if err := turns(ctx, 1); err != nil {
			return err
		}
	}
	return errors.New("no write failed")
}

func fdOf(t Transport) func() int {
	s := t.ExtraInfo("socket").(*Socket)
	return s.FD
}

func TestLastInput(t *testing.T) {
	said := pattern(60 << 10)
	t.Run("bytes that had arrived outlive a failed write while reading is paused", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				if err := sayAndLeave(ctx, here, fdOf(there.t), said, func() error { return there.t.Write([]byte("x")) }); err != nil {
					return err
				}
				must(t, turns(ctx, 5))
				if there.lost.Done() || len(there.data) > 0 || !there.t.IsClosing() {
					return fmt.Errorf("lost %v, %d bytes, closing %v", there.lost.Done(), len(there.data), there.t.IsClosing())
				}
				if err := there.t.Write([]byte("x")); !errors.Is(err, ErrClosed) {
					return fmt.Errorf("a write behind the failed one: %v", err)
				}
				n := 0
				there.onData = func(b []byte) { // it goes on in steps
					if n++; n%2 == 1 {
						_ = there.t.PauseReading()
						there.t.Loop().CallSoon(func() { _ = there.t.ResumeReading() })
					}
				}
				must(t, there.t.ResumeReading())
				if reason := there.wait(ctx); reason == nil || !bytes.Equal(there.data, said) {
					return fmt.Errorf("%d of %d bytes, the reason is %w", len(there.data), len(said), reason)
				}
				return nil
			})
		})
	})
	t.Run("a protocol that reads again when it may write again hears everything", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				there.onResume = func() {
					_ = there.t.Write([]byte("too late"))
					_ = there.t.ResumeReading()
				}
				must(t, here.t.PauseReading())
				must(t, there.t.Write(make([]byte, 16<<20))) // paused now: writing, and reading since before
				if err := sayAndLeave(ctx, here, fdOf(there.t), said, func() error { return there.t.Write([]byte("x")) }); err != nil {
					return err
				}
				if reason := there.wait(ctx); reason == nil || !bytes.Equal(there.data, said) {
					return fmt.Errorf("%d of %d bytes, the reason is %w", len(there.data), len(said), reason)
				}
				return nil
			})
		})
	})
	t.Run("closing or aborting instead of reading ends it at once", func(t *testing.T) {
		for _, end := range []func(Transport){Transport.Close, Transport.Abort} {
			deaf(t, nil, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				if err := sayAndLeave(ctx, here, fdOf(there.t), said, func() error { return there.t.Write([]byte("x")) }); err != nil {
					return err
				}
				end(there.t)
				if reason := there.wait(ctx); reason == nil || len(there.data) > 0 {
					return fmt.Errorf("%d bytes, the reason is %w", len(there.data), reason)
				}
				return nil
			})
		}
	})
	t.Run("a stream whose own back pressure pauses reads it all", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				here := newProbe(ctx)
				outcome := loopnode.NewFuture[error](mustLoop(ctx))
				much := pattern(70 << 10)
				s, err := StartServer(ctx, func(ctx context.Context, s *Stream) error {
					must(t, eventually(ctx, func() bool { return here.t != nil }))
					must(t, here.t.Write(much[:3<<10]))
					err := eventually(ctx, func() bool { return s.stopped })
					if err == nil {
						err = sayAndLeave(ctx, here, fdOf(s.Transport()), much[3<<10:], func() error {
							_, err := s.Write([]byte("x"))
							return err
						})
					}
					all, rerr := io.ReadAll(s)
					if err == nil && (!bytes.Equal(all, much) || rerr == nil) {
						err = fmt.Errorf("%d of %d bytes, then %w", len(all), len(much), rerr)
					}
					_ = outcome.SetResult(err)
					return nil
				}, "tcp", "127.0.0.1:0", append(serverTLS(opts), WithLimit(1<<10))...)
				must(t, err)
				_, _, err = CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String(), asClient(opts)...)
				must(t, err)
				failed, err := outcome.Await(ctx)
				s.Close()
				return errors.Join(failed, err, s.WaitClosed(ctx))
			})
		})
	})
}
