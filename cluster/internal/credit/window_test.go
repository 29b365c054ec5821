package credit

import "testing"

// TestTheWindowHoldsExactly: the last message and the last byte of the window may be
// used, and nothing beyond.
func TestTheWindowHoldsExactly(t *testing.T) {
	for _, one := range []struct {
		name   string
		window Amount
		cost   uint64
		fit    int
	}{
		{"bytes", Amount{100, 1000}, 250, 4},
		{"bytes, one missing", Amount{100, 999}, 250, 3},
		{"messages", Amount{3, 1 << 20}, 1, 3},
		{"a single one larger than the window", Amount{3, 100}, 101, 1},
	} {
		s := NewSender()
		if _, ok := s.Apply(Grant{Window: one.window}); !ok {
			t.Fatal("the grant was refused")
		}
		sent := 0
		for ; sent < 1000; sent++ {
			if _, ok := s.Take(one.cost); !ok {
				break
			}
		}
		if sent != one.fit {
			t.Errorf("%s: %d messages of %d fit into %v, want %d", one.name, sent, one.cost, one.window, one.fit)
		}
	}
}
