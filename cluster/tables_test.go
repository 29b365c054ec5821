package cluster

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/wire"
)

func TestManyCallsAtOnce(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	far, absent := refTo(t, nodes[0], "n2/io-0"), refTo(t, nodes[0], "n9/io-0")
	var wg sync.WaitGroup
	for i := range 1536 {
		wg.Go(func() {
			if got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{i, i}); got != 2*i || err != nil {
				t.Errorf("%d: got %v, %v", i, got, err)
			}
			if _, err := add.Via(nodes[0]).Call(testCtx(t), absent, sum{}); !errors.Is(err, ErrUnknownNode) {
				t.Errorf("absent: %v", err)
			}
		})
	}
	wg.Wait()
	// Calls that look for the same absent node at the same time share one question.
	if s := nodes[0].Stats(); s.InFlight != 0 || s.Calls != 6*512 || s.CallsFailed != 3*512 || s.NoResponders == 0 {
		t.Errorf("%+v", s)
	}
}

// notebook is a log that a test can read.
type notebook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *notebook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *notebook) holds(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), s)
}

func TestACastThatCannotRunIsLoggedAndCounted(t *testing.T) {
	book := &notebook{}
	log := hclog.New(&hclog.LoggerOptions{Output: book, Level: hclog.Trace})
	nodes := group(t, 2, func(c *Config) {
		if c.Name == "n2" { // the sender, n1, says in its own time what it was told
			c.Logger = log
		}
	})
	newLoop(t, nodes[1], "io-0")
	if err := add.Via(nodes[0]).CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io-9"), sum{}); err != nil {
		t.Fatal(err)
	}
	lonely := &Function[sum, int]{name: "test.lonely", via: nodes[0]}
	if err := lonely.CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io-0"), sum{}); err != nil {
		t.Fatal(err)
	}
	until(t, "both are counted", func() bool { return nodes[1].Stats().CastsFailed == 2 })
	if !book.holds(`has no loop`) || book.holds("test.lonely") {
		t.Errorf("the first must be logged, the second within the same second not:\n%s", book.text.String())
	}
	for _, err := range []error{
		echo.Via(nodes[0]).CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io-0"), make([]byte, 2<<20)),
	} {
		wantIs(t, err, ErrTooLarge)
	}
	badFn := &Function[chan int, int]{name: "test.lonely", via: nodes[0]}
	wantIs(t, badFn.CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io-0"), nil), ErrBadPayload)
}

// TestWhatNonmembersMakeANodeKeepIsBounded: flows, watches and streams in the names of
// lives that no node lives. A member is served all the same.
func TestWhatNonmembersMakeANodeKeepIsBounded(t *testing.T) {
	nodes := group(t, 2)
	n1 := nodes[0]
	newLoop(t, n1, "io-0")
	nc := rawClient(t, n1)
	const lives = 2000
	before := n1.Stats().FramesIn
	for i := range uint64(lives) {
		from := wire.Frame{From: "x", FromNumber: i + 1, Flow: 1, ID: 1, Path: "io-0", At: wire.Amount{Messages: 1, Bytes: 1}}
		for _, kind := range []wire.Kind{wire.Sync, wire.Watch, wire.Stream} {
			f := from
			f.Kind, f.Op = kind, wire.Open
			publish(t, nc, toNode(n1, "x"), &f)
		}
	}
	until(t, "all have arrived", func() bool { return n1.Stats().FramesIn >= before+3*lives })
	if flows, watches := n1.inflows.Counters().Flows, n1.watches.Counters().Incoming; flows > 300 || watches > 300 {
		t.Errorf("%d flows and %d watches of %d lives are kept", flows, watches, lives)
	}
	if err := add.Via(nodes[1]).CallSoon(testCtx(t), refTo(t, nodes[1], "n1/io-0"), sum{1, 1}); err != nil {
		t.Error(err)
	}
	until(t, "a call of a member runs", func() bool { return n1.inflows.Counters().Flows > 0 && n1.Stats().CastsIn > 0 })
	watchInto(t, nodes[1], "n1/io-0")
	until(t, "a watch of a member stands", acked(nodes[1]))
}

// TestWhatOneNodeMakesAnotherHoldIsBounded: a node sends large calls without an answer to
// a loop that is stuck, each in a flow of its own, from several lives of its name, and ends
// the flows. What waits is bounded for all of them together, and the rest is refused.
func TestWhatOneNodeMakesAnotherHoldIsBounded(t *testing.T) {
	n1 := group(t, 1)[0]
	ref := newLoop(t, n1, "io-0")
	stuck, goOn := make(chan struct{}), make(chan struct{})
	if err := ref.CallSoonThreadsafe(func() { close(stuck); <-goOn }); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loop", stuck)
	nc := rawClient(t, n1)
	const flows, most = 250, 64 << 20
	payload := make([]byte, 500<<10)
	before := n1.Stats().FramesIn
	for i := range uint64(flows) {
		f := wire.Frame{Kind: wire.Cast, From: "x", FromNumber: i%2 + 1, Flow: i + 1, Path: "io-0", Function: "test.add", Op: wire.Soon, Codec: wire.Raw, Payload: payload}
		publish(t, nc, toNode(n1, "x"), &f)
		publish(t, nc, toNode(n1, "x"), &wire.Frame{Kind: wire.EndFlow, From: "x", FromNumber: i%2 + 1, Flow: i + 1})
		if i%16 == 15 { // a connection drops what its node is too slow to take: not what this is about
			until(t, "what was sent has arrived", func() bool { return n1.Stats().FramesIn >= before+2*(i+1) })
		}
	}
	until(t, "all have arrived", func() bool { return n1.Stats().FramesIn >= before+2*flows && n1.inflows.Counters().Flows == 0 })
	if n := n1.Stats().Dropped; n != 0 {
		t.Fatalf("%d messages were dropped on their way", n)
	}
	if c := n1.inflows.Counters(); c.Held > most || c.Held < most/2 || c.Overrun < flows/4 || c.Flows != 0 {
		t.Errorf("%+v of %d bytes in all", c, flows*len(payload))
	}
	close(goOn)
	until(t, "nothing waits any more", func() bool { return n1.inflows.Counters().Held == 0 })
	refused := n1.inflows.Counters().Overrun
	until(t, "those that were not refused have failed: their argument is no sum", func() bool { return n1.Stats().CastsFailed == flows-refused })
	publish(t, nc, toNode(n1, "x"), &wire.Frame{Kind: wire.Cast, From: "x", FromNumber: 1, Flow: 9999, Path: "io-0", Function: "test.add", Op: wire.Soon, Codec: wire.Raw, Payload: payload})
	until(t, "another one begins", func() bool { return n1.Stats().CastsFailed == flows-refused+1 })
	if now := n1.inflows.Counters().Overrun; now != refused {
		t.Errorf("%d were refused where there was room", now-refused)
	}
}
