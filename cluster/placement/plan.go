package placement

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The plan is pure: what is wanted and what the nodes have go in, orders come out. It is made
// anew each time from what is then so, and remembers nothing, so a new supervisor plans as
// the old one did.

// An example. Wanted are s1, s2 and s3. The hosts tell:
//
//	a   s1 owns
//	b   s1 stands, s4 owns
//	c   does not answer; it told last that it has s2
//
// The plan stops s1 on b, since a runs it, and s4 on b, since nobody wants it, and starts s3 on
// b, which has fewest: c takes nothing new, but s2 is left to it. When membership gives c up, it
// is no host any more, and the next plan starts s2 elsewhere; there it waits for the name of
// s2, which becomes free because c is dead. When c comes back instead, nothing has happened.

// host is a node that serves, as it last told.
type host struct {
	node  string
	kinds []string
	has   map[id]standing
}

// any reports whether the host has one of those instances.
func (h host) any(of map[id]bool) bool {
	for i := range h.has {
		if of[i] {
			return true
		}
	}
	return false
}

// standing is an instance that a node was told to start.
type standing struct {
	Owns  bool   // it runs: the node owns its name
	Ended bool   // Run has returned
	Error string // "" when it returned nil
	Token uint64 // of the ownership in which it runs, or ran
}

// order is what a node is to do.
type order struct {
	node  string
	id    id
	start bool // else: stop it, if it runs, and forget it
}

const (
	pauseFirst = 100 * time.Millisecond
	pauseMost  = 30 * time.Second
)

// notBefore is when an instance that has failed may be started again.
func (w want) notBefore() time.Time {
	n := len(w.Failures)
	if n == 0 {
		return time.Time{}
	}
	return w.Failures[n-1].Add(min(pauseFirst<<min(n-1, 20), pauseMost))
}

// plan says what to start and what to stop. Of an instance that stands on two nodes, which
// happens after a partition, the one that runs stays. Instances are placed in order of
// their names, so that the same state makes the same plan.
func plan(now time.Time, wants map[id]want, hosts []host) (orders []order) {
	load, stands := map[string]int{}, map[id][]host{}
	for _, h := range hosts {
		for i, s := range h.has {
			if w, ok := wants[i]; !ok || w.State != Wanted || s.Ended {
				orders = append(orders, order{h.node, i, false})
				continue
			}
			load[h.node]++
			stands[i] = append(stands[i], h)
		}
	}
	ids := make([]id, 0, len(wants))
	for i, w := range wants {
		if w.State == Wanted {
			ids = append(ids, i)
		}
	}
	slices.SortFunc(ids, func(a, b id) int { return cmp.Compare(a.String(), b.String()) })
	for _, i := range ids {
		on := stands[i]
		if len(on) == 0 {
			if h, ok := choose(wants[i], hosts, load); ok && !now.Before(wants[i].notBefore()) {
				load[h]++
				orders = append(orders, order{h, i, true})
			}
			continue
		}
		slices.SortFunc(on, func(a, b host) int {
			return cmp.Or(-compareBool(a.has[i].Owns, b.has[i].Owns), cmp.Compare(a.node, b.node))
		})
		for _, h := range on[1:] {
			orders = append(orders, order{h.node, i, false})
		}
	}
	slices.SortStableFunc(orders, func(a, b order) int { return cmp.Or(compareBool(a.start, b.start), cmp.Compare(a.node, b.node)) })
	return orders
}

// Why the node with fewest, and not one by a hash of the name as groups does for keys: an
// instance lives long and may be heavy, so that three of four on one node are worth
// avoiding; a key is light, and everybody has to find its place without asking.

// choose is the node of the kind that has fewest instances; the one on which the instance
// failed last comes behind the others.
func choose(w want, hosts []host, load map[string]int) (node string, ok bool) {
	nodeOf := func(target string) string { node, _, _ := strings.Cut(target, "@"); return node }
	failedOn := func(h host) bool { return len(w.Failures) > 0 && nodeOf(h.node) == nodeOf(w.On) }
	best := slices.MinFunc(append([]host{{}}, hosts...), func(a, b host) int {
		can := func(h host) bool { return slices.Contains(h.kinds, w.ID.Kind) }
		return cmp.Or(compareBool(can(b), can(a)), compareBool(failedOn(a), failedOn(b)), cmp.Compare(load[a.node], load[b.node]), cmp.Compare(a.node, b.node))
	})
	return best.node, slices.Contains(best.kinds, w.ID.Kind)
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
