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
	table.close()
	if err := table.add(&pending{}); !errors.Is(err, fault.ErrClosed) {
		t.Error(err)
	}
}

func TestCallsGivenUpAreRememberedOncePerLife(t *testing.T) {
	var g givenUp
	g.init()
	for i := range 2 * maxGivenUp {
		g.note("m"+strconv.Itoa(i), 1, 5)
	}
	if got := len(g.byNode); got > maxGivenUp {
		t.Errorf("%d nodes are remembered", got)
	}
	g.note("back", 7, 5)
	if got := g.take("back", 7); got != 5 {
		t.Errorf("calls up to %d, want 5", got)
	}
	if got := g.take("back", 7); got != 0 {
		t.Errorf("told twice: %d", got)
	}
	g.note("other life", 7, 5)
	if got := g.take("other life", 8); got != 0 {
		t.Errorf("another life was told: %d", got)
	}
}
