package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/flows"
	"github.com/loopmesh/loopmesh/loopnode"
)

// How many calls the tests of this file send, and for how long a loop is stuck; make
// prove-casts sends 2,000,000 and lets it be stuck for 5 s.
var (
	castStuck  = flag.Duration("stuck", 0, "for how long a loop is stuck at least")
	castCount  = flag.Int("casts", 300_000, "calls without an answer to send")
	castsLimit = 10 * time.Minute // for the whole of them; nothing is expected to take long
)

// tally counts the calls that have run, and whether they ran in order.
type tally struct {
	ran, wrong atomic.Int64
	last       int // loop goroutine
}

var (
	tallies atomic.Pointer[tally]
	count   = Func("test.count", func(_ context.Context, i int) (struct{}, error) {
		t := tallies.Load()
		if i != t.last+1 {
			t.wrong.Add(1)
		}
		t.last = i
		t.ran.Add(1)
		return struct{}{}, nil
	})
)

func newTally() *tally {
	t := &tally{}
	tallies.Store(t)
	return t
}

// blockLoop holds up a loop in a callback until release is called.
func blockLoop(t testing.TB, post func(func()) error) (release func()) {
	t.Helper()
	gate, blocked := make(chan struct{}), make(chan struct{})
	if err := post(func() { close(blocked); <-gate }); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loop to be stuck", blocked)
	return func() { close(gate) }
}

// growth returns how many bytes the process has got from the system since.
func growth() func() int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	return func() int64 {
		runtime.ReadMemStats(&after)
		return int64(after.Sys) - int64(before.Sys)
	}
}

const growthLimit = 64 << 20

// patient lets a node be silent for long before it counts as dead: these tests use the
// whole machine, and are not about that.
func patient(c *Config) { c.Heartbeat, c.DeadAfter = time.Second, patience }

func castMany(ctx context.Context, n *Node, address string, total int) error {
	ref, err := n.Ref(address)
	for i := 1; i <= total && err == nil; i++ {
		err = count.Via(n).CallSoon(ctx, ref, i)
	}
	return err
}

func TestAPlainLoopOfCallSoonLosesNothing(t *testing.T) {
	_, port := natsServer(t, 0)
	for name, change := range map[string]func(*Config){
		"in process": func(*Config) {},
		"loopback":   func(c *Config) { c.Beside, c.URL = nil, natsURL(port) },
	} {
		t.Run(name, func(t *testing.T) {
			nodes := group(t, 2, change, patient)
			newLoop(t, nodes[1], "io")
			have, grown := newTally(), growth()
			ctx, cancel := context.WithTimeout(context.Background(), castsLimit)
			defer cancel()
			begin := time.Now()
			if err := castMany(ctx, nodes[0], "n2/io", *castCount); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if t.Failed() {
					t.Logf("%d have run; from %+v; to %+v", have.ran.Load(), nodes[0].Stats(), nodes[1].Stats())
				}
			}()
			untilRan(t, &have.ran, int64(*castCount))
			t.Logf("%.0f k/s run; %d MiB more", float64(*castCount)/time.Since(begin).Seconds()/1000, grown()>>20)
			wantNothingLost(t, nodes, have)
			if g := grown(); g > growthLimit {
				t.Errorf("the process has grown by %d MiB", g>>20)
			}
		})
	}
}

// TestACallSoonAllocatesLittle: two allocations, its task and its argument, on both sides
// together. The rest is room for what else a node does, and for the race detector.
func TestACallSoonAllocatesLittle(t *testing.T) {
	const most, total = 6, 20_000
	nodes := group(t, 2, patient)
	newLoop(t, nodes[1], "io")
	run := func() {
		have := newTally()
		if err := castMany(testCtx(t), nodes[0], "n2/io", total); err != nil {
			t.Fatal(err)
		}
		until(t, "all have run", func() bool { return have.ran.Load() == total })
	}
	run() // what is kept for the next ones is made
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	if n := float64(after.Mallocs-before.Mallocs) / total; n > most {
		t.Errorf("%.1f allocations for a call", n)
	}
}

func wantNothingLost(t *testing.T, nodes []*Node, have *tally) {
	t.Helper()
	from, to := nodes[0].Stats(), nodes[1].Stats()
	if from.Lost+from.Refusals+to.Missing+to.CastsFailed+to.Dropped != 0 || have.wrong.Load() != 0 {
		t.Errorf("%d were not in order; %+v; %+v", have.wrong.Load(), from, to)
	}
}

func TestAStuckLoopSlowsItsOwnSendersOnly(t *testing.T) {
	nodes := group(t, 2, patient)
	ref := newLoop(t, nodes[1], "stuck")
	newLoop(t, nodes[1], "idle")
	newLoop(t, nodes[0], "io")
	have, grown := newTally(), growth()
	release, stuck := blockLoop(t, ref.CallSoonThreadsafe), time.After(*castStuck)
	ctx, cancel := context.WithTimeout(context.Background(), castsLimit)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- castMany(ctx, nodes[0], "n2/stuck", *castCount) }()
	// The first window is smaller than the one that the other node grants then.
	until(t, "the whole window is used", func() bool { return nodes[0].Stats().UnderWay == flows.Window.Messages })

	far := refTo(t, nodes[0], "n2/stuck")
	wantIs(t, count.Via(nodes[0]).TryCallSoon(ctx, far, 0), ErrNoCredit)
	brief, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	wantIs(t, count.Via(nodes[0]).CallSoon(brief, far, 0), ErrNoCredit, context.DeadlineExceeded)

	// The other loop of the same node takes calls, and calls without an answer.
	idle := refTo(t, nodes[0], "n2/idle")
	for i := range 10_000 {
		if err := castSlow.Via(nodes[0]).CallSoon(testCtx(t), idle, i); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, "a call of the idle loop", castLog); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	if got, err := add.Via(nodes[0]).Call(testCtx(t), idle, sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if s := nodes[0].Stats(); s.UnderWay > 2*flows.Window.Messages { // of two loops
		t.Errorf("%d are under way", s.UnderWay)
	}
	<-stuck
	release()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	untilRan(t, &have.ran, int64(*castCount))
	wantNothingLost(t, nodes, have)
	if g := grown(); g > growthLimit {
		t.Errorf("the process has grown by %d MiB", g>>20)
	}
}

var swallow = Func("test.swallow", func(_ context.Context, b []byte) (struct{}, error) {
	tallies.Load().ran.Add(int64(len(b)))
	return struct{}{}, nil
})

// TestLargeMessagesDisconnectNobody sends a MiB at a time as fast as it goes, to a
// loop that takes it and to one that is stuck at first.
func TestLargeMessagesDisconnectNobody(t *testing.T) {
	_, port := natsServer(t, 0)
	nodes := group(t, 2, func(c *Config) { c.Beside, c.URL, c.MaxPayload = nil, natsURL(port), 1<<20-8<<10 }, patient)
	ref := newLoop(t, nodes[1], "stuck")
	newLoop(t, nodes[1], "idle")
	have, grown := newTally(), growth()
	release := blockLoop(t, ref.CallSoonThreadsafe)
	const each, total = 1<<20 - 8<<10, 600
	// The sender to the stuck loop waits until the other one has finished.
	ctx, cancel := context.WithTimeout(context.Background(), castsLimit)
	defer cancel()
	sent := make(chan error, 2)
	for _, address := range []string{"n2/stuck", "n2/idle"} {
		go func() {
			far, err := nodes[0].Ref(address)
			for i := 0; i < total && err == nil; i++ {
				err = swallow.Via(nodes[0]).CallSoon(ctx, far, make([]byte, each))
			}
			sent <- err
		}()
	}
	if err := <-sent; err != nil { // the one to the idle loop
		t.Fatal(err)
	}
	release()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	untilRan(t, &have.ran, 2*total*each)
	wantNothingLost(t, nodes, have)
	for _, n := range nodes {
		if s := n.Stats(); s.Disconnects != 0 || s.NodesDown != 0 {
			t.Errorf("%s: %+v", n.Name(), s)
		}
	}
	t.Logf("%d MiB more", grown()>>20)
}

func TestWhatDoesNotRunIsToldToItsSender(t *testing.T) {
	losses := make(chan Loss, 100)
	nodes := group(t, 2, func(c *Config) { c.OnLoss = func(l Loss) { losses <- l } })
	ref := newLoop(t, nodes[1], "io")
	far, f := refTo(t, nodes[0], "n2/io"), castSlow.Via(nodes[0])
	expect := func(what string, count uint64, reason error) {
		t.Helper()
		got := uint64(0)
		for got < count {
			l := receive(t, what, losses)
			wantIs(t, l.Reason, reason)
			got += l.Count
		}
		if got != count {
			t.Errorf("%s: %d are told, want %d", what, got, count)
		}
	}
	for range 3 {
		if err := f.CallSoon(testCtx(t), refTo(t, nodes[0], "n2/nowhere"), 1); err != nil {
			t.Fatal(err)
		}
	}
	expect("no such loop", 3, ErrUnknownLoop)
	lonely := &Function[sum, int]{name: "test.lonely", via: nodes[0]}
	if err := lonely.CallSoon(testCtx(t), far, sum{}); err != nil {
		t.Fatal(err)
	}
	expect("no such function", 1, ErrUnknownFunction)

	release := blockLoop(t, func(fn func()) error {
		return ref.CallSoonThreadsafe(func() { fn(); panic(loopnode.Fatal(errShut)) })
	})
	for i := range 5 {
		if err := f.CallSoon(testCtx(t), far, i); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "they wait there", func() bool { return nodes[1].Stats().Inbound == 5 })
	release()
	expect("the loop ends before they begin", 5, ErrClosed)
	if s := nodes[0].Stats(); s.Refusals != 9 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTimersDoNotCloseANode(t *testing.T) {
	losses := make(chan Loss, 10)
	nodes := group(t, 2, func(c *Config) {
		c.MaxInbound, c.MaxTimers = 100, 1000
		c.OnLoss = func(l Loss) { losses <- l }
	})
	newLoop(t, nodes[1], "io")
	far, f := refTo(t, nodes[0], "n2/io"), castSlow.Via(nodes[0])
	for range 1000 {
		if err := f.CallLater(testCtx(t), far, 24*time.Hour, 1); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all wait", func() bool { return nodes[1].Stats().Timers == 1000 })
	if got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if err := f.CallSoon(testCtx(t), far, 7); err != nil || receive(t, "a call", castLog) != 7 {
		t.Error(err)
	}
	if err := f.CallLater(testCtx(t), far, time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	if l := receive(t, "one too many", losses); l.Count != 1 || !errors.Is(l.Reason, ErrBusy) {
		t.Errorf("%+v", l)
	}
}

// TestAStuckLoopClosesNoOther: the limit of unfinished calls is of each loop.
func TestAStuckLoopClosesNoOther(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.MaxInbound = 10 })
	newLoop(t, nodes[1], "full")
	newLoop(t, nodes[1], "idle")
	full := refTo(t, nodes[0], "n2/full")
	ctx, cancel := context.WithCancel(testCtx(t))
	ended := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := naps.Via(nodes[0]).Call(ctx, full, time.Hour)
			ended <- err
		}()
	}
	until(t, "it is full", func() bool { return nodes[1].Stats().Inbound == 10 })
	_, err := add.Via(nodes[0]).Call(testCtx(t), full, sum{})
	wantIs(t, err, ErrBusy)
	if got, err := add.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/idle"), sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	cancel()
	for range 10 {
		receive(t, "the end of a call", ended)
	}
}

// TestTooManyRunningCastsWait: a loop that runs as many as it may takes no more, and
// its senders wait; nothing is refused.
func TestTooManyRunningCastsWait(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.MaxInbound = 5 })
	newLoop(t, nodes[1], "io")
	far := refTo(t, nodes[0], "n2/io")
	const total = 3000
	open := &atomic.Bool{}
	gate.Store(open)
	before := gateOut.Load()
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < total && err == nil; i++ {
			err = gated.Via(nodes[0]).CallSoon(testCtx(t), far, i)
		}
		sent <- err
	}()
	until(t, "its sender waits", func() bool { return nodes[0].Stats().CastsWaited > 0 })
	if n := gateIn.Load() - before; n > 5 {
		t.Errorf("%d run at once", n)
	}
	open.Store(true)
	if err := receive(t, "all are sent", sent); err != nil {
		t.Fatal(err)
	}
	until(t, "all have run", func() bool { return gateOut.Load()-before == total })
	until(t, "the last one counts as ended", func() bool { return nodes[1].Stats().Inbound == 0 })
	if s := nodes[1].Stats(); s.CastsFailed != 0 {
		t.Errorf("%+v", s)
	}
}

var (
	gate            atomic.Pointer[atomic.Bool] // open: the calls may end
	gateIn, gateOut atomic.Int64
	gated           = Func("test.gated", func(ctx context.Context, i int) (struct{}, error) {
		gateIn.Add(1)
		defer gateOut.Add(1)
		for {
			if gate.Load().Load() {
				return struct{}{}, nil
			}
			if err := sleepBriefly(ctx); err != nil {
				return struct{}{}, fmt.Errorf("call %d: %w", i, err)
			}
		}
	})
)

func sleepBriefly(ctx context.Context) error { return loopnode.Sleep(ctx, 10*time.Millisecond) }
