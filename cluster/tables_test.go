package cluster

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
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
	nodes := group(t, 2, func(c *Config) { c.Logger = log })
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
