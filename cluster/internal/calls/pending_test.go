package calls

import (
	"errors"
	"strconv"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

func TestEveryPendingCallHasATokenOfItsOwn(t *testing.T) {
	var table table
	table.init(link.New(link.Self{Name: "n"}, hclog.NewNullLogger(), 1, link.Handlers{}))
	seen := map[string]*pending{}
	for range 3 * slots {
		p := &pending{}
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
	table.close()
	if err := table.add(&pending{}); !errors.Is(err, fault.ErrClosed) {
		t.Error(err)
	}
}

func TestCallsGivenUpAreRememberedOncePerLife(t *testing.T) {
	var g givenUp
	g.init()
	for i := range 2 * maxGivenUp {
		g.note(link.Peer{Name: "m" + strconv.Itoa(i), Number: 1}, 5)
	}
	if got := len(g.byPeer); got > maxGivenUp {
		t.Errorf("%d nodes are remembered", got)
	}
	back := link.Peer{Name: "back", Number: 7}
	g.note(back, 5)
	if got := g.take(back); got != 5 {
		t.Errorf("calls up to %d, want 5", got)
	}
	if got := g.take(back); got != 0 {
		t.Errorf("told twice: %d", got)
	}
	g.note(back, 5)
	if got := g.take(link.Peer{Name: "back", Number: 8}); got != 0 {
		t.Errorf("another life was told: %d", got)
	}
}

// TestAnAnswerCountsFromTheNodeThatWasAsked: ids are counted up, so another node can
// guess one.
func TestAnAnswerCountsFromTheNodeThatWasAsked(t *testing.T) {
	var table table
	table.init(link.New(link.Self{Name: "n"}, hclog.NewNullLogger(), 1, link.Handlers{}))
	p := &pending{peer: link.Peer{Name: "asked", Number: 3}}
	if err := table.add(p); err != nil {
		t.Fatal(err)
	}
	if got := table.takeFrom(p.id, "another"); got != nil {
		t.Fatal("an answer of another node is taken")
	}
	if got := table.takeFrom(p.id, "asked"); got != p {
		t.Fatalf("the answer of the node that was asked gives %v", got)
	}
}

// TestASlotIsUsedAgain: when its call has ended. A reply subject of its own for each call
// would never be in the server's cache.
func TestASlotIsUsedAgain(t *testing.T) {
	var table table
	table.init(link.New(link.Self{Name: "n"}, hclog.NewNullLogger(), 1, link.Handlers{}))
	for range 3 * slots {
		p := &pending{}
		if err := table.add(p); err != nil {
			t.Fatal(err)
		}
		if i, err := strconv.Atoi(p.token); err != nil || uint64(i) != p.id%slots {
			t.Fatalf("call %d, the only one that waits, has the token %q", p.id, p.token)
		}
		table.take(p.id)
	}
}
