package prove

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// fault is one row of a plan.
type fault struct {
	kind   history.Kind
	victim string        // "": whoever leads, or everybody
	lasts  time.Duration // until it is taken back
	then   time.Duration // rest until the next one, behind the recovery
	by     time.Duration // so far a wall clock is set ahead
}

func (f fault) String() string {
	if f.kind == history.Clock {
		return fmt.Sprintf("%s %v ahead for %v", f.kind, f.by, f.lasts)
	}
	return fmt.Sprintf("%s of %s for %v", f.kind, f.victim, f.lasts)
}

// deck is how often each kind comes before any comes again.
var deck = []struct {
	kind  history.Kind
	times int
}{
	{history.Kill, 4}, {history.Leader, 1}, {history.Pause, 2}, {history.Stop, 2}, {history.Cut, 2},
	{history.Twin, 1}, {history.Slow, 1}, {history.Restart, 1}, {history.All, 1}, {history.Files, 1}, {history.Clock, 2},
}

// round is how many faults a round of the deck has.
func round(can map[history.Kind]bool) int {
	n := 0
	for _, d := range deck {
		if can[d.kind] {
			n += d.times
		}
	}
	return n
}

// makePlan draws the faults of a run: nothing but the seed decides. A plan that is longer
// begins with the shorter one of the same seed. can tells which kinds are possible.
func makePlan(seed uint64, count int, longest time.Duration, voters, workers []string, can map[history.Kind]bool) []fault {
	rnd := rand.New(rand.NewPCG(seed, 1))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(rnd.Int64N(int64(most-least))).Round(time.Millisecond)
	}
	nodes := append(append([]string{}, voters...), workers...)
	var plan []fault
	for len(plan) < count {
		var round []fault
		for _, d := range deck {
			for i := range d.times {
				f := fault{kind: d.kind, victim: nodes[rnd.IntN(len(nodes))], lasts: between(200*time.Millisecond, 2*time.Second), then: between(500*time.Millisecond, 2*time.Second)}
				switch d.kind {
				case history.Stop, history.Cut:
					f.lasts = between(2500*time.Millisecond, longest) // others wait for three seconds
				case history.Pause:
					f.lasts = between(300*time.Millisecond, 1900*time.Millisecond)
				case history.Slow, history.Files:
					f.lasts = between(3*time.Second, 8*time.Second)
				case history.Twin: // the store of a voter is of one process at a time
					f.victim = workers[rnd.IntN(len(workers))]
				case history.Clock: // forward and back
					f.victim, f.lasts, f.by = "", between(3*time.Second, 8*time.Second), time.Hour
					if i == 1 {
						f.by = -time.Hour
					}
				case history.Leader, history.All:
					f.victim = ""
				}
				if can[d.kind] {
					round = append(round, f)
				}
			}
		}
		if len(round) == 0 {
			return nil
		}
		rnd.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		plan = append(plan, round...)
	}
	return plan[:count]
}
