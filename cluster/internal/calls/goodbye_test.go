package calls

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

func newLink() *link.Link {
	return link.New(link.Self{Name: "n"}, hclog.NewNullLogger(), 1, link.Handlers{})
}

// TestWhatAGoodbyeSays: the id above the newest call that came; nothing is claimed as long as
// calls are taken, and never again when something about a node was forgotten.
func TestWhatAGoodbyeSays(t *testing.T) {
	in := NewIncoming(newLink(), nil, InLimits{}, nil)
	arrive := func(from string, ids ...uint64) {
		for _, id := range ids {
			in.arrivalLocked(callKey{from, 1, id})
		}
	}
	a, b, other := link.Peer{Name: "a", Number: 1}, link.Peer{Name: "b", Number: 1}, link.Peer{Name: "a", Number: 2}
	arrive("a", 7, 9, 8)
	if got := in.Unseen(a); got != 0 {
		t.Errorf("it takes calls and claims %d", got)
	}
	in.Refuse()
	arrive("a", 11)
	for peer, want := range map[link.Peer]uint64{a: 12, b: 1, other: 1} {
		if got := in.Unseen(peer); got != want {
			t.Errorf("to %v it says %d, want %d", peer, got, want)
		}
	}
	in.NodeDown(b)
	if got := in.Unseen(a); got != 12 {
		t.Errorf("a node that never called is gone: %d", got)
	}
	in.NodeDown(a)
	if got := in.Unseen(a); got != 0 {
		t.Errorf("a node that was given up may be back, and %d is claimed", got)
	}
}

// TestWhoHearsThatItNeverBegan: calls to that life of that node, from the id on; no other request.
func TestWhoHearsThatItNeverBegan(t *testing.T) {
	o := &Outgoing{}
	o.table.init(newLink())
	peer := link.Peer{Name: "a", Number: 1}
	var all []*pending
	for _, p := range []*pending{
		{kind: wire.Call, peer: peer}, {kind: wire.Call, peer: peer}, {kind: wire.Call, peer: peer}, {kind: wire.TransportOp, peer: peer},
		{kind: wire.Call, peer: link.Peer{Name: "a", Number: 2}}, {kind: wire.Call, peer: link.Peer{Name: "b", Number: 1}},
	} {
		w, err := wait.New[answer](context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p.waiter, p.target, p.function = w, "a/io", "f"
		if err := o.table.add(p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	o.NeverBegan(peer, 0)
	if o.table.count() != len(all) {
		t.Fatal("a goodbye that claims nothing ends calls")
	}
	o.NeverBegan(peer, all[1].id)
	for i, p := range all {
		left := o.table.take(p.id) != nil
		if ended := i == 1 || i == 2; left == ended {
			t.Errorf("request %d: left %v", i, left)
		}
	}
	a, err := all[1].waiter.Wait(context.Background())
	if err != nil || !fault.NothingRan(a.err, "a/io", "f") || !errors.Is(a.err, fault.ErrLeaving) || !errors.Is(a.err, fault.ErrClosed) {
		t.Errorf("it hears %v, %v", a.err, err)
	}
}
