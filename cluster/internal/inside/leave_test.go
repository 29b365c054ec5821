package inside

import "testing"

// TestWhatIsTakenBackIsNotKept: singletons come and go as long as a node lives, and what the
// end of the node would call must not grow with them.
func TestWhatIsTakenBackIsNotKept(t *testing.T) {
	p := &Parts{}
	called := 0
	for range 100 {
		p.OnLeave(func() { called += 1000 })()
	}
	p.OnLeave(func() { called++ })
	if n := len(p.closers[0]); n != 1 {
		t.Errorf("%d functions are kept, want 1", n)
	}
	p.Leave()
	p.Shut()
	p.OnLeave(func() { called++ })
	if called != 2 {
		t.Errorf("called %d, want 2: once by Leave, and once at once", called)
	}
}
