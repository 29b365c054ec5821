package cluster

import (
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
)

// TestTheEndOfAnActorElsewhereReadsAsHere: an actor of another node that ends without a
// failure gives ErrStopped itself, as one of this process does, and a failure names the
// actor and not its node alone.
func TestTheEndOfAnActorElsewhereReadsAsHere(t *testing.T) {
	nodes := group(t, 2)
	loop := newLoop(t, nodes[1], "io")
	ends := make(chan actors.Terminated, 1)
	watch := func(name string) actors.Ref {
		t.Helper()
		far := spawnOn(t, nodes[1], loop, name, parrot)
		nodes[0].Actors().Watch(far, func(e actors.Terminated) { ends <- e })
		return far
	}
	nodes[0].Actors().Stop(watch("stopped"))
	if e := receive(t, "the end of the one that is stopped", ends); e.Reason != actors.ErrStopped {
		t.Errorf("the reason is %v, which is not ErrStopped itself", e.Reason)
	}
	failing := watch("failing")
	if err := nodes[0].Actors().Send(failing, hail{"panic"}); err != nil {
		t.Fatal(err)
	}
	e := receive(t, "the end of the one that fails", ends)
	wantIs(t, e.Reason, ErrPanic)
	if !strings.HasPrefix(e.Reason.Error(), "n2/failing: ") {
		t.Errorf("the reason is %q, which does not begin with the actor", e.Reason)
	}
	_, err := nodes[0].Actors().Ask(testCtx(t), actors.RefOf(actors.Address{Node: "n2", Path: "nobody"}), hail{})
	wantIs(t, err, actors.ErrUnknown)
	if !strings.Contains(err.Error(), "/nobody") {
		t.Errorf("the error is %q, which does not say whom nobody found", err)
	}
}
