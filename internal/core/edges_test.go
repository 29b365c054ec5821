package core

import (
	"math"
	"slices"
	"testing"
)

// TestAStopEndsTheSleep: Timeout asks for no sleep, whatever else there is to wait for.
func TestAStopEndsTheSleep(t *testing.T) {
	var c Core
	c.At(&Timer{Item: Item{Run: func() {}}}, 1000)
	c.Stop()
	if d := c.Timeout(0); d != 0 {
		t.Fatalf("Timeout = %v with a stop asked for", d)
	}
	if !c.TakeStop() || c.TakeStop() {
		t.Fatal("a stop is taken once")
	}
	if d := c.Timeout(0); d != 1000 {
		t.Fatalf("Timeout = %v after the stop was taken", d)
	}
}

// TestTheEndOfTime: deadlines and clocks near the largest number.
func TestTheEndOfTime(t *testing.T) {
	c := Core{Resolution: 1000}
	never, last := &Timer{Item: Item{Meta: "never"}}, &Timer{Item: Item{Meta: "last"}}
	c.At(never, Forever)
	c.At(last, Forever-1)
	if n := c.Digest(math.MaxInt64); n != 1 || c.Ready.Pop().Meta != "last" {
		t.Fatalf("%d timers are due at the end of time, want the one that has a deadline", n)
	}
}

// TestASweepKeepsTheOrder: what is left of a heap after a sweep comes out in the order
// of its deadlines, and the sweep gives memory back.
func TestASweepKeepsTheOrder(t *testing.T) {
	var c Core
	const all, kept = 10_000, 200
	timers := make([]Timer, all)
	var want []int64
	for i := range timers {
		timers[i].Run = func() {}
		c.At(&timers[i], int64(i*7919%all)+1) // each deadline once, scrambled
	}
	for i := range timers {
		if i%(all/kept) == 0 {
			want = append(want, timers[i].When)
			continue
		}
		c.CancelTimer(&timers[i])
	}
	c.Timers.tidy()
	if c.Timers.Len() != kept {
		t.Fatalf("%d slots after the sweep, want %d", c.Timers.Len(), kept)
	}
	if room := cap(c.Timers.heap); room > all/2 {
		t.Fatalf("the sweep keeps room for %d timers", room)
	}
	var got []int64
	for timer := c.Timers.popDue(all); timer != nil; timer = c.Timers.popDue(all) {
		got = append(got, timer.When)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("out of order after the sweep: %v", got)
	}
}

// TestADueTimerCanBeCancelled: until its callback runs, and Cancelled tells.
func TestADueTimerCanBeCancelled(t *testing.T) {
	var c Core
	timer := &Timer{Item: Item{Run: func() {}}}
	c.At(timer, 1)
	if c.Digest(1) != 1 || !c.CancelTimer(timer) || !timer.Cancelled() {
		t.Fatalf("a timer in the batch: cancelled %v", timer.Cancelled())
	}
	if c.Ready.Pop().Run != nil {
		t.Fatal("its callback would run")
	}
	if c.CancelTimer(timer) {
		t.Fatal("a second cancel prevented it again")
	}
}

// TestAPositionThatIsNotGivenOut: Cancel of a number that no item has hits no other item,
// although the ring has a slot for it.
func TestAPositionThatIsNotGivenOut(t *testing.T) {
	var q Ready
	for range minRing { // the ring is full: every slot has an item
		q.Push(Item{Run: func() {}})
	}
	for pos := uint64(minRing); pos < 2*minRing; pos++ {
		if q.Cancel(pos) {
			t.Fatalf("position %d was cancelled before it was given out", pos)
		}
	}
	for range minRing {
		if q.Pop().Run == nil {
			t.Fatal("an item is gone")
		}
	}
}
