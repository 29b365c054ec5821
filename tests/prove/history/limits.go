package history

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bounded checks that every durable request ended within limit, whatever was broken.
func Bounded(all []Event, limit time.Duration) Result {
	var r Result
	open := map[string]Event{}
	var most time.Duration
	for _, e := range all {
		if e.Op != Command && e.Op != Timer {
			continue
		}
		switch e.Step {
		case Invoke:
			open[e.ID] = e
		case OK, Refused, Unknown:
			r.Ops++
			took := time.Duration(e.At - open[e.ID].At)
			if most = max(most, took); took > limit {
				r.breach("%s took %v to end (%s %s)", e.ID, took, e.Step, e.Err)
			}
			delete(open, e.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(open)) {
		r.breach("%s did not end", id)
	}
	r.Figures = fmt.Sprintf("the longest took %v", short(most))
	return r
}

// MemoryBelow checks that no process held more than limit bytes.
func MemoryBelow(all []Event, limit uint64) Result {
	var r Result
	most := Event{}
	for _, e := range all {
		if e.Op != Memory {
			continue
		}
		r.Ops++
		if e.N > most.N {
			most = e
		}
		if e.N > limit {
			r.breach("%s held %d MiB", e.To, e.N>>20)
		}
	}
	r.Figures = fmt.Sprintf("at most %d MiB (%s)", most.N>>20, most.To)
	return r
}

// Recovered checks that after each fault every node knew every other one within limit.
func Recovered(all []Event, limit time.Duration) Result {
	var r Result
	var most time.Duration
	for _, e := range all {
		if e.Op != Members {
			continue
		}
		r.Ops++
		took := time.Duration(e.N)
		if most = max(most, took); took > limit {
			r.breach("after %s of %s it took %v until all knew all", e.Err, e.To, took)
		}
	}
	r.Figures = fmt.Sprintf("the longest took %v", short(most))
	return r
}

// Served checks that a node which may open no descriptor serves the connections that it has,
// and that it takes new ones within limit behind any fault of its own. It counts the
// connections that could not be served for want of a descriptor: with none of them, the
// fault was none.
func Served(all []Event, limit time.Duration) Result {
	var r Result
	faults := slices.DeleteFunc(spells(all), func(f spell) bool { return f.kind == Server || f.till == 0 })
	taken := map[string][]int64{} // by node, the times of connections that were served
	var end int64
	without, refused := 0, 0
	for _, e := range all {
		end = max(end, e.At)
		if e.Op != Connect && e.Op != Kept {
			continue
		}
		r.Ops++
		if e.Op == Connect && e.Step == OK {
			taken[e.To] = append(taken[e.To], e.At)
			continue
		}
		for _, f := range faults {
			if f.kind != Files || f.node != e.To || e.From < f.from || e.At > f.till || e.Step == OK {
				continue
			}
			if e.Op == Kept {
				r.breach("%s had no descriptors, and a connection from before was not served: %s", e.To, e.Err)
			} else {
				refused++
			}
		}
	}
	var most int64
	for _, f := range faults {
		if f.kind == Files {
			without++
		}
		i, _ := slices.BinarySearch(taken[f.node], f.till)
		switch {
		case i < len(taken[f.node]):
			took := taken[f.node][i] - f.till
			if most = max(most, took); took > int64(limit) {
				r.breach("behind %s of %s it took %v until a connection was served", f.kind, f.node, time.Duration(took))
			}
		case end > f.till+int64(limit):
			r.breach("behind %s of %s no connection was served", f.kind, f.node)
		}
	}
	if without > 0 && refused == 0 {
		r.breach("%d times a node had no descriptors, and it took every connection: the fault was none", without)
	}
	r.Figures = fmt.Sprintf("%d connections, %d ended at a node without descriptors; served again after %v at most", r.Ops, refused, short(time.Duration(most)))
	return r
}

// Enough checks that the run counts: each kind of fault was injected and taken back, and
// enough operations ended well.
func Enough(all []Event, kinds []Kind, least map[Op]int) Result {
	var r Result
	done, ended := map[Op]int{}, map[Kind]int{}
	for _, e := range all {
		switch {
		case e.Op == Fault && e.Step == Ended:
			ended[Kind(e.Err)]++
			r.Ops++
		case e.Step == OK, e.Op == Act, e.Op == Watch && e.Step == Told, e.Op == Late && e.Step == Refused:
			done[e.Op]++
		}
	}
	for _, k := range kinds {
		if ended[k] == 0 {
			r.breach("no %s was injected and taken back", k)
		}
	}
	for _, op := range slices.Sorted(maps.Keys(least)) {
		if done[op] < least[op] {
			r.breach("only %d of %s went well, %d are the least", done[op], op, least[op])
		}
	}
	r.Figures = fmt.Sprintf("%d faults of %d kinds", r.Ops, len(ended))
	return r
}
