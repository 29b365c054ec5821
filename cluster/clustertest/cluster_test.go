package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

var twice = cluster.Func("clustertest.twice", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// withLoop gives each node a loop io-0.
func withLoop(_ string, cfg *cluster.Config) {
	cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
		_, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
		return err
	}
}

func call(c *Cluster, from, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ref, err := c.Node(from).Ref(to + "/io-0")
	if err != nil {
		return err
	}
	got, err := twice.Via(c.Node(from)).Call(ctx, ref, 4)
	if err == nil && got != 8 {
		err = fmt.Errorf("twice 4 is %d", got)
	}
	return err
}

func TestWhatATestCanDoToANode(t *testing.T) {
	c := New(t, 3, withLoop)
	if err := call(c, "n1", "n3"); err != nil {
		t.Fatal(err)
	}
	c.Delay("n3", 100*time.Millisecond)
	begin := time.Now()
	if err := call(c, "n1", "n3"); err != nil || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("a call to a node whose proxy is slow: %v after %v", err, time.Since(begin))
	}
	c.Delay("n3", 0)

	c.Cut("n2")
	c.Eventually("n1 and n3 have given n2 up", func() bool { return !c.Knows("n1", "n2") && !c.Knows("n3", "n2") })
	if err := call(c, "n1", "n3"); err != nil {
		t.Errorf("a call of those that are not cut off: %v", err)
	}
	if !c.Knows("n1", "n3") || !c.Knows("n3", "n1") {
		t.Error("those that are not cut off took each other for dead")
	}
	c.Heal("n2")
	c.Together()
	if err := call(c, "n2", "n1"); err != nil {
		t.Error(err)
	}

	c.Unplug("n1")
	c.Eventually("n1 knows that it is off", func() bool { return errors.Is(call(c, "n1", "n2"), cluster.ErrDisconnected) })
	c.Heal("n1")
	c.Together()

	old := c.Node("n3").Incarnation()
	c.Crash("n3")
	c.Together()
	c.Restart("n3")
	c.Together()
	if c.Node("n3").Incarnation() <= old {
		t.Error("the next life of n3 is not a later one")
	}
	if err := call(c, "n1", "n3"); err != nil {
		t.Error(err)
	}
}

// failing is a T that notes a failure.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper()                           {}
func (f *failing) Fatalf(format string, args ...any) { f.text = fmt.Sprintf(format, args...) }

func TestAFailurePrintsWhatEachNodeKnows(t *testing.T) {
	c := New(t, 2, withLoop)
	c.Crash("n2")
	c.Cut("n1")
	f := &failing{}
	c.t = f
	c.Node("n2")
	if !strings.Contains(f.text, "n2 was crashed: call Restart") {
		t.Error(f.text)
	}
	got := c.report()
	for _, words := range []string{"n1, proxy cut", "members n1@", "loops   io-0", "n2, proxy unplugged: crashed", "times lost"} {
		if !strings.Contains(got, words) {
			t.Errorf("%q is not in\n%s", words, got)
		}
	}
	c.t = t
}
