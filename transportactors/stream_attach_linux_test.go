package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestStreamAttach(t *testing.T) {
	t.Run("a stream takes over a connection that had a protocol", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				must(t, here.t.Write([]byte("a line\nrest")))
				must(t, there.t.Write(make([]byte, 16<<20))) // paused: the stream must know
				must(t, here.t.PauseReading())
				p := &StreamProtocol{}
				s, err := p.Attach(ctx, there.t)
				must(t, err)
				must(t, there.t.ResumeReading())
				line, err := s.ReadLine()
				if err != nil || string(line) != "a line\n" || len(there.data) != 0 || !p.paused {
					return fmt.Errorf("got %q, %w; the protocol before got %q; paused %v", line, err, there.data, p.paused)
				}
				must(t, here.t.ResumeReading())
				must(t, s.Drain())
				if _, err := p.Attach(ctx, here.t); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("a second transport: %v", err)
				}
				_ = s.Close()
				if _, err := (&StreamProtocol{}).Attach(ctx, there.t); !errors.Is(err, ErrClosed) {
					return fmt.Errorf("a closing transport: %v", err)
				}
				return here.wait(ctx)
			})
		})
	})
}

// Reading standard input line by line: r stands for os.Stdin.
func ExampleStreamProtocol() {
	r, w, _ := os.Pipe()
	_, _ = w.WriteString("one\ntwo\n")
	_ = w.Close()
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		_, p, err := ConnectReadPipe(ctx, func() *StreamProtocol { return &StreamProtocol{} }, r)
		if err != nil {
			return err
		}
		for lines := p.Stream(ctx); ; {
			line, err := lines.ReadLine()
			if err == io.EOF {
				return nil
			}
			fmt.Printf("%q %v\n", line, err)
		}
	}))
	// Output:
	// "one\n" <nil>
	// "two\n" <nil>
	// <nil>
}
