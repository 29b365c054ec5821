package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

// deaf is a connection whose other end does not read: here writes.
func deaf(t *testing.T, opts []ConnOption, fn func(ctx context.Context, here, there *probe, told *[]loopnode.ExceptionContext) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		here, there := newProbe(ctx), newProbe(ctx)
		server := slices.DeleteFunc(slices.Clone(opts), func(o ConnOption) bool { return o == nil })
		s, err := serve(ctx, there, serverTLS(server)...)
		must(t, err)
		_, _, err = CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String(), asClient(opts)...)
		must(t, err)
		must(t, eventually(ctx, func() bool { return there.t != nil }))
		must(t, there.t.PauseReading())
		err = fn(ctx, here, there, told)
		s.Close()
		here.t.Abort()
		s.AbortClients()
		return errors.Join(err, s.WaitClosed(ctx))
	})
}

// serverTLS turns a client's options for TLS into a server's.
func serverTLS(opts []ConnOption) []ServerOption {
	o, err := collect(opts)
	if err != nil {
		panic(err)
	}
	if o.tls.wanted {
		return []ServerOption{WithTLS(theTLSWorld().serverConfig())}
	}
	return nil
}

// bothKinds runs a test over TCP and over TLS.
func bothKinds(t *testing.T, fn func(t *testing.T, opts []ConnOption)) {
	t.Run("tcp", func(t *testing.T) { fn(t, nil) })
	t.Run("tls", func(t *testing.T) { fn(t, []ConnOption{WithTLS(theTLSWorld().clientConfig())}) })
}

func TestWriteLimit(t *testing.T) {
	t.Run("a protocol that heeds no pause loses its connection at the limit, with the reason", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, append(opts, WithWriteLimit(1<<20)), func(ctx context.Context, here, _ *probe, told *[]loopnode.ExceptionContext) error {
				watched := loopnode.NewFuture[error](mustLoop(ctx))
				here.t.Loop().Actors().Watch(here.t.Ref().Actor(), func(e actors.Terminated) {
					_ = here.t.Loop().Ref().CallSoonThreadsafe(func() { _ = watched.SetResult(e.Reason) })
				})
				most := 0
				var err error
				for err == nil {
					err = here.t.Write(make([]byte, 64<<10))
					most = max(most, here.t.WriteBufferSize())
				}
				if !errors.Is(err, ErrWriteLimit) || !errors.Is(err, ErrClosed) || most > 1<<20 {
					return fmt.Errorf("up to %d bytes waited, the write gave %w", most, err)
				}
				if reason := here.wait(ctx); !errors.Is(reason, ErrWriteLimit) {
					return fmt.Errorf("the reason is %w", reason)
				}
				reason, err := watched.Await(ctx)
				if !errors.Is(reason, ErrWriteLimit) || len(*told) != 0 {
					return fmt.Errorf("the watcher heard %w, told %v", reason, *told)
				}
				return err
			})
		})
	})
	t.Run("the default is some MiB above the high mark", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(_ context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) (err error) {
				most := 0
				for err == nil && most < 64<<20 {
					err = here.t.Writelines([][]byte{make([]byte, 128<<10), make([]byte, 128<<10)})
					most = max(most, here.t.WriteBufferSize())
				}
				if !errors.Is(err, ErrWriteLimit) || most < writeHeadroom/2 || most > writeHeadroom+1<<20 {
					return fmt.Errorf("up to %d bytes waited, %w", most, err)
				}
				return nil
			})
		})
	})
	t.Run("one write into an empty queue may be larger", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, append(opts, WithWriteLimit(100<<10)), func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				came := 0
				there.onData = func(b []byte) { came += len(b); there.data = nil }
				must(t, here.t.Write(make([]byte, 12<<20)))
				must(t, there.t.ResumeReading())
				return eventually(ctx, func() bool { return came == 12<<20 })
			})
		})
	})
	t.Run("a stream waits and never meets the limit", func(t *testing.T) {
		streaming(t, 64, func(s *Stream) error {
			_, err := s.Write(make([]byte, 32<<20))
			return errors.Join(err, s.CloseWrite())
		}, func(s *Stream) error {
			n, err := io.Copy(io.Discard, s)
			if n != 32<<20 {
				return fmt.Errorf("%d bytes, %w", n, err)
			}
			return err
		})
	})
	t.Run("what makes no sense is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, o := range []ConnOption{WithWriteLimit(-1), WithIdleTimeout(-1), WithFirstByteTimeout(-1)} {
				if _, err := serve(ctx, newProbe(ctx), o); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("got %v", err)
				}
			}
			return nil
		})
	})
}

func TestRefWrites(t *testing.T) {
	t.Run("a writer elsewhere gets ErrBusy while the peer is slow, and nothing is lost", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, append(opts, WithWriteLimit(1<<20)), func(ctx context.Context, here, there *probe, told *[]loopnode.ExceptionContext) error {
				ref := here.t.Ref()
				sent, err := aside(ctx, func() (sent int, err error) {
					for sent < 64<<20 {
						err := ref.Write(pattern(64 << 10))
						if errors.Is(err, loopnode.ErrBusy) {
							return sent, nil
						}
						if err != nil {
							return sent, err
						}
						sent += 64 << 10
					}
					return sent, errors.New("never busy")
				})
				if err != nil {
					return err
				}
				must(t, turns(ctx, 5))
				must(t, there.t.ResumeReading())
				if err := eventually(ctx, func() bool { return len(there.data) == sent }); err != nil {
					return fmt.Errorf("%d of %d bytes came: %w", len(there.data), sent, err)
				}
				if here.t.IsClosing() || len(*told) != 0 {
					return fmt.Errorf("closing %v, told %v", here.t.IsClosing(), *told)
				}
				return nil
			})
		})
	})
	t.Run("flooding a slow peer from many goroutines never ends the connection; closing comes behind what was taken", func(t *testing.T) {
		deaf(t, []ConnOption{WithWriteLimit(256 << 10)}, func(ctx context.Context, here, there *probe, told *[]loopnode.ExceptionContext) error {
			ref := here.t.Ref()
			must(t, here.t.Write(make([]byte, 16<<20))) // paused from here on
			base := 16 << 20
			if err := ref.Write([]byte("x")); !errors.Is(err, loopnode.ErrBusy) {
				return fmt.Errorf("a paused transport took a write: %v", err)
			}
			var taken atomic.Int64
			var waits []*loopnode.Future[int]
			for range 8 {
				waits = append(waits, loopnode.RunInExecutor(ctx, nil, func() (int, error) {
					err := ref.WriteWait(ctx, make([]byte, 200<<10))
					if err == nil {
						taken.Add(200 << 10)
					}
					return 0, err
				}))
			}
			own := loopnode.CreateTask(ctx, "own", func(ctx context.Context) (int, error) {
				return 0, ref.WriteWait(ctx, make([]byte, 1000))
			})
			must(t, eventually(ctx, func() bool { return here.t.(*conn).target.waiting >= 4*(200<<10) })) // four workers
			if taken.Load() != 0 {
				return errors.New("a write did not wait for the slow peer")
			}
			must(t, there.t.ResumeReading())
			for _, w := range waits {
				if _, err := w.Await(ctx); err != nil {
					return err
				}
			}
			if _, err := own.Await(ctx); err != nil {
				return err
			}
			must(t, ref.Close())
			if err := there.wait(ctx); err != nil || len(there.data) != base+8*(200<<10)+1000 {
				return fmt.Errorf("%d bytes came, %w", len(there.data), err)
			}
			return nil
		})
	})
	t.Run("a close from elsewhere does not overtake writes from elsewhere", func(t *testing.T) {
		deaf(t, nil, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
			ref := here.t.Ref()
			must(t, ref.Write([]byte("a")))
			must(t, here.t.Write(make([]byte, 16<<20))) // pauses before the loop comes to "a"
			must(t, ref.Close())
			must(t, turns(ctx, 3))
			if here.t.IsClosing() {
				return errors.New("the close overtook the write")
			}
			must(t, there.t.ResumeReading())
			if err := there.wait(ctx); err != nil || len(there.data) != 16<<20+1 {
				return fmt.Errorf("%d bytes came, %w", len(there.data), err)
			}
			return nil
		})
	})
	t.Run("WriteWait ends with its ctx, and the write does not come later", func(t *testing.T) {
		deaf(t, nil, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
			ref := here.t.Ref()
			must(t, here.t.Write(make([]byte, 16<<20)))
			short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
			defer stop()
			_, err := aside(ctx, func() (int, error) { return 0, ref.WriteWait(short, []byte("late")) })
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, loopnode.ErrTimeout) {
				return fmt.Errorf("got %v", err)
			}
			if err := eventually(ctx, func() bool { return len(here.t.(*conn).target.orders) == 0 }); err != nil {
				return err
			}
			var none context.Context
			if err := ref.WriteWait(none, nil); !errors.Is(err, loopnode.ErrInvalidArgument) {
				return fmt.Errorf("a nil ctx gave %v", err)
			}
			must(t, there.t.ResumeReading())
			return eventually(ctx, func() bool { return len(there.data) == 16<<20 })
		})
	})
	t.Run("what waits when the connection ends is told", func(t *testing.T) {
		deaf(t, nil, func(ctx context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) error {
			ref := here.t.Ref()
			must(t, here.t.Write(make([]byte, 16<<20)))
			task := loopnode.CreateTask(ctx, "waits", func(ctx context.Context) (int, error) { return 0, ref.WriteWait(ctx, []byte("x")) })
			must(t, eventually(ctx, func() bool { return len(here.t.(*conn).target.orders) == 1 }))
			here.t.Abort()
			if _, err := task.Await(ctx); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("a write behind WriteEOF or Close tells it at once; one that was on its way is told to the exception handler", func(t *testing.T) {
		deaf(t, nil, func(ctx context.Context, here, there *probe, told *[]loopnode.ExceptionContext) error {
			there.onEOF = func() bool { return true }
			early := here.t.Ref()
			must(t, early.Write([]byte("on its way")))
			must(t, here.t.WriteEOF())
			for _, ref := range []Ref{early, here.t.Ref()} {
				if err := ref.Write([]byte("x")); !errors.Is(err, ErrWriteEOF) {
					return fmt.Errorf("behind WriteEOF: %v", err)
				}
				if err := ref.WriteWait(ctx, []byte("x")); !errors.Is(err, ErrWriteEOF) {
					return fmt.Errorf("waiting behind WriteEOF: %v", err)
				}
			}
			must(t, turns(ctx, 3))
			if len(*told) != 1 || !errors.Is((*told)[0].Exception, ErrWriteEOF) {
				return fmt.Errorf("told %v", *told)
			}
			must(t, here.t.SetWriteBufferLimits(0, 0))
			return nil
		})
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(ctx context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) error {
				early := here.t.Ref()
				must(t, here.t.Write(make([]byte, 16<<20)))
				here.t.Close() // waits for the deaf peer
				if err := early.Write([]byte("x")); !errors.Is(err, ErrClosed) || here.lost.Done() {
					return fmt.Errorf("behind Close: %v", err)
				}
				must(t, early.Abort()) // ends it all the same
				return here.wait(ctx)
			})
		})
	})
}

func TestWriteRequests(t *testing.T) {
	t.Run("an answer comes when the peer has taken enough; beyond the limit it is ErrBusy", func(t *testing.T) {
		deaf(t, []ConnOption{WithWriteLimit(1 << 20)}, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
			sys, actor := here.t.Loop().Actors(), here.t.Ref().Actor()
			must(t, here.t.Write(make([]byte, 16<<20)))
			ask := func(n int) *loopnode.Future[any] {
				return loopnode.RunInExecutor(ctx, nil, func() (any, error) { return sys.Ask(ctx, actor, WriteRequest{make([]byte, n)}) })
			}
			first := ask(1 << 20)
			must(t, eventually(ctx, func() bool { return here.t.(*conn).target.waiting == 1<<20 }))
			if _, err := ask(1 << 20).Await(ctx); !errors.Is(err, loopnode.ErrBusy) {
				return fmt.Errorf("beyond the limit: %v", err)
			}
			if first.Done() || here.t.IsClosing() {
				return errors.New("answered while the peer is slow, or closing")
			}
			must(t, there.t.ResumeReading())
			answer, err := first.Await(ctx)
			if _, ok := answer.(Accepted); !ok || err != nil {
				return fmt.Errorf("answered %v, %w", answer, err)
			}
			return eventually(ctx, func() bool { return len(there.data) == 17<<20 })
		})
	})
	t.Run("messages without an answer end the connection at the limit", func(t *testing.T) {
		deaf(t, []ConnOption{WithWriteLimit(1 << 20)}, func(ctx context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) error {
			sys, actor := here.t.Loop().Actors(), here.t.Ref().Actor()
			for range 1000 {
				if err := sys.Send(actor, WriteRequest{make([]byte, 64<<10)}); err != nil {
					break // it has ended
				}
				must(t, turns(ctx, 1))
			}
			if reason := here.wait(ctx); !errors.Is(reason, ErrWriteLimit) {
				return fmt.Errorf("the reason is %w", reason)
			}
			return nil
		})
	})
}

func TestTimeouts(t *testing.T) {
	timedOut := func(ctx context.Context, p *probe, option string) error {
		if reason := p.wait(ctx); !errors.Is(reason, loopnode.ErrTimeout) || !strings.Contains(reason.Error(), option) {
			return fmt.Errorf("the reason is %w", reason)
		}
		return nil
	}
	t.Run("a connection on which nothing moves ends; one that moves does not", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				here, there := newProbe(ctx), newProbe(ctx)
				s, err := serve(ctx, there, append(serverTLS(opts), WithIdleTimeout(200*time.Millisecond))...)
				must(t, err)
				_, _, err = CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String(), asClient(opts)...)
				must(t, err)
				start := s.loop.Time()
				for s.loop.Time() < start+loopnode.Instant(700*time.Millisecond) {
					must(t, here.t.Write([]byte("x")))
					must(t, loopnode.Sleep(ctx, 20*time.Millisecond))
				}
				if there.lost.Done() {
					return fmt.Errorf("lost while bytes came: %w", there.reason)
				}
				s.Close()
				return errors.Join(timedOut(ctx, there, "WithIdleTimeout"), s.WaitClosed(ctx))
			})
		})
	})
	t.Run("a deaf peer is idle, also when the connection is closing", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, append(opts, WithIdleTimeout(100*time.Millisecond)), func(ctx context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) error {
				must(t, here.t.Write(make([]byte, 16<<20)))
				here.t.Close()
				return timedOut(ctx, here, "WithIdleTimeout")
			})
		})
	})
	t.Run("a client that says nothing ends, one that said something stays", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			for _, said := range []bool{false, true} {
				inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
					here, there := newProbe(ctx), newProbe(ctx)
					s, err := serve(ctx, there, append(serverTLS(opts), WithFirstByteTimeout(time.Second))...)
					must(t, err)
					if said {
						here.onMade = func(tr Transport) { _ = tr.Write([]byte("hi")) }
					}
					_, _, err = CreateConnection(ctx, func() *probe { return here }, "tcp", s.Addrs()[0].String(), asClient(opts)...)
					must(t, err)
					if !said {
						s.Close()
						return errors.Join(timedOut(ctx, there, "WithFirstByteTimeout"), s.WaitClosed(ctx))
					}
					must(t, eventually(ctx, func() bool { return len(there.data) > 0 }))
					must(t, loopnode.Sleep(ctx, 1200*time.Millisecond))
					if there.lost.Done() {
						return fmt.Errorf("lost: %w", there.reason)
					}
					here.t.Abort()
					s.Close()
					return s.WaitClosed(ctx)
				})
			}
		})
	})
}

func asClient(opts []ConnOption) (out []ConnectOption) {
	for _, o := range opts {
		out = append(out, o)
	}
	return out
}
