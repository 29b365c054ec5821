package loopnode

import "testing"

func TestAttach(t *testing.T) {
	type mine struct{}
	type other struct{}
	l, _ := newLoop(t)
	if l.Attached(mine{}) != nil {
		t.Error("a new loop has something attached")
	}
	l.Attach(mine{}, 1)
	l.Attach(other{}, 2)
	l.Attach(mine{}, 3)
	if l.Attached(mine{}) != 3 || l.Attached(other{}) != 2 {
		t.Error(l.Attached(mine{}), l.Attached(other{}))
	}
	l.Attach(mine{}, nil)
	if l.Attached(mine{}) != nil || l.Attached(other{}) != 2 {
		t.Error("what was taken away is there, or the other is not")
	}
}
