package multinode

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
)

// TestAStreamMovesOrEndsWhenOnlyTheOtherSideWasCutOff takes the connection of the node
// that has the transport, again and again, while the writer's connection holds: what is
// on the way is lost, and nobody tells the writer's node of a reconnect. The writer must
// not wait for ever.
func TestAStreamMovesOrEndsWhenOnlyTheOtherSideWasCutOff(t *testing.T) {
	c := clustertest.New(t, 2, func(_ string, cfg *cluster.Config) { cfg.DeadAfter = 10 * patience })
	from, to := c.Node("n1"), c.Node("n2")
	loop := newLoop(t, to, "io-0")
	for range 5 {
		s := serveOne(t, to, loop)
		go func() { _, _ = io.Copy(io.Discard, s.peer) }()
		var far *cluster.RemoteTransport
		c.Eventually("n2 is found", func() bool {
			var err error
			far, err = from.Transport(testCtx(t), s.address)
			return err == nil
		})
		var written atomic.Int64
		ended := make(chan error, 1)
		go func() {
			p := make([]byte, 32<<10)
			for {
				if err := far.WriteWait(testCtx(t), p); err != nil {
					ended <- err // once
					return
				}
				written.Add(1)
			}
		}()
		moved := func(to int64) func() bool {
			return func() bool { return written.Load() >= to || len(ended) > 0 }
		}
		c.Eventually("bytes flow", moved(200))
		before := to.Stats().Disconnects
		c.Unplug("n2")
		c.Eventually("n2 is cut off", func() bool { return to.Stats().Disconnects > before })
		c.Heal("n2")
		c.Eventually("the stream goes on or ends", moved(written.Load()+200)) // more than the window
		if len(ended) > 0 && !isCoded(far.Err()) {
			t.Errorf("the stream ended with %v, its write with %v", far.Err(), <-ended)
		}
		far.Abort()
		_ = s.peer.Close()
	}
}

var swallow = cluster.Func("multinode.swallow", func(_ context.Context, in []byte) (int, error) { return len(in), nil })

// swamp is a way to a server that can stop taking bytes without ending, as a cable does
// that was pulled: neither end hears of it.
type swamp struct {
	net.Listener
	passes atomic.Bool
	ends   sync.Map
	work   sync.WaitGroup
}

func newSwamp(t *testing.T, to string) *swamp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &swamp{Listener: l}
	s.passes.Store(true)
	s.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			for _, c := range [][2]net.Conn{{near, far}, {far, near}} {
				s.ends.Store(c[0], nil)
				s.work.Go(func() { s.carry(c[0], c[1]) })
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.ends.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		s.work.Wait()
	})
	return s
}

func (s *swamp) carry(from, to net.Conn) {
	p := make([]byte, 32<<10)
	for {
		n, err := from.Read(p)
		if !s.passes.Load() {
			return // and nothing is closed
		}
		if err == nil {
			_, err = to.Write(p[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// TestACallEndsThoughItsServerTakesNothing pulls the cable of a node that sends more than
// the buffers on the way hold, so that its writes stand still. Each call ends soon after
// its deadline, and not minutes later, when a write gives up.
func TestACallEndsThoughItsServerTakesNothing(t *testing.T) {
	const most = 2 * time.Second
	hub := join(t, cluster.Config{Name: "hub", Listen: "127.0.0.1:0", DeadAfter: 10 * patience})
	newLoop(t, hub, "io-0")
	way := newSwamp(t, strings.TrimPrefix(hub.URL(), "nats://"))
	n1 := join(t, cluster.Config{Name: "n1", Join: []string{way.Addr().String()}, DeadAfter: 10 * patience})
	to := refTo(t, n1, "hub/io-0")
	large := make([]byte, 512<<10)
	ask := func() (time.Duration, error) {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), most)
		defer cancel()
		_, err := swallow.Via(n1).Call(ctx, to, large)
		return time.Since(begin), err
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	way.passes.Store(false)
	var calls sync.WaitGroup
	for range 100 { // 50 MiB
		calls.Go(func() {
			if took, err := ask(); err == nil || took > most+20*time.Second {
				t.Errorf("a call with a deadline of %v ended after %v: %v", most, took, err)
			}
		})
	}
	calls.Wait()
	way.passes.Store(true)
	until(t, "calls go on", func() bool { _, err := ask(); return err == nil })
}
