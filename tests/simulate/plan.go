package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// The nodes: clients, to which nothing is done and which hold all others to their promises,
// and the others.
var (
	clients = []string{"n1", "n2"}
	victims = []string{"n3", "n4"}
)

// The kinds of faults that others than package history's do not have.
const (
	unplug history.Kind = history.Cut // its connections end and no new one is made
	late   history.Kind = "late"      // each byte takes longer
)

// fault is one row of a plan. Its times are those of the virtual clock.
type fault struct {
	kind   history.Kind
	ends   bool // of a partition: its connections end, too
	victim string
	lasts  time.Duration
	by     time.Duration // of late: so much longer
	then   time.Duration // rest until the next one, behind the recovery
}

func (f fault) String() string {
	return fmt.Sprintf("%s of %s for %v (connections end: %v, each byte %v later), then %v", f.kind, f.victim, f.lasts, f.ends, f.by, f.then)
}

// kinds are those of every plan.
var kinds = []history.Kind{history.Kill, history.Restart, history.Pause, history.Cut, unplug, late}

// makePlan draws the faults of a run; nothing but the seed decides. Each kind comes once.
func makePlan(seed uint64) (plan []fault) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rnd.Int64N(int64(most-least)))
	}
	for i, kind := range kinds {
		f := fault{kind: kind, victim: victims[rnd.IntN(len(victims))], lasts: between(0, 6*time.Second), then: between(0, 2*time.Second)}
		switch {
		case kind == history.Pause: // nobody may take it for dead
			f.lasts = between(0, 1900*time.Millisecond)
		case kind == late:
			f.by = between(time.Millisecond, 400*time.Millisecond)
		case kind == history.Cut:
			f.ends, f.lasts = i == len(kinds)-2, between(0, 12*time.Second)
		}
		plan = append(plan, f)
	}
	rnd.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}
