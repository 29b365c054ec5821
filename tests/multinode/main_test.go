package multinode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

// roles are what this program is instead of a test when a variable is set: files of
// one system add theirs.
var roles = map[string]func(value string) error{}

func addRole(variable string, role func(value string) error) struct{} {
	roles[variable] = role
	return struct{}{}
}

func TestMain(m *testing.M) {
	for variable, role := range roles {
		if value := os.Getenv(variable); value != "" {
			fmt.Fprintln(os.Stderr, role(value))
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(leaktest.Late{M: m}, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(workshop)
		os.Exit(code)
	}))
}

// workshop is where the program was built, if it was.
var workshop string

// patience bounds every wait of these tests; none of them is expected to use it.
const patience = time.Minute

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// join starts a node that ends with the test.
func join(t testing.TB, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Logger = hclog.NewNullLogger()
	n, err := cluster.Start(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func newLoop(t testing.TB, n *cluster.Node, name string) *loopnode.Loop {
	t.Helper()
	ref, err := n.NewLoop(name)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := ref.Local()
	return l
}

func refTo(t testing.TB, n *cluster.Node, address string) loopnode.Ref {
	t.Helper()
	ref, err := n.Ref(address)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// watched gives the notice of ref's end.
func watched(t testing.TB, n *cluster.Node, address string) <-chan cluster.Terminated {
	t.Helper()
	ended := make(chan cluster.Terminated, 2) // a second one would be a fault
	if _, err := n.Watch(refTo(t, n, address), func(e cluster.Terminated) { ended <- e }); err != nil {
		t.Fatal(err)
	}
	return ended
}

// wantEnd waits for the notice and its reason.
func wantEnd(t testing.TB, ended <-chan cluster.Terminated, reason error) {
	t.Helper()
	wantReason(t, receive(t, "a notice of an end", ended), reason)
}

func wantReason(t testing.TB, e cluster.Terminated, reason error) {
	t.Helper()
	if !errors.Is(e.Reason, reason) {
		t.Fatalf("%v ended by %v, want %v", e.Who, e.Reason, reason)
	}
}

func waitMembers(t testing.TB, n *cluster.Node, count int) {
	t.Helper()
	if err := n.WaitMembers(testCtx(t), count); err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
	return v
}

// until waits for a condition that somebody else brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still not so: %s", what)
		}
	}
}
