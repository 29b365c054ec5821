package transportactors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

// elsewhere runs n loops of their own until the test ends, or stop is called.
func elsewhere(t *testing.T, n int) (refs []loopnode.Ref, stop func()) {
	t.Helper()
	var running sync.WaitGroup
	for range n {
		l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
		must(t, err)
		refs = append(refs, l.Ref())
		running.Go(func() {
			if err := errors.Join(l.RunForever(), l.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		for _, r := range refs {
			must(t, r.Stop())
		}
		running.Wait()
	})
	t.Cleanup(stop)
	return refs, stop
}

// census is a protocol that counts what lives on each loop.
type census struct {
	mu    *sync.Mutex
	alive map[*loopnode.Loop]int
	total *atomic.Int64
	at    *loopnode.Loop
	t     Transport
}

func (c *census) count(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive[c.at] += by
}

func (c *census) ConnectionMade(t Transport) {
	c.t, c.at = t, t.Loop()
	c.count(1)
	c.total.Add(1)
}

func (c *census) DataReceived(b []byte) { _ = c.t.Write(b) }
func (c *census) ConnectionLost(error)  { c.count(-1) }

func TestLoops(t *testing.T) {
	t.Run("SRV-16 connections live on their loops and are closed, counted and waited for across them", func(t *testing.T) {
		refs, _ := elsewhere(t, 2)
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			var mu sync.Mutex
			var total atomic.Int64
			alive := map[*loopnode.Loop]int{}
			s, err := CreateServer(ctx, func() Protocol { return &census{mu: &mu, alive: alive, total: &total} },
				"tcp", "127.0.0.1:0", WithLoops(refs...))
			if err != nil {
				return err
			}
			var clients []*Stream
			for range 6 {
				c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
				if err != nil {
					return err
				}
				clients = append(clients, c)
				if _, err := c.Write([]byte("x")); err != nil {
					return err
				}
				if _, err := c.Read(make([]byte, 1)); err != nil {
					return err
				}
			}
			mu.Lock()
			for _, r := range refs {
				if l, _ := r.Local(); alive[l] != 3 {
					err = errors.Join(err, fmt.Errorf("loop %s has %d connections", r, alive[l]))
				}
			}
			mu.Unlock()
			if err != nil {
				return err
			}
			waiter := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, s.WaitClosed(ctx) })
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			s.Close()
			if waiter.Done() {
				return errors.New("the wait ended before the connections")
			}
			s.CloseClients()
			if _, err := waiter.Await(ctx); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for l, n := range alive {
				if n != 0 {
					return fmt.Errorf("%d connections are left on %s", n, l)
				}
			}
			for _, c := range clients {
				_ = c.Close()
			}
			return s.WaitClosed(ctx)
		})
	})
	t.Run("a loop that closes takes its connections along and gets no more", func(t *testing.T) {
		refs, stop := elsewhere(t, 1)
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			s, err := StartServer(ctx, func(_ context.Context, s *Stream) error {
				_, err := s.Read(make([]byte, 1))
				return err
			}, "tcp", "127.0.0.1:0", WithLoops(refs...))
			if err != nil {
				return err
			}
			c, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if _, err := aside(ctx, func() (int, error) { stop(); return 0, nil }); err != nil {
				return err
			}
			if _, err := c.Read(make([]byte, 1)); err == nil {
				return errors.New("the connection outlived its loop")
			}
			late, err := OpenConnection(ctx, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if _, err := late.Read(make([]byte, 1)); err == nil {
				return errors.New("a closed loop got a connection")
			}
			if !slices.ContainsFunc(*told, func(ec loopnode.ExceptionContext) bool { return errors.Is(ec.Exception, loopnode.ErrLoopClosed) }) {
				return fmt.Errorf("the handler heard %v", *told)
			}
			_, _ = c.Close(), late.Close()
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("a server of many loops whose own loop closes", func(t *testing.T) {
		refs, _ := elsewhere(t, 2)
		var total atomic.Int64
		var mu sync.Mutex
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := CreateServer(ctx, func() Protocol {
				return &census{mu: &mu, alive: map[*loopnode.Loop]int{}, total: &total}
			}, "tcp", "127.0.0.1:0", WithLoops(refs...))
			if err != nil {
				return err
			}
			_, err = OpenConnection(ctx, "tcp", s.Addrs()[0].String())
			return err
		})
	})
	t.Run("TLS connections live on their loops, too", func(t *testing.T) {
		refs, _ := elsewhere(t, 2)
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var mu sync.Mutex
			var total atomic.Int64
			alive := map[*loopnode.Loop]int{}
			s, err := CreateServer(ctx, func() Protocol { return &census{mu: &mu, alive: alive, total: &total} },
				"tcp", "127.0.0.1:0", WithLoops(refs...), WithTLS(theTLSWorld().serverConfig()))
			if err != nil {
				return err
			}
			var clients []*probe
			for range 4 {
				p := newProbe(ctx)
				if _, err := dialTLS(ctx, p, s.Addrs()[0].String()); err != nil {
					return err
				}
				clients = append(clients, p)
				_ = p.t.Write([]byte("secret"))
				if err := until(ctx, func() bool { return string(p.data) == "secret" }); err != nil {
					return err
				}
			}
			s.Close()
			s.CloseClients()
			err = s.WaitClosed(ctx)
			for _, p := range clients {
				err = errors.Join(err, p.wait(ctx))
			}
			mu.Lock()
			defer mu.Unlock()
			if total.Load() != 4 || len(alive) != 2 {
				return fmt.Errorf("%d connections on %d loops: %w", total.Load(), len(alive), err)
			}
			return err
		})
	})
	t.Run("loops that cannot have connections are refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			far := loopnode.RemoteRef(actors.Address{Node: "n", Path: "main"})
			if _, err := serve(ctx, newProbe(ctx), WithLoops(far)); !errors.Is(err, loopnode.ErrNotLocal) {
				return fmt.Errorf("a remote loop: %v", err)
			}
			gone, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
			if err != nil {
				return err
			}
			if err := gone.Close(); err != nil {
				return err
			}
			if _, err := serve(ctx, newProbe(ctx), WithLoops(gone.Ref())); !errors.Is(err, loopnode.ErrLoopClosed) {
				return fmt.Errorf("a closed loop: %v", err)
			}
			return nil
		})
	})
}
