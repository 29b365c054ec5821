package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NameList begins the lists whose entries are the tokens of a name's owners.
const NameList = "name/"

// found are the effects that the sinks held at the end: for each id where, and for each
// list its ids in order.
func found(all []Event) (count map[string]int, lists map[string][]string) {
	count, lists = map[string]int{}, map[string][]string{}
	for _, e := range all {
		if e.Op == Effect && !strings.HasPrefix(e.To, NameList) {
			count[e.ID]++
			lists[e.To] = append(lists[e.To], e.ID)
		}
	}
	return count, lists
}

// once checks the effects of the operations of one kind: every accepted one has had its
// effect, none twice, and none that nobody asked for or that was refused.
func once(r *Result, ops map[string]*operation, order []string, count map[string]int) (accepted, runs int) {
	for _, id := range order {
		o := ops[id]
		runs += len(o.ran)
		if !o.invoked {
			r.breach("%s ran in %s and nobody asked for it", id, o.ran[0].By)
			continue
		}
		r.Ops++
		end := Unknown
		for _, e := range o.ends { // it is asked for again with the same id until it is accepted
			end = e.Step
		}
		if end == OK {
			accepted++
		}
		switch n := count[id]; {
		case n > 1:
			r.breach("%s has had its effect %d times", id, n)
		case n == 0 && end == OK:
			r.breach("%s was accepted and has had no effect; it ran %d times", id, len(o.ran))
		case n > 0 && end == Refused:
			r.breach("%s was refused and has had an effect", id)
		}
	}
	return accepted, runs
}

// Commands checks that every accepted command has had its effect once, and that the
// effects of a lane came in the order in which its commands were accepted.
func Commands(all []Event) Result {
	var r Result
	ops, order := operations(all, Command)
	count, lists := found(all)
	accepted, runs := once(&r, ops, order, count)
	timers, _ := operations(all, Timer)
	for _, id := range slices.Sorted(maps.Keys(count)) {
		if ops[id] == nil && timers[id] == nil {
			r.breach("%s has had an effect and nobody asked for it", id)
		}
	}
	where := map[string]place{}
	for name, list := range lists {
		for i, id := range list {
			where[id] = place{name, i}
		}
	}
	before := map[string]string{} // the last one of each lane that was accepted
	for _, e := range all {
		if e.Op != Command || e.Step != OK || count[e.ID] == 0 {
			continue
		}
		lane := ops[e.ID].invoke.To
		if b := before[lane]; b != "" && b != e.ID && !behind(ops, where, e.ID, b) {
			r.breach("in lane %s %s was accepted behind %s and came before it", lane, e.ID, b)
		}
		before[lane] = e.ID
	}
	r.Figures = fmt.Sprintf("%d accepted, %d runs", accepted, runs)
	return r
}

// place is where the effect of a command stands.
type place struct {
	list string
	n    int
}

// behind reports whether the effect of id came behind that of first: by their places in
// one list, or, since a long lane has several lists, by when they first ran.
func behind(ops map[string]*operation, where map[string]place, id, first string) bool {
	a, b := where[first], where[id]
	if a.list == b.list {
		return b.n > a.n
	}
	return len(ops[first].ran) > 0 && len(ops[id].ran) > 0 && ops[id].ran[0].At > ops[first].ran[0].At
}
