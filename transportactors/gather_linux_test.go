package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// come is how many bytes have come to the other end and were not read.
func come(p *probe) int { return sock.Unread(p.t.Socket().FD()) }

// heard waits until a protocol has received just that.
func heard(ctx context.Context, p *probe, want string) error {
	for len(p.data) < len(want) {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return fmt.Errorf("%q and no more: %w", p.data, err)
		}
	}
	if string(p.data) != want {
		return fmt.Errorf("%q, want %q", p.data, want)
	}
	return nil
}

func TestWriteGathering(t *testing.T) {
	t.Run("small writes of one turn leave together, in order, in the next turn", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			must(t, there.t.PauseReading())
			must(t, here.t.Socket().SetWriteGathering(true))
			must(t, here.t.Write([]byte("a")))
			must(t, here.t.Writelines([][]byte{[]byte("b"), []byte("c")}))
			must(t, here.t.Write([]byte("d")))
			if n, size := come(there), here.t.WriteBufferSize(); n != 0 || size != 4 {
				t.Errorf("at once: %d have come, %d wait", n, size)
			}
			must(t, loopnode.Sleep(ctx, 0))
			if n, size := come(there), here.t.WriteBufferSize(); n != 4 || size != 0 {
				t.Errorf("a turn later: %d have come, %d wait", n, size)
			}
			must(t, there.t.ResumeReading())
			return heard(ctx, there, "abcd")
		})
	})
	t.Run("much does not wait, and does not pause the protocol", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			must(t, there.t.PauseReading())
			must(t, here.t.Socket().SetWriteGathering(true))
			must(t, here.t.Write(make([]byte, gatherMost-1)))
			before := come(there)
			must(t, here.t.Write(make([]byte, 1)))
			if n := come(there); before != 0 || n != gatherMost || here.t.(*conn).paused {
				t.Errorf("%d, then %d have come, paused %v", before, n, here.t.(*conn).paused)
			}
			must(t, here.t.SetWriteBufferLimits(10, 5))
			must(t, here.t.Write(make([]byte, 11)))
			if n := come(there); n != gatherMost+11 || here.t.(*conn).paused {
				t.Errorf("above the high mark: %d have come, paused %v", n-gatherMost, here.t.(*conn).paused)
			}
			return nil
		})
	})
	t.Run("an option, and switching it off, sends what is gathered", func(t *testing.T) {
		for name, act := range map[string]func(*Socket) error{
			"off": func(s *Socket) error { return s.SetWriteGathering(false) }, "option": func(s *Socket) error { return s.SetNoDelay(false) },
		} {
			within(t, func(ctx context.Context, here, there *probe) error {
				must(t, there.t.PauseReading())
				must(t, here.t.Socket().SetWriteGathering(true))
				must(t, here.t.Write([]byte("ab")))
				must(t, act(here.t.Socket()))
				if n := come(there); n != 2 {
					t.Errorf("%s: %d have come", name, n)
				}
				must(t, here.t.Socket().SetWriteGathering(false))
				must(t, here.t.Write([]byte("c")))
				if n := come(there); n != 3 {
					t.Errorf("%s: behind it %d have come", name, n)
				}
				return nil
			})
		}
	})
	t.Run("close and the end of the output come behind what is gathered, abort drops it", func(t *testing.T) {
		for name, c := range map[string]struct {
			act  func(Transport)
			want string
		}{
			"Close": {Transport.Close, "abc"}, "WriteEOF": {func(t Transport) { _ = t.WriteEOF() }, "abc"}, "Abort": {Transport.Abort, ""},
		} {
			within(t, func(ctx context.Context, here, there *probe) error {
				must(t, here.t.Socket().SetWriteGathering(true))
				for _, s := range []string{"a", "b", "c"} {
					must(t, here.t.Write([]byte(s)))
				}
				c.act(here.t)
				if err := there.wait(ctx); reset(err) != nil {
					return err
				}
				if got := string(there.data); got != c.want {
					t.Errorf("%s: %q, want %q", name, got, c.want)
				}
				return here.wait(ctx)
			})
		}
	})
	t.Run("a file comes behind what is gathered", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			f, err := os.Create(place(t, "file"))
			must(t, err)
			defer f.Close()
			_, err = f.WriteString("file")
			must(t, err)
			must(t, here.t.Socket().SetWriteGathering(true))
			must(t, here.t.Write([]byte("before ")))
			if _, err := Sendfile(ctx, here.t, f, 0, loopnode.ToEnd); err != nil {
				return err
			}
			must(t, here.t.Write([]byte(" behind")))
			return heard(ctx, there, "before file behind")
		})
	})
	t.Run("a peer that is gone is told by ConnectionLost", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			must(t, here.t.PauseReading()) // the reset is found by the write
			must(t, here.t.Socket().SetWriteGathering(true))
			there.t.Abort()
			if err := there.wait(ctx); err != nil {
				return err
			}
			must(t, sock.CloseWrite(here.t.Socket().FD()))
			must(t, here.t.Write([]byte("x")))
			if err := here.wait(ctx); err == nil {
				t.Error("no reason")
			}
			if err := here.t.Write([]byte("y")); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			return nil
		})
	})
}

// BenchmarkFanOut is 64 bytes to each of 16 connections, 64 times a turn; the receivers
// count.
func BenchmarkFanOut(b *testing.B) {
	for _, gather := range []bool{false, true} {
		b.Run(fmt.Sprint("gather=", gather), func(b *testing.B) { fanOut(b, gather) })
	}
}

func fanOut(b *testing.B, gather bool) {
	const peers, each, size = 16, 64, 64
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(b, err)
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		var all []Transport
		s, err := CreateServer(ctx, func() Protocol { return &subscriber{&all, gather} }, "tcp", "127.0.0.1:0")
		must(b, err)
		counts := make(chan int, peers)
		for range peers {
			c, err := net.Dial("tcp", s.Addrs()[0].String())
			must(b, err)
			go func() { // ends with the connection
				buf, n := make([]byte, 256<<10), 0
				for {
					m, err := c.Read(buf)
					if n += m; err != nil {
						_ = c.Close()
						counts <- n
						return
					}
				}
			}()
		}
		for len(all) < peers {
			must(b, loopnode.Sleep(ctx, 0))
		}
		piece := []byte(strings.Repeat("x", size))
		rounds := 0
		b.ResetTimer()
		for ; rounds*peers*each < b.N; rounds++ {
			for range each {
				for _, t := range all {
					must(b, t.Write(piece))
				}
			}
			must(b, loopnode.Sleep(ctx, 0))
			for _, t := range all { // heed the slowest
				for t.WriteBufferSize() > 1<<20 {
					must(b, loopnode.Sleep(ctx, 0))
				}
			}
		}
		s.CloseClients()
		got, err := aside(ctx, func() (n int, err error) {
			for range peers {
				n += <-counts
			}
			return n, nil
		})
		b.StopTimer()
		if got != rounds*peers*each*size {
			b.Errorf("%d bytes, want %d", got, rounds*peers*each*size)
		}
		b.ReportMetric(float64(got)/size/b.Elapsed().Seconds(), "deliveries/s")
		s.Close()
		return 0, errors.Join(err, s.WaitClosed(ctx))
	}))
	must(b, errors.Join(err, l.Close()))
}

// subscriber is one that is only written to.
type subscriber struct {
	all    *[]Transport
	gather bool
}

func (s *subscriber) ConnectionMade(t Transport) {
	_ = t.Socket().SetWriteGathering(s.gather)
	*s.all = append(*s.all, t)
}
func (s *subscriber) DataReceived([]byte)  {}
func (s *subscriber) ConnectionLost(error) {}
