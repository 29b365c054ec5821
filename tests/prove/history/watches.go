package history

import (
	"fmt"
	"slices"
	"time"
)

// Kind is a kind of fault, in Err of its events.
type Kind string

// The kinds.
const (
	Kill    Kind = "kill"           // SIGKILL of one process, which is started again
	Leader  Kind = "leader"         // SIGKILL of the voter that leads
	All     Kind = "every node"     // SIGKILL of every node at once
	Pause   Kind = "pause"          // SIGSTOP for less than others wait: nobody may give it up
	Stop    Kind = "stop"           // SIGSTOP for longer
	Cut     Kind = "partition"      // no packet passes for a while
	Twin    Kind = "twin"           // stopped, and another process started under its name
	Slow    Kind = "slow loop"      // a callback that does not return for a while
	Restart Kind = "restart"        // SIGTERM, and started again
	Files   Kind = "no descriptors" // it may open none for a while: EMFILE
	Clock   Kind = "wall clock"     // its wall clock is an hour ahead or behind for a while (Wall of its events)
	Server  Kind = "its server"     // the voter that it is a client of was stopped or cut off
)

// Deadly reports whether others may, and whether they must take the victim for dead.
func (k Kind) Deadly() (may, must bool) {
	switch k {
	case Kill, Leader, All, Twin, Restart:
		return true, true
	case Stop, Cut, Server:
		return true, false
	}
	return false, false
}

// spell is a fault on one node.
type spell struct {
	kind       Kind
	node       string
	from, till int64 // till 0: not taken back
}

func spells(all []Event) []spell {
	var list []spell
	for _, e := range all {
		if e.Op != Fault {
			continue
		}
		kind := Kind(e.Err)
		if e.Step == Began {
			list = append(list, spell{kind, e.To, e.At, 0})
			continue
		}
		for i := range list {
			if s := &list[i]; s.kind == kind && s.node == e.To && s.till == 0 {
				s.till = e.At
			}
		}
	}
	return list
}

const (
	settle   = int64(time.Second)      // a watch that is younger may not have reached its node
	grace    = int64(5 * time.Second)  // so long behind a fault its notice may come
	mustHear = int64(15 * time.Second) // and within this it must
)

// Watches checks that whoever watches a node is told at most once, only when there was
// cause, and always when the node died.
func Watches(all []Event) Result {
	type watch struct {
		to         string
		from, told int64
	}
	watches, order := map[string]*watch{}, []string{}
	var r Result
	var end int64
	for _, e := range all {
		end = max(end, e.At)
		switch {
		case e.Op != Watch:
		case e.Step == Invoke:
			watches[e.ID] = &watch{e.To, e.At, 0}
			order = append(order, e.ID)
		case watches[e.ID] == nil:
			r.breach("%s was told of and nobody watched", e.ID)
		case watches[e.ID].told != 0:
			r.breach("%s, of %s, was told twice", e.ID, watches[e.ID].to)
		default:
			watches[e.ID].told = e.At
		}
	}
	faults := spells(all)
	var took []time.Duration
	told := 0
	for _, id := range order {
		w := watches[id]
		r.Ops++
		if w.told != 0 {
			told++
			if !caused(faults, w.to, w.from, w.told) {
				r.breach("%s: %s was told dead at %d, and nothing had been done to it", id, w.to, w.told)
			}
		}
		for _, f := range faults {
			_, must := f.kind.Deadly()
			if !must || f.node != w.to || w.from+settle > f.from || w.told != 0 && w.told < f.from {
				continue
			}
			limit := max(f.from, f.till) + mustHear
			switch {
			case w.told == 0 && end > limit, w.told > limit:
				r.breach("%s: %s died (%s) at %d and it was told of at %d", id, w.to, f.kind, f.from, w.told)
			case w.told != 0 && f.kind == Kill:
				took = append(took, time.Duration(w.told-f.from))
			}
			break // the first one that it lived to see
		}
	}
	r.Figures = fmt.Sprintf("%d watches, %d told", r.Ops, told)
	if slices.Sort(took); len(took) > 0 {
		r.Figures += fmt.Sprintf("; SIGKILL after p50 %v, p99 %v", short(took[len(took)/2]), short(took[len(took)*99/100]))
	}
	return r
}

// caused reports whether something was done to a node that others may take for its death,
// while it was watched or just before.
func caused(faults []spell, node string, from, told int64) bool {
	return slices.ContainsFunc(faults, func(f spell) bool {
		may, _ := f.kind.Deadly()
		return may && f.node == node && f.from <= told && (f.till == 0 || f.till+grace >= from)
	})
}

func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
