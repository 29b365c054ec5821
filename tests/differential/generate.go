package differential

import (
	"math/rand/v2"
	"slices"
)

// drawer draws a program.
type drawer struct {
	*rand.Rand
	p    *Program
	next int    // the next step's ID
	less string // an op that is not drawn
}

const longestSleep = 1 << 9

// Generate draws the program of a seed: always the same one. It has no op called less.
func Generate(seed uint64, less string) *Program {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1)), p: &Program{Seed: seed}, less: less}
	p := d.p
	p.Futures, p.Events, p.Locks = 1+d.IntN(4), 1+d.IntN(2), 1+d.IntN(2)
	p.Semaphores, p.Queues, p.Barriers = []int{d.IntN(3)}, []int{d.IntN(3)}, []int{1 + d.IntN(3)}
	tasks, callbacks := 3+d.IntN(6), 2+d.IntN(5)
	p.Tasks, p.Callbacks = make([]Block, tasks), make([]Block, callbacks)
	for i := range p.Callbacks {
		p.Callbacks[i] = d.block(1+d.IntN(4), place{callback: true, body: i})
	}
	for i := range p.Tasks {
		n := 2 + d.IntN(8)
		if i == 0 {
			n += 6
		}
		p.Tasks[i] = d.block(n, place{body: i})
	}
	p.End = longestSleep * 4000000
	return p
}

// place is where a step stands.
type place struct {
	callback bool
	body     int
	depth    int
	grouped  bool // within a group: spawn makes its tasks
}

func (d *drawer) block(n int, at place) Block {
	b := make(Block, 0, n)
	for range n {
		b = append(b, d.step(at))
	}
	return b
}

func (d *drawer) step(at place) Step {
	ops := taskOps
	if at.callback {
		ops = callbackOps
	}
	op := ops[d.IntN(len(ops))]
	if !at.callback && at.depth == 0 && at.body < 2 && d.IntN(3) == 0 {
		op = "spawn" // or there would be nobody to meet
	}
	s := Step{ID: d.next, Op: op, D: d.time()}
	d.next++
	if at.depth > 2 && nests(s.Op) || s.Op == d.less {
		s.Op = "log"
	}
	s.Catch = []string{"", "errors", "errors", "errors", "errors", "errors", "all", "all"}[d.IntN(8)]
	inner := at
	inner.depth++
	switch s.Op {
	case "spawn":
		if s.N = at.body + 1 + d.IntN(3); at.callback {
			s.N = 1 + d.IntN(len(d.p.Tasks))
		}
		if s.N >= len(d.p.Tasks) {
			s.Op = "log"
		}
	case "await", "cancel", "shield", "state", "done":
		s.A, s.N = d.IntN(10), d.IntN(100)
	case "set", "fail":
		s.A, s.N = d.IntN(d.p.Futures+2), d.IntN(100)
	case "gather", "wait":
		for range 1 + d.IntN(3) {
			if v := d.IntN(10); !slices.Contains(s.Vars, v) { // differences.md, AWT-04
				s.Vars = append(s.Vars, v)
			}
		}
		s.N = d.IntN(3)
		if s.Op == "gather" {
			s.N = d.IntN(2)
		} else if d.IntN(2) == 0 {
			s.D = 0
		}
	case "timeout":
		s.Block = d.block(1+d.IntN(3), inner)
		if d.IntN(6) == 0 {
			s.D = 0
		}
	case "group":
		inner.grouped = true
		s.Block = d.block(2+d.IntN(3), inner)
	case "finally":
		s.Block, s.Other = d.block(1+d.IntN(3), inner), d.block(1+d.IntN(2), inner)
	case "event":
		s.A, s.N = d.IntN(d.p.Events), d.IntN(3)
		if at.callback {
			s.N = 1 + d.IntN(2)
		}
	case "lock", "condition":
		s.A, s.Block = d.IntN(d.p.Locks), d.block(1+d.IntN(3), inner)
	case "notify":
		s.A, s.N = d.IntN(d.p.Locks), d.IntN(3)
	case "semaphore":
		s.Block = d.block(1+d.IntN(3), inner)
	case "queue":
		s.N = d.IntN(6)
		if at.callback {
			s.N = 2 + d.IntN(3)
		}
	case "soon", "later":
		lo := 0
		if at.callback {
			lo = at.body + 1
		}
		if s.N = lo + d.IntN(3); s.N >= len(d.p.Callbacks) {
			s.Op = "log"
		}
		s.A = d.IntN(2) // 1: threadsafe
	case "unschedule":
		s.A = d.IntN(5)
	case "raise":
		s.N = d.IntN(10)
		if d.IntN(3) > 0 { // not too often: it ends things
			s.Op = "log"
		}
	case "sleep":
		if d.IntN(2) == 0 {
			s.D = 0
		}
	case "generate":
		s.N, s.Block = d.IntN(4), d.block(1+d.IntN(3), inner)
	}
	return s
}

func nests(op string) bool {
	switch op {
	case "timeout", "group", "finally", "lock", "condition", "semaphore", "generate":
		return true
	}
	return false
}

func (d *drawer) time() int64 { return 1 + d.Int64N(longestSleep) }
