package history

import (
	"fmt"
	"maps"
	"slices"
)

// Casts checks calls without an answer: those of one sender to one loop ran in the order in
// which they were sent and none twice; nothing ran that was refused; and what was accepted
// and did not run was told to the node that sent it.
func Casts(all []Event) Result {
	var r Result
	type flow struct{ sender, to string }
	type one struct {
		flow
		n uint64
	}
	last, ran, steps := map[flow]Event{}, map[one]bool{}, map[one]Step{}
	missing, told := map[flow]int{}, map[flow]int{} // here the sender is the process
	for _, e := range all {
		if e.Op != Cast {
			continue
		}
		f := flow{e.ID, e.To}
		switch e.Step {
		case Ran:
			if before, ok := last[f]; ok && e.N <= before.N {
				r.breach("of %s to %s, %d ran (in %s) after %d (in %s)", f.sender, f.to, e.N, e.By, before.N, before.By)
			}
			last[f], ran[one{f, e.N}] = e, true
		case OK, Refused, Unknown:
			r.Ops++
			steps[one{f, e.N}] = e.Step
			if e.Step == OK {
				missing[flow{e.By, e.To}]++
			}
		case Told:
			told[flow{e.By, e.To}] += int(e.N)
		}
	}
	lives := senders(all)
	for o := range ran {
		switch steps[o] {
		case Refused:
			r.breach("number %d of %s to %s was refused and ran", o.n, o.sender, o.to)
		case OK:
			missing[flow{lives[o.sender], o.to}]--
		}
	}
	lost := 0
	for _, f := range slices.SortedFunc(maps.Keys(missing), func(a, b flow) int { return compare(a.sender+a.to, b.sender+b.to) }) {
		lost += missing[f]
		if missing[f] > told[f] {
			r.breach("%d of %s to %s were accepted and did not run, and only %d were told of", missing[f], f.sender, f.to, told[f])
		}
	}
	r.Figures = fmt.Sprintf("%d ran, %d did not and were told of", len(ran), lost)
	return r
}

// senders tells which process each sender of casts belongs to.
func senders(all []Event) map[string]string {
	lives := map[string]string{}
	for _, e := range all {
		if e.Op == Cast && (e.Step == OK || e.Step == Refused || e.Step == Unknown) {
			lives[e.ID] = e.By
		}
	}
	return lives
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
