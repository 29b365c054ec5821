package calls

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Who calls whom: for each pair of a loop here and a target elsewhere how many calls were
// made, how many failed, and how long their callers waited. A call pays two looks at the
// clock, a look-up under a read lock and three additions. Questions of package admin are not counted: looking must not show itself.

// The pairs live as long as the node: a pair that is used once in a day must not begin at
// zero each time. The bound keeps a node that calls a hundred thousand loops from paying
// for each of them; what is beyond it is still in the sums of the node.
//
// way is a pair; from is "" for callers that are no task of a loop.
type way struct{ from, to string }

// counts are those of one pair.
type counts struct {
	calls, failed atomic.Uint64
	took          atomic.Int64 // microseconds
}

// maxWays bounds the table; pairs beyond are counted together, under no names.
const maxWays = 1024

// traffic is the table. Any goroutine.
type traffic struct {
	mu   sync.RWMutex
	ways map[way]*counts
}

// note counts one call that has ended.
func (t *traffic) note(ctx context.Context, to string, took time.Duration, err error) {
	w := way{to: to}
	if loop, err := loopnode.Running(ctx); err == nil {
		w.from = loop.Name()
	}
	t.mu.RLock()
	c := t.ways[w]
	t.mu.RUnlock()
	if c == nil {
		c = t.make(w)
	}
	c.calls.Add(1)
	c.took.Add(took.Microseconds())
	if err != nil {
		c.failed.Add(1)
	}
}

// make enters a pair, or finds the one that stands for all others in a full table.
func (t *traffic) make(w way) *counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ways == nil {
		t.ways = map[way]*counts{}
	}
	if len(t.ways) >= maxWays {
		w = way{}
	}
	c := t.ways[w]
	if c == nil {
		c = &counts{}
		t.ways[w] = c
	}
	return c
}

// Traffic tells what was counted since the start of the node, in the order of names.
func (o *Outgoing) Traffic() []inside.Traffic {
	o.traffic.mu.RLock()
	defer o.traffic.mu.RUnlock()
	out := make([]inside.Traffic, 0, len(o.traffic.ways))
	for w, c := range o.traffic.ways {
		out = append(out, inside.Traffic{From: w.from, To: w.to, Calls: c.calls.Load(), Failed: c.failed.Load(), Took: time.Duration(c.took.Load()) * time.Microsecond})
	}
	slices.SortFunc(out, func(a, b inside.Traffic) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return out
}

// UnderWay are the calls that wait for their answers, the oldest first, at most most, and
// how many there are in all.
func (o *Outgoing) UnderWay(most int) (calls []inside.Call, all int) {
	calls = o.table.list()
	slices.SortFunc(calls, func(a, b inside.Call) int { return cmp.Or(a.Begun.Compare(b.Begun), cmp.Compare(a.ID, b.ID)) })
	return calls[:min(len(calls), most)], len(calls)
}

// list describes the calls that wait, but for those of package admin.
func (t *table) list() []inside.Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]inside.Call, 0, len(t.byID))
	for _, p := range t.byID {
		if !strings.HasPrefix(p.function, adminPrefix) {
			out = append(out, inside.Call{ID: p.id, From: p.waiter.Loop(), To: p.target, Function: p.function, Begun: p.begun, Deadline: p.deadline})
		}
	}
	return out
}
