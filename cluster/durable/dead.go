package durable

import (
	"errors"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// A call for later that is dead waits for a person, as a dead letter does: it is an event when
// that happens, and counted as long as it lasts. Who counts? The owner of the group, which is
// told every record anyway: a listing would read all calls that are armed, for each check.
// So the dead of a group that nobody serves are in no count; they are in Timers.

// deadOnes are the dead calls of a group that this node owns. Owned by the run goroutine of
// timers. Invariant: the node's count has as many of them as subjects has.
type deadOnes struct {
	subjects map[string]struct{}
	count    *atomic.Int64 // of all groups of the node
}

// deadKey is the key of the count that a node's groups share.
type deadKey struct{}

func deadCount(n *cluster.Node) *atomic.Int64 {
	return inside.Shared(partsOf(n), deadKey{}, func() *atomic.Int64 { return &atomic.Int64{} })
}

func newDeadOnes(n *cluster.Node) *deadOnes {
	return &deadOnes{subjects: map[string]struct{}{}, count: deadCount(n)}
}

// note notes whether the call of a record is dead.
func (d *deadOnes) note(subject string, dead bool) {
	_, was := d.subjects[subject]
	switch {
	case dead && !was:
		d.subjects[subject] = struct{}{}
		d.count.Add(1)
	case !dead && was:
		delete(d.subjects, subject)
		d.count.Add(-1)
	}
}

// forget forgets all: they are told anew, or another node owns the group.
func (d *deadOnes) forget() {
	d.count.Add(-int64(len(d.subjects)))
	clear(d.subjects)
}

// DeadTimers is how many calls for later are dead, in the groups that this node owns: they
// wait for FireNow or Cancel. It asks nobody and does not wait; 0 for a nil node.
func DeadTimers(n *cluster.Node) int {
	if n == nil {
		return 0
	}
	return int(deadCount(n).Load())
}

// givenUp reports whether next, which follows a run of r that ended in err, is the end of its
// attempts: it is dead, or one time of a recurring call was given up.
func (next record) givenUp(r record, err error) bool {
	if next.State == Dead {
		return true
	}
	return err != nil && !errors.Is(err, errSkipped) && next.Attempts == 0
}

// tell lets those hear who follow this node of a call that was given up.
func (t *timers) tell(r, next record) {
	l := events.Letter{Group: t.group, ID: r.ID, Attempts: max(r.Attempts+1, next.Attempts), Recurs: next.State != Dead, Reason: short(next.Error)}
	t.log.Error("a call for later was given up", "id", r.ID, "function", r.Function, "attempts", l.Attempts, "goes_on", l.Recurs, "error", next.Error)
	partsOf(t.node).DeadLetter(l)
}
