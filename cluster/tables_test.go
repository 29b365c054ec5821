package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

func TestEveryPendingCallHasATokenOfItsOwn(t *testing.T) {
	var table pendingTable
	table.init()
	seen := map[string]*pending{}
	for range 3 * slots {
		p := &pending{node: "n"}
		if err := table.add(p); err != nil {
			t.Fatal(err)
		}
		if seen[p.token] != nil {
			t.Fatalf("token %q twice", p.token)
		}
		seen[p.token] = p
	}
	for token, p := range seen {
		if got := table.takeToken(token); got != p {
			t.Fatalf("token %q gives %v", token, got)
		}
		if table.takeToken(token) != nil || table.take(p.id) != nil {
			t.Fatalf("token %q gives a call twice", token)
		}
	}
	for _, token := range []string{"", "x", "x!", "-1", "512", "9999999999999999999999"} {
		if table.takeToken(token) != nil {
			t.Errorf("token %q gives a call", token)
		}
	}
	if table.count() != 0 {
		t.Errorf("%d are left", table.count())
	}
	table.close(func(*pending) error { return ErrClosed })
	wantIs(t, table.add(&pending{}), ErrClosed)
}

func TestManyCallsAtOnce(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	far, absent := refTo(t, nodes[0], "n2/io-0"), refTo(t, nodes[0], "n9/io-0")
	var wg sync.WaitGroup
	for i := range 3 * slots {
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
	if s := nodes[0].Stats(); s.InFlight != 0 || s.Calls != 6*slots || s.CallsFailed != 3*slots || s.NoResponders < 3*slots {
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
	nodes := group(t, 2, func(c *Config) { c.Logger = log })
	newLoop(t, nodes[1], "io-0")
	if err := add.Via(nodes[0]).CallSoon(refTo(t, nodes[0], "n2/io-9"), sum{}); err != nil {
		t.Fatal(err)
	}
	lonely := &Function[sum, int]{name: "test.lonely", via: nodes[0]}
	if err := lonely.CallSoon(refTo(t, nodes[0], "n2/io-0"), sum{}); err != nil {
		t.Fatal(err)
	}
	until(t, "both are counted", func() bool { return nodes[1].Stats().CastsFailed == 2 })
	if !book.holds(`has no loop`) || book.holds("test.lonely") {
		t.Errorf("the first must be logged, the second within the same second not:\n%s", book.text.String())
	}
	for _, err := range []error{
		echo.Via(nodes[0]).CallSoon(refTo(t, nodes[0], "n2/io-0"), make([]byte, 2<<20)),
	} {
		wantIs(t, err, ErrTooLarge)
	}
	badFn := &Function[chan int, int]{name: "test.lonely", via: nodes[0]}
	wantIs(t, badFn.CallSoon(refTo(t, nodes[0], "n2/io-0"), nil), ErrBadPayload)
}

func TestErrorsOfTheConnectionAreLogged(t *testing.T) {
	book := &notebook{}
	n := start(t, Config{Name: "a", Logger: hclog.New(&hclog.LoggerOptions{Output: book})})
	n.connectionError(n.nc, n.subs[0], nats.ErrSlowConsumer)
	n.connectionError(n.nc, nil, errors.New("permissions violation"))
	if !book.holds("slow consumer") || !book.holds(n.subjects.all) || book.holds("permissions") {
		t.Errorf("got %s", book.text.String())
	}
	if n.stats.slow.Load() != 1 {
		t.Error("the slow consumer is not counted")
	}
}

func TestALogLineIsRareAndCountsTheOthers(t *testing.T) {
	var r rarely
	now := time.Now().UnixNano()
	if ok, more := r.allow(now); !ok || more != 0 {
		t.Error("the first one was kept back")
	}
	for range 5 {
		if ok, _ := r.allow(now + 1e8); ok {
			t.Error("one too many")
		}
	}
	if ok, more := r.allow(now + 2e9); !ok || more != 5 {
		t.Errorf("got %v, %d", ok, more)
	}
}

func TestAGoodbyeIsFinal(t *testing.T) {
	nodes := group(t, 1)
	hello := &wire.Frame{Kind: wire.Ping, From: "n7", FromNumber: 70}
	nodes[0].heard(hello)
	nodes[0].heard(&wire.Frame{Kind: wire.Goodbye, From: "n7", FromNumber: 70})
	nodes[0].heard(hello) // read late
	if m := nodes[0].Members(); len(m) != 1 {
		t.Errorf("members %+v", m)
	}
	nodes[0].heard(&wire.Frame{Kind: wire.Hello, From: "n7", FromNumber: 71})
	if m := nodes[0].Members(); len(m) != 2 {
		t.Errorf("members %+v", m)
	}
}

func TestWhatErrorsSay(t *testing.T) {
	cases := map[string]*RemoteError{
		"f on n2/io-0: unknown loop: node n2 has no loop": {Target: "n2/io-0", Function: "f", Message: "node n2 has no loop", code: wire.UnknownLoop},
		"n2: deadline passed":                             {Target: "n2", Message: "deadline passed", code: wire.Expired},
		"n2: payload too large":                           {Target: "n2", code: wire.TooLarge},
		"n2: my own words":                                {Target: "n2", Message: "my own words", code: wire.User},
		"n2: from the future":                             {Target: "n2", Message: "from the future", code: 999},
	}
	for want, err := range cases {
		if got := fmt.Sprint(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
