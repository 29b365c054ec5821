package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestServerCloses(t *testing.T) {
	t.Run("SRV-15 close refuses new clients and leaves connections alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, here, there, err := pair(ctx)
			if err != nil {
				return err
			}
			at := s.Addrs()[0].String()
			s.Close()
			s.Close()
			if s.IsServing() || len(s.Addrs()) != 0 {
				return errors.New("serving after close")
			}
			if _, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("a new client got %v", err)
			}
			waiter := loopnode.CreateTask(ctx, "waiter", func(ctx context.Context) (int, error) { return 0, s.WaitClosed(ctx) })
			_ = here.t.Write([]byte("x"))
			for len(there.data) == 0 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			if waiter.Done() {
				return errors.New("the wait ended before the connection")
			}
			here.t.Close()
			_, err = waiter.Await(ctx)
			return errors.Join(err, s.WaitClosed(ctx))
		})
	})
	t.Run("SRV-17 every connection of a server can be closed or aborted", func(t *testing.T) {
		for _, end := range []func(*Server){(*Server).CloseClients, (*Server).AbortClients} {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				s, here, there, err := pair(ctx)
				if err != nil {
					return err
				}
				end(s)
				if err := errors.Join(there.wait(ctx), here.wait(ctx)); err != nil {
					return err
				}
				s.Close()
				return s.WaitClosed(ctx)
			})
		}
	})
}

func TestStartServing(t *testing.T) {
	t.Run("SRV-01 bound but not serving refuses until it serves", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx), WithStartServing(false))
			if err != nil {
				return err
			}
			at := s.Addrs()[0].String()
			connect := func() error {
				tr, _, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", at)
				if err == nil {
					tr.Abort()
				}
				return err
			}
			if err := connect(); s.IsServing() || !errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("before serving: %v", err)
			}
			if err := errors.Join(s.StartServing(), s.StartServing(), connect()); err != nil || !s.IsServing() {
				return fmt.Errorf("serving: %w", err)
			}
			s.Close()
			if err := s.StartServing(); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("on a closed server: %v", err)
			}
			return nil
		})
	})
}

func TestServeForever(t *testing.T) {
	t.Run("SRV-18 cancelling closes the server and comes back", func(t *testing.T) {
		serving(t, func(ctx context.Context, _ *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, s.ServeForever(ctx) })
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			if err := s.ServeForever(ctx); !errors.Is(err, loopnode.ErrBusy) {
				return fmt.Errorf("a second one got %v", err)
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) || s.IsServing() {
				return fmt.Errorf("it ended with %v", err)
			}
			return nil
		})
	})
}

func TestAcceptExhausted(t *testing.T) {
	t.Run("SRV-13 without descriptors the listener rests, says so and goes on", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, told *[]loopnode.ExceptionContext) error {
			tries := 0
			s.listeners[0].accept = func(fd int) (int, netip.AddrPort, error) {
				if tries++; tries == 1 {
					return -1, netip.AddrPort{}, syscall.EMFILE
				}
				return sock.Accept(fd)
			}
			began := time.Now()
			back, err := aside(ctx, func() ([]byte, error) { return talk(s, "patient") })
			if err != nil || len(back) != 0 {
				return fmt.Errorf("got %q, %w", back, err)
			}
			if err := p.wait(ctx); err != nil || string(p.data) != "patient" {
				return fmt.Errorf("the server got %q, %w", p.data, err)
			}
			if rest := time.Since(began); rest < acceptPause-50*time.Millisecond {
				return fmt.Errorf("it rested %v", rest)
			}
			if tries > 4 || len(*told) != 1 || !errors.Is((*told)[0].Exception, syscall.EMFILE) {
				return fmt.Errorf("%d tries; the handler heard %v", tries, *told)
			}
			s.Close()
			return nil
		})
	})
}

func TestFactoryPanics(t *testing.T) {
	t.Run("SRV-14 a failing factory costs that connection alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			calls, good := 0, newProbe(ctx)
			s, err := CreateServer(ctx, func() Protocol {
				if calls++; calls == 1 {
					panic("planted")
				}
				return good
			}, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer s.Close()
			for _, text := range []string{"", "x"} {
				if _, err := aside(ctx, func() ([]byte, error) { return talk(s, text) }); err != nil {
					return err
				}
			}
			if err := good.wait(ctx); err != nil || string(good.data) != "x" || s.Failed() != 1 || len(*told) != 0 {
				return fmt.Errorf("%q, %w, %v", good.data, err, *told)
			}
			return nil
		})
	})
}

func TestFactoryExits(t *testing.T) {
	t.Run("a factory that calls runtime.Goexit costs that connection alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			calls, good := 0, newProbe(ctx)
			s, err := CreateServer(ctx, func() Protocol {
				if calls++; calls == 1 {
					runtime.Goexit()
				}
				return good
			}, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			for _, text := range []string{"", "x"} {
				if _, err := aside(ctx, func() ([]byte, error) { return talk(s, text) }); err != nil {
					return err
				}
			}
			if err := good.wait(ctx); err != nil || string(good.data) != "x" || len(*told) != 1 {
				return fmt.Errorf("%q, %w, %v", good.data, err, *told)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
}

func TestClientFactoryExits(t *testing.T) {
	serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
		task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
			_, _, err := CreateConnection(ctx, func() *probe { runtime.Goexit(); return nil }, "tcp", s.Addrs()[0].String())
			return 0, err
		})
		if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrGoexit) {
			return fmt.Errorf("the task ended with %w", err)
		}
		return p.wait(ctx) // the other end sees that the descriptor is closed
	})
}

func TestBindFails(t *testing.T) {
	t.Run("SRV-07 a busy address keeps its errno and names it", func(t *testing.T) {
		serving(t, func(ctx context.Context, _ *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			at := s.Addrs()[0].String()
			before := descriptors()
			_, err := CreateServer(ctx, func() Protocol { return nil }, "tcp", "127.0.0.1:0", WithAddresses(at))
			if want := "error while attempting to bind on address " + at + ": "; !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), want) {
				return fmt.Errorf("got %w", err)
			}
			if after := descriptors(); after != before {
				return fmt.Errorf("%d descriptors before, %d after", before, after)
			}
			away := "192.0.2.1:0" // TEST-NET: no machine has it
			if _, err := CreateServer(ctx, func() Protocol { return nil }, "tcp", away); !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.HasPrefix(err.Error(), "could not bind on any address") {
				return fmt.Errorf("an address of nobody gave %w", err)
			}
			some, err := CreateServer(ctx, func() Protocol { return nil }, "tcp", away, WithAddresses("127.0.0.1:0"))
			if err != nil || len(some.Addrs()) != 1 {
				return fmt.Errorf("one of two addresses: %w", err)
			}
			some.Close()
			return nil
		})
	})
}

func TestConnectErrors(t *testing.T) {
	t.Run("CON-09 one failing address gives its own error", func(t *testing.T) {
		serving(t, func(ctx context.Context, _ *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			at := s.Addrs()[0].String()
			s.Close()
			calls := 0
			_, _, err := CreateConnection(ctx, func() *probe { calls++; return newProbe(ctx) }, "tcp", at)
			if want := "connect call failed (" + at + "): connection refused"; err == nil || err.Error() != want || calls != 0 {
				return fmt.Errorf("got %v after %d calls of the factory", err, calls)
			}
			for _, bad := range []string{"nonsense", "127.0.0.1:70000"} {
				if _, err := OpenConnection(ctx, "tcp", bad); !errors.Is(err, loopnode.ErrInvalidArgument) {
					return fmt.Errorf("%s gave %v", bad, err)
				}
			}
			return nil
		})
	})
	if _, err := OpenConnection(context.Background(), "tcp", "127.0.0.1:1"); !errors.Is(err, loopnode.ErrNoRunningLoop) {
		t.Fatalf("without a loop: %v", err)
	}
}

func TestConnectName(t *testing.T) {
	serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
		_, port, err := net.SplitHostPort(s.Addrs()[0].String())
		if err != nil {
			return err
		}
		c, err := OpenConnection(ctx, "tcp4", net.JoinHostPort("localhost", port), WithLocalAddress("127.0.0.1:0"))
		if err != nil {
			return err
		}
		_, err = io.WriteString(c, "by name")
		_ = c.Close()
		if err := errors.Join(err, p.wait(ctx)); err != nil || string(p.data) != "by name" {
			return fmt.Errorf("%q, %w", p.data, err)
		}
		return nil
	})
}
