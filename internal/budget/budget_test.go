package budget

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	var w Window
	const period = 10 * time.Second
	at := func(s int) int64 { return int64(time.Duration(s) * time.Second) }
	for i, want := range []struct {
		second int
		ok     bool
		left   int
	}{
		{0, true, 1}, {1, true, 2}, {1, false, 2}, {9, false, 2},
		{10, true, 2}, // the first one is a period ago
		{10, false, 2}, {11, true, 2}, {30, true, 1},
	} {
		if ok := w.Admit(at(want.second), 2, period); ok != want.ok || w.Len() != want.left {
			t.Fatalf("step %d at %d s: %v with %d left, want %v with %d", i, want.second, ok, w.Len(), want.ok, want.left)
		}
	}
	w.Reset()
	if w.Len() != 0 || !w.Admit(at(30), 1, period) || w.Admit(at(30), 1, period) {
		t.Fatal("Reset left something behind")
	}
	for range 1000 {
		if !w.Admit(at(31), -1, period) {
			t.Fatal("no limit, and refused")
		}
	}
	if w.Len() > 1 {
		t.Fatal("an unlimited window grows")
	}
	if new(Window).Admit(0, 0, period) {
		t.Fatal("a limit of zero admits nothing")
	}
}
