package drain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/cluster/placement"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestManyDrainANodeAtOnce: there is one drain, and all have its result. Who does not want to wait
// any longer goes, and the drain goes on.
func TestManyDrainANodeAtOnce(t *testing.T) {
	store, nodes := group(t, "n1")
	release := occupy(t, store, nodes["n1"])
	const callers = 10
	results, begun := make(chan error, callers), make(chan struct{}, callers)
	for range callers {
		go func() {
			begun <- struct{}{}
			results <- Node(testCtx(t), nodes["n1"])
		}()
	}
	for range callers {
		<-begun
	}
	until(t, "the drain waits for the call", func() bool {
		all := Status(nodes["n1"])
		return len(all) > 0 && all[len(all)-1].Step == Calls
	})
	ctx, cancel := context.WithCancelCause(testCtx(t))
	bored := errors.New("bored")
	cancel(bored)
	if err := Node(ctx, nodes["n1"]); !errors.Is(err, bored) || errors.Is(err, cluster.ErrCutOff) {
		t.Error("who does not wait hears", err)
	}
	if all := Status(nodes["n1"]); all[len(all)-1].Step != Calls {
		t.Errorf("a second caller that went changed the drain: %v", all)
	}
	release()
	for range callers {
		must(t, <-results)
	}
	must(t, Node(ctx, nodes["n1"])) // it is over, whatever ctx is
}

// TestAProgressThatPanics: the node is closed all the same, and nobody waits for ever.
func TestAProgressThatPanics(t *testing.T) {
	_, nodes := group(t, "n1")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_ = Node(testCtx(t), nodes["n1"], OnProgress(func(Progress) { panic("on purpose") }))
	}()
	<-nodes["n1"].Done()
	must(t, Node(testCtx(t), nodes["n1"]))
}

// TestAClosedNodeIsDrainedAtOnce: there is nothing to wait for.
func TestAClosedNodeIsDrainedAtOnce(t *testing.T) {
	_, nodes := group(t, "n1")
	nodes["n1"].Close()
	must(t, Node(testCtx(t), nodes["n1"]))
}

// TestADrainOfAStuckLoop: a callback does not return. Each step goes on at its limit, and the
// error names the loop.
func TestADrainOfAStuckLoop(t *testing.T) {
	store, nodes := group(t, "n1")
	n := nodes["n1"]
	release := make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	stuck := make(chan struct{})
	must(t, loopOf(t, n).CallSoonThreadsafe(func() { close(stuck); <-release }))
	<-stuck
	ref, err := store.Ref("n1/io")
	must(t, err)
	waiting := make(chan error, 1)
	go func() { _, err := whoami.Via(store).Call(testCtx(t), ref, ""); waiting <- err }()
	until(t, "a call waits for the loop", func() bool { return n.Stats().Inbound == 1 })
	begun, ended := time.Now(), make(chan error, 1)
	limits := []Option{Limit(Connections, 100*time.Millisecond), Limit(Calls, 100*time.Millisecond), Limit(Leave, 100*time.Millisecond)}
	go func() { ended <- Node(testCtx(t), n, limits...) }()
	if err := <-waiting; !errors.Is(err, groups.ErrLeaving) {
		t.Error("the call that did not begin:", err)
	}
	err = <-ended
	if !errors.Is(err, cluster.ErrCutOff) || !strings.Contains(err.Error(), "loop io, which is stuck") || !strings.Contains(err.Error(), "1 calls") {
		t.Error(err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Error("it took", took)
	}
	unblock()
}

// TestADrainWithoutTheStore: the only server that keeps it is gone, so neither names nor leases
// can be given back. The node leaves all the same, each step within its limit.
func TestADrainWithoutTheStore(t *testing.T) {
	store, nodes := group(t, "n1")
	n := nodes["n1"]
	_, err := names.Claim(testCtx(t), n, "orders", loopOf(t, n))
	must(t, err)
	_, err = groups.Join(n, "io", loopOf(t, n))
	must(t, err)
	running := make(chan struct{}, 8)
	_, err = names.Place(n, "janitor", loopOf(t, n), func(ctx context.Context, _ *names.Ownership) error {
		running <- struct{}{}
		return loopnode.WaitDone(ctx)
	})
	must(t, err)
	<-running
	timers, err := durable.Serve(n, "g", loopOf(t, n))
	must(t, err)
	commands, err := durable.Work(n, "q", loopOf(t, n))
	must(t, err)
	until(t, "it owns all", func() bool { return timers.Stats().Owner && commands.Stats().Owner })
	store.Close()
	begun := time.Now()
	err = Node(testCtx(t), n, Limit(Commands, time.Second), Limit(Calls, time.Second))
	took := time.Since(begun)
	t.Logf("it took %v: %v", took, err)
	if err != nil && !errors.Is(err, cluster.ErrCutOff) {
		t.Error(err)
	}
	if took > 25*time.Second {
		t.Error("a node without its store takes too long to leave:", took)
	}
	<-n.Done()
}

// TestADrainOfWhoOwnsEverything: the supervisor of placements with an instance, a name, and the
// owner of 1,000 timers that are due meanwhile. All of it is another node's soon; each timer runs once.
func TestADrainOfWhoOwnsEverything(t *testing.T) {
	store, nodes := group(t, "n1", "n2")
	placed := make(chan string, 16)
	serve := func(n *cluster.Node) *durable.Server {
		_, err := placement.Serve(n, loopOf(t, n), placement.Kind{Name: "shard", Run: func(ctx context.Context, _ string, _ *names.Ownership) error {
			placed <- n.Name()
			return loopnode.WaitDone(ctx)
		}})
		must(t, err)
		s, err := durable.Serve(n, "g", loopOf(t, n))
		must(t, err)
		return s
	}
	one := serve(nodes["n1"])
	must(t, placement.Want(testCtx(t), store, "shard", "eu-1"))
	if at := <-placed; at != "n1" {
		t.Fatal("the instance runs on", at)
	}
	_, err := names.Claim(testCtx(t), nodes["n1"], "orders", loopOf(t, nodes["n1"]))
	must(t, err)
	until(t, "n1 owns the timers", func() bool { return one.Stats().Owner })
	two := serve(nodes["n2"])
	const timers = 1000
	var arming sync.WaitGroup
	for g := range 16 {
		arming.Go(func() {
			for i := g; i < timers; i += 16 {
				id := fmt.Sprint("timer-", i)
				if err := durable.CallLater(testCtx(t), store, id, work, id, time.Duration(i)*2*time.Millisecond, durable.Group("g")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	arming.Wait()
	must(t, Node(testCtx(t), nodes["n1"]))
	if at := <-placed; at != "n2" {
		t.Error("the instance runs on", at)
	}
	_, err = names.Claim(testCtx(t), nodes["n2"], "orders", loopOf(t, nodes["n2"]))
	must(t, err)
	until(t, "all timers ran", func() bool { return one.Stats().Ran+two.Stats().Ran >= timers })
	moved := 0
	for i := range timers {
		id := fmt.Sprint("timer-", i)
		if n := count(id).Load(); n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
		moved += int(count(id + "@n2").Load())
	}
	t.Logf("%d of %d timers ran on the next owner", moved, timers)
}
