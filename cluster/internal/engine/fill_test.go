package engine

import (
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
)

// TestAMajorityHasRoom: what counts is the last server that a majority needs, the emptiest
// first. A voter with a full disk does not count, two of three do.
func TestAMajorityHasRoom(t *testing.T) {
	level := func(name string, used uint64) admit.Level { return admit.Level{Name: name, Used: used, Limit: 100} }
	for _, c := range []struct {
		voters int
		used   []uint64
		want   string
	}{
		{0, []uint64{10}, "a"}, {1, []uint64{100}, "a"}, {3, []uint64{100, 20, 10}, "b"}, {3, []uint64{100, 10, 100}, "a"},
		{3, []uint64{10}, ""}, {5, []uint64{100, 100, 3, 2, 1}, "c"}, {1, nil, ""},
	} {
		var all []admit.Level
		for i, u := range c.used {
			all = append(all, level(string(rune('a'+i)), u))
		}
		got := ofMajority(all, c.voters)
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || got[0].Name != c.want) {
			t.Errorf("%d voters with %v: %v, want %q", c.voters, c.used, got, c.want)
		}
	}
}

func TestWhatServersSayOfTheirStores(t *testing.T) {
	var f fills
	now := time.Now()
	f.take("n1", &fill{Used: 1, Limit: 10}, now)
	f.take("n1", &fill{Used: 2, Limit: 10}, now)
	f.take("n2", &fill{Used: 3, Limit: 10}, now.Add(-2*fillKept))
	known := f.known(now)
	if len(known) != 1 || known[0].Used != 2 || known[0].Stamp != 2 || !known[0].Pushed {
		t.Errorf("%+v", known)
	}
	f.take("n1", nil, now)
	if known := f.known(now); len(known) != 0 {
		t.Errorf("a server without a store: %+v", known)
	}
	for i := range 2 * maxSpeaker {
		f.take(string(rune('a'+i)), &fill{}, now)
	}
	if len(f.told) > maxSpeaker {
		t.Errorf("%d servers are remembered", len(f.told))
	}
}

// TestAStoreTellsHowFullItIs: to the node that has it, to one beside it, and to a client.
func TestAStoreTellsHowFullItIs(t *testing.T) {
	a := opened(t, Config{Node: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	beside := opened(t, Config{Node: "b", Beside: a})
	client := opened(t, Config{Node: "c", Join: []string{a.URL()}})
	for _, e := range []*Engine{a, beside, client} {
		var levels []admit.Level
		until(t, "a server has said how full its store is", func() bool { levels = e.Stores(); return len(levels) > 0 })
		if l := levels[0]; l.Limit == 0 || l.Used > l.Limit || l.Copies != 1 || l.Name != "the store of server a" {
			t.Errorf("%v: %+v", e, l)
		}
	}
	if levels := opened(t, Config{Node: "d"}).Stores(); len(levels) != 0 {
		t.Errorf("a node without a store: %+v", levels)
	}
}
