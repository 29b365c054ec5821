package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// streaming runs write as the client of a stream server whose handler is read.
func streaming(t *testing.T, limit int, write, read func(s *Stream) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		outcome := loopnode.NewFuture[error](mustLoop(ctx))
		s, err := StartServer(ctx, func(_ context.Context, s *Stream) error {
			_ = outcome.SetResult(read(s))
			return nil
		}, "tcp", "127.0.0.1:0", WithLimit(limit))
		if err != nil {
			return err
		}
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		if err := write(c); err != nil {
			return err
		}
		failed, err := outcome.Await(ctx)
		_ = c.Close()
		s.Close()
		return errors.Join(failed, err, s.WaitClosed(ctx))
	})
}

// said writes text in pieces of step bytes, a turn between two, and ends the output.
func said(text string, step int) func(s *Stream) error {
	return func(s *Stream) error {
		for piece := range slices.Chunk([]byte(text), step) {
			if _, err := s.Write(piece); err != nil {
				return err
			}
			if err := turns(s.ctx, 3); err != nil {
				return err
			}
		}
		return s.CloseWrite()
	}
}

func TestReadUntil(t *testing.T) {
	t.Run("up to the separator that ends first, in whatever pieces it comes", func(t *testing.T) {
		for _, step := range []int{1, 3, 100} {
			streaming(t, 64, said("one\r\ntwo\nthree--endrest", step), func(s *Stream) error {
				for _, want := range []string{"one\r\n", "two\n", "three--end"} {
					got, err := s.ReadUntil([]byte("\r\n"), []byte("--end"), []byte("\n"))
					if err != nil || string(got) != want {
						return fmt.Errorf("got %q, %w, want %q", got, err, want)
					}
				}
				got, err := s.ReadUntil([]byte("\n"))
				if string(got) != "rest" || err != io.ErrUnexpectedEOF {
					return fmt.Errorf("at the end %q, %w", got, err)
				}
				if got, err = s.ReadUntil([]byte("\n")); len(got) != 0 || err != io.EOF {
					return fmt.Errorf("behind the end %q, %w", got, err)
				}
				return nil
			})
		}
	})
	t.Run("lines, the last one without an end", func(t *testing.T) {
		streaming(t, 64, said("a\n\nb", 2), func(s *Stream) error {
			var lines []string
			for {
				line, err := s.ReadLine()
				if err == io.EOF {
					break
				}
				if err != nil {
					return err
				}
				lines = append(lines, string(line))
			}
			if !slices.Equal(lines, []string{"a\n", "\n", "b"}) {
				return fmt.Errorf("lines %q", lines)
			}
			return nil
		})
	})
	t.Run("a separator beyond the limit is an error that loses nothing", func(t *testing.T) {
		for _, text := range []string{strings.Repeat("x", 17) + "\nnext\n", strings.Repeat("x", 1000) + "\nnext\n"} {
			streaming(t, 16, said(text, 400), func(s *Stream) error {
				if got, err := s.ReadLine(); !errors.Is(err, ErrLimitOverrun) || got != nil {
					return fmt.Errorf("got %q, %w", got, err)
				}
				all, err := io.ReadAll(s)
				if err != nil || string(all) != text {
					return fmt.Errorf("afterwards %d bytes of %d, %w", len(all), len(text), err)
				}
				return nil
			})
		}
		streaming(t, 16, said(strings.Repeat("x", 16)+"\n", 400), func(s *Stream) error {
			line, err := s.ReadLine()
			if len(line) != 17 {
				return fmt.Errorf("a line of the limit: %q, %w", line, err)
			}
			return err
		})
	})
	t.Run("separators that cannot be", func(t *testing.T) {
		streaming(t, 4, said("", 1), func(s *Stream) error {
			for _, seps := range [][][]byte{nil, {{}}, {[]byte("\n"), nil}, {[]byte("12345")}} {
				if _, err := s.ReadUntil(seps...); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("%q gave %w", seps, err)
				}
			}
			return nil
		})
	})
}

func TestStreamTasks(t *testing.T) {
	t.Run("a second task needs its own stream, at the first call already", func(t *testing.T) {
		streaming(t, 64, said("x", 1), func(s *Stream) error {
			var failures []error
			task := loopnode.CreateTask(s.ctx, "second", func(ctx context.Context) (int, error) {
				_, werr := s.Write([]byte("x"))
				_, rerr := s.Read(make([]byte, 1))
				failures = []error{werr, rerr, s.Drain(), s.WaitClosed()}
				_, err := s.With(ctx).Write([]byte("x"))
				return 0, err
			})
			_, err := task.Await(s.ctx)
			for i, f := range failures {
				if !errors.Is(f, loopnode.ErrWrongGoroutine) || !strings.Contains(f.Error(), "With(ctx)") {
					return fmt.Errorf("call %d gave %w", i, f)
				}
			}
			return err
		})
	})
}

func TestStreamTurns(t *testing.T) {
	// A timer that is due at once must fire after a bounded number of calls that
	// need not wait.
	late := func(s *Stream, call func() error) error {
		fired := false
		s.loop.CallLater(time.Nanosecond, func() { fired = true })
		for i := range 100_000 {
			if err := call(); err != nil {
				return err
			}
			if fired {
				return nil
			}
			if i > 4*turnCalls {
				return fmt.Errorf("%d calls and no turn", i)
			}
		}
		return nil
	}
	t.Run("reading buffered bytes one by one", func(t *testing.T) {
		streaming(t, 64<<10, said(strings.Repeat("x", 16<<10), 16<<10), func(s *Stream) error {
			if _, err := s.Read(make([]byte, 1)); err != nil {
				return err
			}
			one := make([]byte, 1)
			return late(s, func() error { _, err := s.Read(one); return err })
		})
		streaming(t, 64<<10, said(strings.Repeat("x\n", 8<<10), 16<<10), func(s *Stream) error {
			return late(s, func() error { _, err := s.ReadLine(); return err })
		})
	})
	t.Run("writing to a quick reader, by calls and by bytes", func(t *testing.T) {
		for _, size := range []int{1, turnBytes / 4} {
			streaming(t, 64, said("", 1), func(s *Stream) error {
				must(t, s.Transport().SetWriteBufferLimits(1<<30, 0)) // as if the reader took everything
				calls := 0
				err := late(s, func() error { calls++; _, err := s.Write(make([]byte, size)); return err })
				if size > 1 && calls > 12 {
					return fmt.Errorf("%d calls of %d bytes", calls, size)
				}
				s.Transport().Abort()
				return err
			})
		}
	})
}
