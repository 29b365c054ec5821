package calls

import (
	"math/rand/v2"
	"testing"
)

// TestIdsAreSeenOnce compares the window with a plain set.
func TestIdsAreSeenOnce(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var s seen
		have := map[uint64]bool{}
		base, newest := 1+rng.Uint64()>>8, uint64(0)
		for range 20_000 {
			switch rng.IntN(200) {
			case 0:
				base += rng.Uint64N(3 * seenWindow)
			default:
				base += rng.Uint64N(40)
			}
			id := base - min(base-1, rng.Uint64N(2*seenWindow))
			want := first
			switch {
			case have[id] && newest-id < seenWindow:
				want = again
			case id <= newest && newest-id >= seenWindow:
				want = tooOld
			}
			if got := s.note(id); got != want {
				t.Fatalf("seed %d: id %d with newest %d: got %d, want %d", seed, id, newest, got, want)
			}
			if want == first {
				have[id], newest = true, max(newest, id)
			}
		}
	}
}
