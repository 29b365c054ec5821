package cluster

import (
	"context"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// follow gives the events of a node that are not about who comes and goes.
func follow(t *testing.T, n *Node) <-chan events.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, ended := make(chan events.Event, 100), make(chan struct{})
	begun := make(chan struct{})
	go func() {
		defer close(ended)
		next := n.Events(ctx)
		close(begun)
		for e := range next {
			if e.Kind >= events.Refused {
				out <- e
			}
		}
	}()
	<-begun
	t.Cleanup(func() { cancel(); <-ended })
	until(t, "the stream has begun", func() bool { return n.members.Counters().Followers > 0 })
	return out
}

// TestRefusalsAreEvents: what does not work between nodes is told by the same stream as
// the membership.
func TestRefusalsAreEvents(t *testing.T) {
	dir := keyFolder(t, keys.Node{Name: "n1"}, keys.Node{Name: "n2", Grants: []string{"none"}})
	nodes := closedGroup(t, dir, "n1", "n2")
	newLoop(t, nodes[0], "io-0")
	told := follow(t, nodes[0])
	want := func(kind events.Kind, member string) events.Event {
		t.Helper()
		for {
			e := receive(t, kind.String(), told)
			if e.Kind == kind {
				if e.Member.Name != member || e.Why == "" || e.Count == 0 || e.Time.IsZero() || e.Member.Self != (member == "n1") {
					t.Errorf("%v: %+v", kind, e)
				}
				return e
			}
		}
	}
	_, err := add.Via(nodes[1]).Call(testCtx(t), refTo(t, nodes[1], "n1/io-0"), sum{1, 2})
	wantIs(t, err, ErrRefused)
	want(events.Refused, "n2")
	_, err = Start(testCtx(t), Config{Name: "n1", Keys: dir, Join: []string{hostOf(t, nodes[0])}, Logger: quiet()})
	wantIs(t, err, ErrNameTaken)
	if e := want(events.Conflict, "n1"); e.Member.Incarnation == nodes[0].number {
		t.Errorf("the conflict names this life: %+v", e)
	}
	if err := nodes[0].engine.Control().Publish("somewhere.else", "", nil); err != nil {
		t.Fatal(err)
	}
	if e := want(events.Denied, "n1"); e.Why != "somewhere.else" {
		t.Errorf("denied: %q", e.Why)
	}
	nodes[0].connectionEvents().Slow("loopmesh.to.n1.1.>")
	want(events.Slow, "n1")
	f := &wire.Frame{Kind: wire.Sync, From: "n2", FromNumber: nodes[1].number, Path: "io-0", Flow: 1234, At: wire.Amount{Messages: 5, Bytes: 50}}
	if err := nodes[1].link.Send(peerOf(nodes[0]), f); err != nil {
		t.Fatal(err)
	}
	want(events.Gap, "n2")
}
