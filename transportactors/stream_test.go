package transportactors

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestStream(t *testing.T) {
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		s, err := StartServer(ctx, func(_ context.Context, s *Stream) error {
			lines := bufio.NewScanner(s)
			for lines.Scan() {
				if _, err := fmt.Fprintf(s, "<%s>\n", lines.Text()); err != nil {
					return err
				}
			}
			return lines.Err()
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, "one\ntwo\n"); err != nil {
			return err
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		back, err := io.ReadAll(c)
		if err != nil || string(back) != "<one>\n<two>\n" {
			return fmt.Errorf("got %q, %w", back, err)
		}
		_ = c.Close()
		if err := c.WaitClosed(); err != nil {
			return err
		}
		s.Close()
		if err := s.WaitClosed(ctx); err != nil {
			return err
		}
		if len(*told) != 0 {
			return fmt.Errorf("the exception handler heard %v", *told)
		}
		return nil
	})
}

func TestStreamBackPressure(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		const limit = 8 << 10
		big := pattern(16 << 20)
		var most, queued int
		s, err := StartServer(ctx, func(_ context.Context, s *Stream) error {
			for rest := big; len(rest) > 0; rest = rest[16<<10:] {
				if _, err := s.Write(rest[:16<<10]); err != nil {
					return err
				}
				queued = max(queued, s.Transport().WriteBufferSize())
			}
			return nil
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer s.Close()
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String(), WithLimit(limit))
		if err != nil {
			return err
		}
		var got bytes.Buffer
		part := make([]byte, 3000)
		for {
			n, err := c.Read(part)
			got.Write(part[:n])
			most = max(most, len(c.unread))
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		_ = c.Close()
		if !bytes.Equal(got.Bytes(), big) {
			return fmt.Errorf("got %d bytes, not the %d sent", got.Len(), len(big))
		}
		if most > 2*limit+256<<10 || queued > 64<<10 {
			return fmt.Errorf("the reader held %d bytes, the writer %d", most, queued)
		}
		return c.WaitClosed()
	})
}

func TestStreamCancelledRead(t *testing.T) {
	serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		reader := loopnode.CreateTask(ctx, "reader", func(ctx context.Context) (int, error) {
			return c.With(ctx).Read(make([]byte, 1))
		})
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, loopnode.ErrBusy) {
			return fmt.Errorf("a second reader got %v", err)
		}
		reader.Cancel()
		if _, err := reader.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
			return fmt.Errorf("the reader ended with %v", err)
		}
		_ = p.t.Write([]byte("x")) // nothing is lost by the cancellation
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 'x' {
			return fmt.Errorf("got %q, %w", b, err)
		}
		_ = c.Close()
		if _, err := c.Read(b[:]); err != io.EOF {
			return fmt.Errorf("a read after close gave %v", err)
		}
		if _, err := c.Write(b[:]); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("a write after close gave %v", err)
		}
		return c.WaitClosed()
	})
}

func TestStreamHandlerFails(t *testing.T) {
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		s, err := StartServer(ctx, func(context.Context, *Stream) error { panic("planted") }, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			return fmt.Errorf("the client got %v", err)
		}
		_ = c.Close()
		s.Close()
		if err := s.WaitClosed(ctx); err != nil {
			return err
		}
		if len(*told) != 1 {
			return fmt.Errorf("the exception handler heard %v", *told)
		}
		return nil
	})
}

func TestStreamWaitsGivenUp(t *testing.T) {
	t.Run("waits for a slow peer that were given up leave nothing with the stream", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			p.onMade = func(t Transport) { _ = t.PauseReading() }
			c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			defer c.Transport().Abort()
			if err := c.Transport().Write(make([]byte, 32<<20)); err != nil {
				return err
			}
			for range 20 {
				err := loopnode.Timeout(ctx, time.Millisecond, func(ctx context.Context) error { return c.With(ctx).Drain() })
				if !errors.Is(err, loopnode.ErrTimeout) {
					return fmt.Errorf("the wait ended with %w", err)
				}
			}
			if n := len(c.drainers); n != 0 {
				return fmt.Errorf("%d waits are left", n)
			}
			return nil
		})
	})
}
