package history

import (
	"fmt"
	"strings"
	"time"
)

// Two clocks. A call for a time of day runs when the wall clock of its owner's machine reads
// that time, so it is compared with the clock that the run saw. A span is measured by the
// monotonic clock, which is one for all processes of a machine: no wall clock that is set may
// shorten it, but in one case. Who becomes the owner after the span began knows nothing but
// the time at which it ends, by the wall clock; if its own is ahead, the span is shorter by so
// much, and not by more.

// Timers checks that every accepted call for later has had its effect once, and that none
// ran before its time, whatever wall clocks said.
func Timers(all []Event) Result {
	var r Result
	ops, order := operations(all, Timer)
	count, _ := found(all)
	accepted, runs := once(&r, ops, order, count)
	steps, since := clockSteps(all), firstRuns(all)
	var most time.Duration
	under := 0 // runs while the wall clock of their owner was set
	for _, id := range order {
		o := ops[id]
		for i, e := range o.ran {
			if steps.at(e) != 0 {
				under++
			}
			if !o.invoked {
				continue
			}
			early, allowed := earliness(o.invoke, e, steps, since)
			if early > allowed {
				r.breach("%s ran %v before its time (in %s, whose wall clock explains %v)", id, early, e.By, allowed)
			}
			if late := e.At - o.invoke.At - (o.invoke.Due - o.invoke.Wall); i == 0 && o.invoke.Wall != 0 {
				most = max(most, time.Duration(late))
			}
		}
	}
	if len(steps) > 0 && under == 0 {
		r.breach("%d times a wall clock was set, and no call for later ran meanwhile: the fault was none", len(steps))
	}
	r.Figures = fmt.Sprintf("%d accepted, %d runs, at most %v late", accepted, runs, most.Round(time.Millisecond))
	if len(steps) > 0 {
		r.Figures += fmt.Sprintf(", %d under a wall clock that was set", under)
	}
	return r
}

// earliness is how long before its time a call ran, and how much of that its owner's wall
// clock explains.
func earliness(asked, ran Event, steps clocks, since map[uint64]int64) (early, allowed time.Duration) {
	if asked.Span == 0 {
		return time.Duration(asked.Due - ran.Wall), 0
	}
	early = time.Duration(asked.Span - (ran.At - asked.At))
	if first := since[ran.N]; first == 0 || first > asked.At { // it may have become the owner meanwhile
		allowed = steps.most(ran, asked.At)
	}
	return early, allowed
}

// firstRuns is when each owner, by its token, ran its first call.
func firstRuns(all []Event) map[uint64]int64 {
	first := map[uint64]int64{}
	for _, e := range all {
		if e.Op == Timer && e.Step == Ran && e.N != 0 && first[e.N] == 0 {
			first[e.N] = e.At
		}
	}
	return first
}

// clocks are the times during which wall clocks were set.
type clocks []clockStep

// clockStep is one of them.
type clockStep struct {
	spell
	ahead int64
}

func clockSteps(all []Event) (list clocks) {
	for _, s := range spells(all) {
		if s.kind == Clock {
			list = append(list, clockStep{spell: s})
		}
	}
	i := 0
	for _, e := range all {
		if e.Op == Fault && e.Step == Began && Kind(e.Err) == Clock {
			list[i].ahead = e.Wall
			i++
		}
	}
	return list
}

// at is how far the wall clock was set ahead for a run.
func (c clocks) at(e Event) int64 {
	for _, s := range c {
		if s.of(e) && s.from <= e.At && (s.till == 0 || e.At <= s.till) {
			return s.ahead
		}
	}
	return 0
}

// most is how far it was ahead at most, between a time and the run.
func (c clocks) most(e Event, from int64) time.Duration {
	var ahead int64
	for _, s := range c {
		if s.of(e) && s.from <= e.At && (s.till == 0 || s.till >= from) {
			ahead = max(ahead, s.ahead)
		}
	}
	return time.Duration(ahead)
}

// of reports whether it is the clock of the process of a run.
func (s clockStep) of(e Event) bool {
	node, _, _ := strings.Cut(e.By, ".")
	return node == s.node
}
