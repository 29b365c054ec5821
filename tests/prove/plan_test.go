package prove

import (
	"slices"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// TestASeedIsAPlan: the same seed plans the same faults, a longer run begins with those of
// a shorter one, other seeds plan others, and each kind comes in its turn.
func TestASeedIsAPlan(t *testing.T) {
	can := map[history.Kind]bool{}
	for _, d := range deck {
		can[d.kind] = true
	}
	cards := round(can)
	voters, workers := []string{"n1", "n2", "n3"}, []string{"w1", "w2"}
	plan := func(seed uint64, count int) []fault {
		return makePlan(seed, count, 30*time.Second, voters, workers, can)
	}
	long := plan(7, 3*cards)
	if !slices.Equal(long, plan(7, 3*cards)) || !slices.Equal(long[:5], plan(7, 5)) {
		t.Error("a seed gives two plans")
	}
	if slices.Equal(long, plan(8, 3*cards)) {
		t.Error("two seeds give one plan")
	}
	count := map[history.Kind]int{}
	for _, f := range long {
		count[f.kind]++
		if may, _ := f.kind.Deadly(); !may && f.kind == history.Pause && f.lasts > 2*time.Second {
			t.Error("a pause that others may take for a death:", f)
		}
		if f.kind == history.Twin && slices.Contains(voters, f.victim) {
			t.Error("a twin of a voter:", f)
		}
	}
	for _, d := range deck {
		if count[d.kind] != 3*d.times {
			t.Errorf("%s comes %d times in three rounds", d.kind, count[d.kind])
		}
	}
	if none := makePlan(7, 5, 30*time.Second, voters, workers, nil); none != nil {
		t.Error(none)
	}
}
