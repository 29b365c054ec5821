package clustertest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/loopnode"
)

var nap = cluster.Func("clustertest.nap", func(ctx context.Context, d time.Duration) (string, error) {
	n, _ := cluster.NodeOf(ctx)
	return n.Name(), loopnode.Sleep(ctx, d)
})

// TestHoursOfTwoNodes: in virtual time a call that takes an hour, a call for later and a
// deadline end at the exact times, and no node is given up meanwhile.
func TestHoursOfTwoNodes(t *testing.T) {
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Virtual(t, 2, nil)
		n1, n2 := c.Node("n1"), c.Node("n2")
		if _, err := n2.NewLoop("io-0", clustertest.VirtualLoop); err != nil {
			t.Fatal(err)
		}
		ref, err := n1.Ref("n2/io-0")
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if got, err := nap.Via(n1).Call(ctx, ref, time.Hour); got != "n2" || err != nil {
			t.Error(got, err)
		}
		if took := time.Since(from); took < time.Hour || took > time.Hour+time.Second {
			t.Errorf("a call of 1h took %v", took)
		}
		from = time.Now()
		short, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if _, err := nap.Via(n1).Call(short, ref, time.Hour); err == nil || time.Since(from) != time.Minute {
			t.Errorf("a call that ends by its deadline took %v: %v", time.Since(from), err)
		}
		if err := nap.Via(n1).CallLater(t.Context(), ref, time.Hour, 0); err != nil {
			t.Error(err)
		}
		<-time.After(time.Hour + time.Second)
		if s := n1.Stats(); s.NodesDown != 0 || s.Members != 2 || n2.Stats().CastsIn != 1 {
			t.Errorf("%+v", s)
		}
		c.Restart("n2")
		c.Together()
	})
	if took := time.Since(begun); took > 4*clustertest.Patience { // of a second, on a machine that has nothing else to do
		t.Errorf("two hours took %v", took)
	}
}

// TestFaultsInVirtualTime: what a test can do to a node over TCP, it can do in virtual time.
func TestFaultsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Virtual(t, 3, nil)
		c.Cut("n2")
		c.Eventually("n1 has given n2 up", func() bool { return !c.Knows("n1", "n2") })
		c.Heal("n2")
		c.Together()
		c.Unplug("n3")
		c.Eventually("n1 has given n3 up", func() bool { return !c.Knows("n1", "n3") })
		c.Heal("n3")
		c.Together()
		c.Delay("n1", 300*time.Millisecond)
		if _, err := c.Node("n2").NewLoop("io-0", clustertest.VirtualLoop); err != nil {
			t.Fatal(err)
		}
		ref, err := c.Node("n1").Ref("n2/io-0")
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if got, err := nap.Via(c.Node("n1")).Call(t.Context(), ref, 0); got != "n2" || err != nil {
			t.Error(got, err)
		}
		if took := time.Since(from); took < 600*time.Millisecond || took > time.Second {
			t.Errorf("there and back took %v", took)
		}
		before := c.Node("n1").Incarnation()
		c.Crash("n1")
		c.Restart("n1")
		c.Together()
		if c.Node("n1").Incarnation() == before {
			t.Error("it is the same life")
		}
	})
}

// TestVirtualLoopsHaveNoDescriptors: a test that watches one is told what to use.
func TestVirtualLoopsHaveNoDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Virtual(t, 1, nil)
		loop, err := c.Node("n1").NewLoop("io-0", clustertest.VirtualLoop)
		if err != nil {
			t.Fatal(err)
		}
		refused := make(chan error, 1)
		local, _ := loop.Local()
		if err := loop.CallSoonThreadsafe(func() { refused <- local.AddReader(0, func() {}) }); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; err == nil || !strings.Contains(err.Error(), "virtual time") {
			t.Errorf("a descriptor: %v", err)
		}
	})
}
