package clustertest

import (
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Virtual time. Inside synctest.Test every clock is the bubble's: it moves when all
// goroutines wait, to the next timer. Nodes, NATS server, connections and loops fit into
// that, as long as none of them waits for the kernel. So the server listens on nothing, the
// nodes reach it through pipes in memory, and the loops wait on a channel and a timer
// (bubbleWaits) and not in the poller, which is a system call that stops the bubble's time.

// emptyPools takes out of the process what a bubble must not share with another one: nats.go
// keeps timers in a sync.Pool, and a timer of one bubble ends the process when another
// one waits for it. A pool is empty after two collections.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

// actorsRest is how long the actor system's log of letters to nobody goes on after the
// last one. A goroutine that is left fails the bubble.
const actorsRest = 2 * time.Second

// Virtual is New in virtual time, inside the bubble of testing/synctest: an hour of the
// cluster passes in less than a second. Nodes have the times of package cluster. Make
// their loops with VirtualLoop:
//
//	synctest.Test(t, func(t *testing.T) {
//		c := clustertest.Virtual(t, 2, nil)
//		ref, err := c.Node("n1").NewLoop("io-0", clustertest.VirtualLoop)
//		…
//	})
//
// No other test of the process may use nodes or NATS meanwhile (no t.Parallel): nats.go
// shares timers between connections, and those of a bubble are of use in it only.
//
// Between a node and the server are pipes in memory, with which a test does the same as over
// TCP: Cut, Unplug, Heal, Delay, Crash and Restart. There are no sockets and no child
// processes, and no JetStream.
func Virtual(t T, count int, configure func(name string, cfg *cluster.Config)) *Cluster {
	t.Helper()
	emptyPools()
	t.Cleanup(func() { // last of all
		<-time.After(actorsRest)
		emptyPools()
	})
	c := &Cluster{t: t, nodes: map[string]*place{}}
	var err error
	quiet := hclog.NewNullLogger()
	if c.broker, err = c.start(cluster.Config{Cluster: "clustertest-broker", Name: "broker", Logger: quiet}, nil); err != nil {
		t.Fatalf("clustertest: the NATS server: %v", err)
	}
	t.Cleanup(c.broker.Close)
	for i := range count {
		p := &place{cfg: cluster.Config{Beside: c.broker, Logger: quiet}, proxy: newPipes()}
		t.Cleanup(p.proxy.close)
		c.add(fmt.Sprintf("n%d", i+1), p, configure)
	}
	c.Together()
	return c
}

// VirtualLoop makes a loop wait in the time of the bubble: an argument of
// cluster.Node.NewLoop. The loop refuses descriptors, so it has no transports.
func VirtualLoop(cfg *loopnode.Config) {
	cfg.Backend = &bubbleWaits{begun: time.Now(), woken: make(chan struct{}, 1)}
	cfg.Stuck = -1 // nothing is late where time stands still meanwhile
}

// bubbleWaits is the poller of a loop in a bubble: it waits for Wake or for time to pass.
type bubbleWaits struct {
	begun time.Time
	woken chan struct{}
}

// Now is how long the loop has lived. Any goroutine.
func (b *bubbleWaits) Now() loopnode.Instant { return loopnode.Instant(time.Since(b.begun)) }

// Wait waits until Wake or for so long; negative is for ever.
func (b *bubbleWaits) Wait(timeout time.Duration, _ func(owner any, ready loopnode.Events)) (int, error) {
	if timeout == 0 {
		select {
		case <-b.woken:
		default:
		}
		return 0, nil
	}
	var over <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-b.woken:
	case <-over:
	}
	return 0, nil
}

// Wake ends a Wait. Any goroutine.
func (b *bubbleWaits) Wake() error {
	select {
	case b.woken <- struct{}{}:
	default:
	}
	return nil
}

// Add refuses a descriptor.
func (b *bubbleWaits) Add(fd int, _ loopnode.Events, _ any) (loopnode.Token, error) {
	return loopnode.Token{}, fmt.Errorf("%w: descriptor %d: a loop in virtual time has none, use clustertest.New for sockets and processes", loopnode.ErrInvalidArgument, fd)
}

// Modify and Remove have nothing to find.
func (b *bubbleWaits) Modify(loopnode.Token, loopnode.Events) error {
	return loopnode.ErrInvalidArgument
}

// Remove is Modify.
func (b *bubbleWaits) Remove(loopnode.Token) error { return loopnode.ErrInvalidArgument }

// Close does nothing: there is nothing to give back.
func (b *bubbleWaits) Close() error { return nil }
