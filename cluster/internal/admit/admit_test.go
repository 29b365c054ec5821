package admit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// store is a limit and what has come under it, with nodes that write to it through gates of
// their own. Everything may be late: a reading shows what was so when it was made, and a
// write counts when it lands, some time after it was begun.
type store struct {
	t      *testing.T
	rnd    *rand.Rand
	copies uint64
	used   uint64
	stamp  uint64
	nodes  []*writer
	most   uint64 // cost of the largest write
	even   bool   // all writes are of one size
}

// writer is a node: what it has under way, and a reading that has not come back.
type writer struct {
	gate    *Gate
	flight  []Write
	landed  []Write // and not known to have ended
	looking bool
	seen    *Level
	looked  bool // since its last write
}

const storeLimit = 1 << 20

func newStore(t *testing.T, seed uint64, nodes int, copies uint64) *store {
	s := &store{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), copies: copies}
	for range nodes {
		s.nodes = append(s.nodes, &writer{gate: NewGate()})
	}
	return s
}

func (s *store) level() Level {
	s.stamp++
	return Level{Name: "all", Used: s.used, Limit: storeLimit, Stamp: s.stamp, Copies: s.copies}
}

// step lets one thing happen at a random node.
func (s *store) step(size int) {
	w := s.nodes[s.rnd.IntN(len(s.nodes))]
	switch s.rnd.IntN(5) {
	case 0: // a reading begins
		if !w.looking {
			w.looking = true
			w.gate.Reading()
		}
	case 1: // the server makes it, and later it arrives
		switch {
		case w.looking && w.seen == nil:
			l := s.level()
			w.seen = &l
		case w.seen != nil:
			w.gate.Read(0, len(s.nodes), []Level{*w.seen})
			w.looking, w.seen, w.looked = false, nil, true
		}
	case 2:
		write := Write{Bytes: size, Messages: 1}
		if !s.even {
			write.Bytes = 1 + s.rnd.IntN(size)
		}
		if v, _ := w.gate.Ask(0, More, write, w.looked); v == Go {
			w.gate.Begin(write)
			w.flight = append(w.flight, write)
			s.most = max(s.most, Level{Copies: s.copies}.cost(write))
			w.looked = false
		}
	case 3: // a write lands
		if n := len(w.flight); n > 0 {
			i := s.rnd.IntN(n)
			s.used += Level{Copies: s.copies}.cost(w.flight[i])
			w.landed = append(w.landed, w.flight[i])
			w.flight = append(w.flight[:i], w.flight[i+1:]...)
		}
	case 4: // its answer arrives
		if n := len(w.landed); n > 0 {
			w.gate.End(w.landed[n-1])
			w.landed = w.landed[:n-1]
		}
	}
}

// TestManyNodesNeverEatTheReserve is the invariant of the package, for random orders of
// writes, readings and answers of up to forty nodes.
func TestManyNodesNeverEatTheReserve(t *testing.T) {
	for seed := range uint64(300) {
		nodes := 1 + int(seed%40)
		size := []int{64, 1 << 10, 20 << 10}[seed%3]
		s := newStore(t, seed, nodes, 1+seed%2)
		l := Level{Limit: storeLimit, Copies: s.copies}
		mark := uint64(storeLimit) - l.reserve()
		for range 60_000 {
			s.step(size)
			over := max(l.reserve()/2, uint64(nodes-1)*s.most)
			if s.used > mark+over {
				t.Fatalf("seed %d: %d nodes have written %d of %d; the mark is %d, and the most above it %d", seed, nodes, s.used, storeLimit, mark, over)
			}
		}
		if seed%3 == 2 && nodes < 8 && s.used < mark/2 {
			t.Errorf("seed %d: %d nodes stopped at %d, far from the mark at %d", seed, nodes, s.used, mark)
		}
	}
}

// TestLargeWritesOfOneSizeStayBelowTheMark: each node makes one at a time, and only when
// every other node could do the same.
func TestLargeWritesOfOneSizeStayBelowTheMark(t *testing.T) {
	for seed := range uint64(60) {
		nodes := 4 + int(seed%12)
		s := newStore(t, seed, nodes, 1)
		s.even = true
		l := Level{Limit: storeLimit, Copies: 1}
		for range 20_000 {
			if s.step(20 << 10); s.used > storeLimit-l.reserve() {
				t.Fatalf("seed %d: %d nodes have written %d of %d", seed, nodes, s.used, storeLimit)
			}
		}
	}
}

// read gives a gate a reading of one level.
func read(g *Gate, nodes int, l Level) {
	g.Reading()
	g.Read(0, nodes, []Level{l})
}

func TestTheReserveIsForWhatEndsSomething(t *testing.T) {
	g := NewGate()
	one := Write{Bytes: 100, Messages: 1}
	if v, _ := g.Ask(0, More, one, false); v != Look {
		t.Error("a gate that knows nothing says", v)
	}
	read(g, 1, Level{Name: "messages", Used: 875, Limit: 1000, Stamp: 1})
	if v, full := g.Ask(0, More, one, true); v != Full || full.Name != "messages" {
		t.Error("more work at the mark:", v, full)
	}
	if v, _ := g.Ask(0, New, one, true); v != Go {
		t.Error("an owner for what waits:", v)
	}
	if g.Tight() {
		t.Error("tight with half of the reserve")
	}
	read(g, 1, Level{Name: "messages", Used: 940, Limit: 1000, Stamp: 2})
	if v, _ := g.Ask(0, New, one, true); v != Full || !g.Tight() {
		t.Error("an owner at its mark:", v, g.Tight())
	}
	read(g, 1, Level{Name: "messages", Used: 2000, Limit: 1000, Stamp: 3})
	if v, _ := g.Ask(0, More, one, true); v != Full {
		t.Error("far above the limit:", v)
	}
	read(g, 1, Level{Name: "messages", Used: 10, Limit: 0, Stamp: 4})
	if v, _ := g.Ask(0, More, Write{1 << 30, 1}, true); v != Go {
		t.Error("without a limit:", v)
	}
}

func TestAReadingIsFullOnlyForWhoLooked(t *testing.T) {
	g := NewGate()
	read(g, 1, Level{Name: "messages", Used: 1000, Limit: 1000, Stamp: 1})
	if v, _ := g.Ask(0, More, Write{1, 1}, false); v != Look {
		t.Error("refused by an old reading:", v)
	}
	if v, _ := g.Ask(2*fresh, New, Write{1, 1}, false); v != Look || !g.Stale(2*fresh) {
		t.Error("an old reading counts:", v)
	}
	read(g, 1, Level{Name: "messages", Used: 10, Limit: 1000, Stamp: 2})
	if v, _ := g.Ask(9*fresh, New, Write{1, 1}, true); v != Go {
		t.Error("what was read for a write does not count, because it took long:", v)
	}
}

// What was told (Pushed) may be older than a write that has ended since: it is counted until
// the second one that comes.
func TestAToldLevelForgetsAWriteLate(t *testing.T) {
	g := NewGate()
	disk := func(stamp uint64) {
		g.Reading()
		g.Read(0, 4, []Level{{Name: "disk", Limit: 1 << 20, Copies: 1, Stamp: stamp, Pushed: true}})
	}
	disk(1)
	big := Write{Bytes: 100 << 10, Messages: 1}
	if v, _ := g.Ask(0, More, big, false); v != Go {
		t.Fatal(v)
	}
	g.Begin(big)
	g.End(big)
	for _, c := range []struct {
		stamp uint64
		want  Verdict
	}{{1, Wait}, {2, Wait}, {3, Go}} {
		disk(c.stamp)
		if v, _ := g.Ask(0, More, big, true); v != c.want {
			t.Errorf("reading %d: %v, want %v", c.stamp, v, c.want)
		}
	}
}

func TestAReadingHoldsForASecond(t *testing.T) {
	g := NewGate()
	g.Read(5*time.Second, 1, nil)
	if g.Stale(5*time.Second+fresh) || !g.Stale(5*time.Second+fresh+1) {
		t.Error("how long a reading holds")
	}
}
