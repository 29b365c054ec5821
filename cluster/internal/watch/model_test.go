package watch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

var (
	errStopped  = errors.New("stopped")
	errNodeDown = errors.New("node down")
	errUnknown  = errors.New("unknown")
)

// TestRandomWatches lets one node watch paths of another over a link that is cut
// again and again, that loses what is on its way then, and that delivers twice what
// was not sure to have arrived. The holding node may give the asking one up meanwhile.
// Every watch must end exactly once and with the right reason, and no sooner than
// its path or its node.
func TestRandomWatches(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 30
	}
	total := counts{}
	for seed := range seeds {
		w := newPair(t, seed)
		for range 400 {
			w.step()
		}
		w.settle()
		total.add(w.counts)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d runs: %+v", seeds, total)
	if total.watches == 0 || total.ended == 0 || total.cuts == 0 || total.forgotten == 0 || total.restarts == 0 || total.lost == 0 {
		t.Errorf("the runs did not meet what they are for: %+v", total)
	}
}

type counts struct{ watches, ended, cuts, lost, forgotten, restarts, taken int }

func (c *counts) add(o counts) {
	c.watches += o.watches
	c.ended += o.ended
	c.cuts += o.cuts
	c.lost += o.lost
	c.forgotten += o.forgotten
	c.restarts += o.restarts
	c.taken += o.taken
}

// pair is an asking node, a holding node and the link between them.
type pair struct {
	t        *testing.T
	rng      *rand.Rand
	now      time.Duration
	asker    Node
	holder   Node
	out      *Outgoing
	in       *Incoming
	alive    map[string]bool // paths of the holder
	lives    map[string]int  // how often something had that path
	ordered  map[string]bool // what the holder looks after
	there    []Message       // on the way to the holder
	back     []Message       // on the way to the asker
	up       bool
	next     uint64
	expected map[uint64]*expectation
	counts   counts
}

// expectation is what the asker knows of one watch.
type expectation struct {
	path string
	over bool // ended or taken back
	life int  // of the path when the holder first heard of it; 0: it has not
}

func newPair(t *testing.T, seed uint64) *pair {
	p := &pair{
		t: t, rng: rand.New(rand.NewPCG(seed, 3)), asker: Node{"a", 1}, holder: Node{"b", 1}, up: true,
		out: NewOutgoing(Defaults(time.Second)), alive: map[string]bool{}, lives: map[string]int{}, expected: map[uint64]*expectation{},
	}
	p.restartHolder()
	return p
}

func (p *pair) restartHolder() {
	p.in = NewIncoming(Defaults(time.Second))
	p.ordered = map[string]bool{}
	for i := range 5 {
		p.alive[fmt.Sprint("p", i)] = true
		p.lives[fmt.Sprint("p", i)]++
	}
}

func (p *pair) step() {
	p.now += time.Duration(p.rng.IntN(200)) * time.Millisecond
	switch p.rng.IntN(12) {
	case 0, 1, 2:
		p.watch()
	case 3:
		p.unwatch()
	case 4, 5:
		p.endPath(fmt.Sprint("p", p.rng.IntN(5)))
	case 6:
		p.cut()
	case 7:
		p.mend()
	case 8:
		if p.rng.IntN(6) == 0 {
			p.holderDies()
		}
	case 9:
		p.stranger()
	}
	p.out.Tick(p.now)
	p.in.Tick(p.now)
	p.carry()
}

// stranger claims that something has ended, and takes back what is not its own.
func (p *pair) stranger() {
	p.out.Terminated(Node{"evil", 6}, p.next, errStopped)
	p.out.Terminated(Node{"b", 999}, p.next, errStopped)
	p.out.Watching(Node{"evil", 6}, p.next)
	p.in.Unwatch(Node{"evil", 6}, p.next)
}

func (p *pair) watch() {
	p.next++
	p.counts.watches++
	path := fmt.Sprint("p", p.rng.IntN(6)) // p5 never exists
	p.expected[p.next] = &expectation{path: path}
	if err := p.out.Watch(p.now, p.next, p.holder, path); err != nil {
		p.t.Error(err)
	}
}

func (p *pair) unwatch() {
	if p.next == 0 {
		return
	}
	id := 1 + p.rng.Uint64N(p.next)
	if e := p.expected[id]; p.out.Unwatch(id) {
		p.counts.taken++
		if e.over {
			p.t.Errorf("watch %d was taken back after its end", id)
		}
		e.over = true
	}
}

func (p *pair) endPath(path string) {
	if !p.alive[path] {
		p.alive[path] = true // another one under the same path
		p.lives[path]++
		return
	}
	p.alive[path] = false
	if p.ordered[path] {
		delete(p.ordered, path)
		p.in.Ended(p.now, path, errStopped)
	}
}

// cut loses what is on its way.
func (p *pair) cut() {
	if !p.up {
		return
	}
	p.counts.cuts++
	p.up = false
	p.counts.lost += len(p.there) + len(p.back)
	if p.rng.IntN(3) > 0 {
		p.there = nil
	}
	if p.rng.IntN(3) > 0 {
		p.back = nil
	}
}

// mend connects the asker again. The holder may have given it up meanwhile.
func (p *pair) mend() {
	if p.up {
		return
	}
	if p.rng.IntN(2) == 0 {
		p.counts.forgotten++
		p.in.NodeDown(p.now, p.asker)
	}
	p.up = true
	p.out.Again(p.now)
}

// holderDies replaces the holder by another life of it.
func (p *pair) holderDies() {
	p.counts.restarts++
	p.there, p.back = nil, nil
	p.restartHolder()
	dead := p.holder
	p.holder.Incarnation++
	p.out.NodeDown(dead, errNodeDown)
}

// carry delivers some messages, in order, some of them twice.
func (p *pair) carry() {
	for {
		out, ended := p.out.Take()
		p.check(ended)
		held, orders := p.in.Take()
		if len(out)+len(held)+len(orders)+len(p.there)+len(p.back) == 0 {
			return
		}
		p.obey(orders)
		if p.up {
			p.there, p.back = append(p.there, out...), append(p.back, held...)
		}
		if p.rng.IntN(8) == 0 {
			return
		}
		p.deliver()
	}
}

func (p *pair) obey(orders []Order) {
	for _, o := range orders {
		switch {
		case !o.Begin:
			delete(p.ordered, o.Path)
		case p.alive[o.Path]:
			p.ordered[o.Path] = true
		default:
			p.in.Ended(p.now, o.Path, errUnknown)
		}
	}
}

func (p *pair) deliver() {
	there, back := p.there, p.back
	p.there, p.back = nil, nil
	for _, m := range there {
		for range 1 + p.rng.IntN(10)/9 {
			switch {
			case m.To != p.holder:
			case m.Kind == Watch:
				if x := p.expected[m.ID]; x.life == 0 {
					x.life = p.lives[m.Path]
				}
				p.in.Watch(p.now, p.asker, m.ID, m.Path)
			case m.Kind == Unwatch:
				p.in.Unwatch(p.asker, m.ID)
			}
		}
	}
	for _, m := range back {
		for range 1 + p.rng.IntN(10)/9 {
			if m.Kind == Watching {
				p.out.Watching(p.holder, m.ID)
			} else {
				p.out.Terminated(p.holder, m.ID, m.Reason)
			}
		}
	}
}

func (p *pair) check(ended []Ended) {
	for _, e := range ended {
		p.counts.ended++
		x := p.expected[e.ID]
		switch {
		case x.over:
			p.t.Errorf("watch %d ended twice, now: %v", e.ID, e.Reason)
		case errors.Is(e.Reason, errStopped) && x.life == p.lives[x.path] && p.alive[x.path]:
			p.t.Errorf("watch %d ended although %s lives", e.ID, x.path)
		case errors.Is(e.Reason, ErrLimit):
			p.t.Errorf("watch %d: %v", e.ID, e.Reason)
		}
		x.over = true
	}
}

// settle mends the link and waits: then both sides know the same watches.
func (p *pair) settle() {
	p.mend()
	for range 20 {
		p.now += time.Second
		p.out.Tick(p.now)
		p.in.Tick(p.now)
		for range 20 {
			p.carry()
		}
	}
	for id, x := range p.expected {
		switch {
		case x.over && p.in.byKey[key{p.asker, id}] != nil && !p.up:
			p.t.Errorf("watch %d is over and still kept", id)
		case !x.over && !p.alive[x.path]:
			p.t.Errorf("watch %d of %s has not ended, its path has", id, x.path)
		case !x.over && p.in.byKey[key{p.asker, id}] == nil:
			p.t.Errorf("watch %d of %s is not kept", id, x.path)
		case !x.over && x.life != p.lives[x.path]:
			p.t.Errorf("watch %d of %s is of life %d, now it is %d", id, x.path, x.life, p.lives[x.path])
		case !x.over && !p.ordered[x.path]:
			p.t.Errorf("nobody looks after %s", x.path)
		}
	}
	p.in.Tick(p.now + 11*time.Minute) // what was taken back while the link was cut is still parked
	for _, w := range p.in.byKey {
		if w.ended || w.parked {
			p.t.Errorf("the notice of watch %d was never answered", w.key.id)
		}
	}
}
