package core

import (
	"runtime"
	"testing"
	"time"
)

func TestReadyKeepsNothingAlive(t *testing.T) {
	freed := make(chan struct{}, 3)
	item := func() Item {
		big := new([1 << 16]byte)
		runtime.AddCleanup(big, func(c chan struct{}) { c <- struct{}{} }, freed)
		return Item{Run: func() { runtime.KeepAlive(big) }}
	}
	var c Core
	c.Ready.Push(item())
	c.Ready.Cancel(c.Ready.Push(item()))
	timer := &Timer{Item: item()}
	c.At(timer, 1)
	c.CancelTimer(timer)
	c.Ready.Pop()
	for limit := time.Now().Add(10 * time.Second); len(freed) < 3; runtime.Gosched() {
		if runtime.GC(); time.Now().After(limit) {
			t.Fatalf("%d of 3 callbacks that ran or were cancelled are freed", len(freed))
		}
	}
	runtime.KeepAlive(timer)
	runtime.KeepAlive(&c)
}

func TestReadyGrowsAndShrinksInOrder(t *testing.T) {
	var q Ready
	next, pushed := 0, 0
	push := func(n int) {
		for range n {
			q.Push(Item{Meta: pushed})
			pushed++
		}
	}
	pop := func(n int) {
		for range n {
			if got := q.Pop().Meta; got != next {
				t.Fatalf("popped %v, want %d", got, next)
			}
			next++
		}
	}
	push(50)
	pop(20) // the ring is not aligned any more when it grows
	push(40000)
	big := len(q.ring)
	pop(39000)
	for range 20 {
		q.Shrink()
		push(1)
		pop(1)
	}
	if len(q.ring) >= big || len(q.ring) < q.Len() {
		t.Fatalf("ring of %d for %d items, was %d", len(q.ring), q.Len(), big)
	}
	pop(q.Len())
}

func TestClear(t *testing.T) {
	var c Core
	pos := c.Ready.Push(Item{Run: func() {}})
	timer := &Timer{}
	c.At(timer, 5)
	if n := c.Ready.Clear(); n != 1 || c.Ready.Len() != 0 || c.Ready.Cancel(pos) {
		t.Fatalf("Clear = %d, %d left", n, c.Ready.Len())
	}
	c.Timers.Clear()
	if !timer.Cancelled() || c.CancelTimer(timer) || c.Timeout(0) != -1 || c.Digest(10) != 0 {
		t.Fatal("a cleared timer is still there")
	}
	if next := c.Ready.Push(Item{}); next == pos || c.Ready.Len() != 1 {
		t.Fatal("a position was used twice")
	}
	c.At(timer, 6)
	if c.Digest(10) != 2 {
		t.Fatal("nothing can be armed after Clear")
	}
}

func TestSteadyTurnAllocatesNothing(t *testing.T) {
	var c Core
	timer, fn, now := &Timer{}, func() {}, int64(0)
	turn := func() {
		for range 10 {
			c.Ready.Push(Item{Run: fn})
		}
		timer.Item = Item{Run: fn}
		c.At(timer, now)
		c.Timeout(now)
		for range c.Digest(now) {
			c.Ready.Pop().Run()
		}
		now++
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Fatalf("%v allocations per turn", n)
	}
}

func BenchmarkPushPop(b *testing.B) {
	var q Ready
	fn := func() {}
	b.ReportAllocs()
	for b.Loop() {
		q.Push(Item{Run: fn})
		q.Pop().Run()
	}
}

// live is how many timers are armed while the timer benchmarks run.
const live = 100_000

// crowd arms live timers spread over a second of virtual time.
func crowd(c *Core, timers []Timer) func() int64 {
	random := uint64(1)
	next := func() int64 {
		random = random*6364136223846793005 + 1442695040888963407
		return int64(random >> 34) // about a second
	}
	for i := range timers {
		timers[i].Run = func() {}
		c.At(&timers[i], next())
	}
	return next
}

// BenchmarkTimerInsertFire lets the earliest of 100 000 timers fire, and each
// arms itself again: one operation is one insert and one fire.
func BenchmarkTimerInsertFire(b *testing.B) {
	var c Core
	timers := make([]Timer, live)
	next := crowd(&c, timers)
	now := int64(0)
	for i := range timers {
		t := &timers[i]
		var again func()
		again = func() {
			t.Run = again
			c.At(t, now+next())
		}
		t.Run = again
	}
	batch := 0
	b.ReportAllocs()
	for b.Loop() {
		for batch == 0 {
			now, _ = c.Timers.Next()
			batch = c.Digest(now)
		}
		batch--
		c.Ready.Pop().Run()
	}
	b.ReportMetric(1e3/float64(b.Elapsed().Nanoseconds())*float64(b.N), "Mops/s")
}

// BenchmarkTimerInsertCancel arms and cancels beside 100 000 others; the sweep
// is part of the price.
func BenchmarkTimerInsertCancel(b *testing.B) {
	var c Core
	next := crowd(&c, make([]Timer, live))
	fn := func() {}
	var t Timer
	b.ReportAllocs()
	for b.Loop() {
		t.Item = Item{Run: fn}
		c.At(&t, next())
		c.CancelTimer(&t)
		c.Timers.tidy()
	}
	b.ReportMetric(1e3/float64(b.Elapsed().Nanoseconds())*float64(b.N), "Mops/s")
}
