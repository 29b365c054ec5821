package inbox

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func TestOrder(t *testing.T) {
	b := New[int](func() { t.Error("woken while awake") })
	for i := range 5 {
		if !b.Put(i) {
			t.Fatal("Put refused on an open inbox")
		}
	}
	var got []int
	if n := b.Drain(func(v int) { got = append(got, v) }); n != 5 || len(got) != 5 {
		t.Fatalf("Drain = %d, got %v", n, got)
	}
	for i, v := range got {
		if v != i {
			t.Fatalf("out of order: %v", got)
		}
	}
}

func TestPutDuringDrainWaitsForTheNext(t *testing.T) {
	b := New[int](func() {})
	b.Put(1)
	var got []int
	each := func(v int) {
		got = append(got, v)
		if v < 3 {
			b.Put(v + 1)
		}
	}
	for want := 1; want <= 3; want++ {
		if n := b.Drain(each); n != 1 || len(got) != want {
			t.Fatalf("Drain %d took %d, got %v", want, n, got)
		}
	}
	if b.Pending() || b.Drain(each) != 0 {
		t.Fatal("something left")
	}
}

func TestWakesExactlyWhenAsleep(t *testing.T) {
	wakes := 0
	b := New[int](func() { wakes++ })
	b.Put(1)
	if wakes != 0 {
		t.Fatal("an awake consumer was woken")
	}
	if b.Sleep() {
		t.Fatal("Sleep with something pending")
	}
	b.Put(2)
	if wakes != 0 {
		t.Fatal("a refused Sleep left the consumer announced as asleep")
	}
	b.Drain(func(int) {})
	if !b.Sleep() {
		t.Fatal("Sleep refused on an empty inbox")
	}
	b.Put(3)
	b.Put(4)
	if wakes != 1 {
		t.Fatalf("two puts into one sleep woke %d times", wakes)
	}
	b.Awake()
	b.Put(5)
	if wakes != 1 {
		t.Fatal("woken after Awake")
	}
	if n := b.Drain(func(int) {}); n != 3 {
		t.Fatalf("drained %d of 3", n)
	}
	if !b.Sleep() {
		t.Fatal("Sleep refused on an empty inbox")
	}
	b.Awake() // by a timer: nobody has woken it
	b.Put(6)
	if wakes != 1 {
		t.Fatal("woken although the sleep was over")
	}
}

func TestClose(t *testing.T) {
	b := New[int](func() {})
	b.Put(1)
	b.Put(2)
	var left []int
	b.Close(func(v int) {
		left = append(left, v)
		if b.Put(9) {
			t.Error("Put accepted during Close")
		}
	})
	if len(left) != 2 || left[0] != 1 || left[1] != 2 {
		t.Fatalf("Close handed out %v", left)
	}
	if b.Put(3) || b.Pending() || b.Drain(func(int) {}) != 0 {
		t.Fatal("the inbox is not closed")
	}
	b.Close(func(int) { t.Error("second Close handed something out") })
}

// TestNoLostWake is the proof that matters: a consumer that sleeps for ever
// unless woken receives everything, in each producer's order, and is woken at
// most once for each sleep and never otherwise.
func TestNoLostWake(t *testing.T) {
	const producers, each = 8, 20000
	bell := make(chan struct{}, producers)
	var rung atomic.Int64
	b := New[[2]int](func() {
		rung.Add(1)
		select {
		case bell <- struct{}{}:
		default: // so many are waiting already that it cannot be missed
		}
	})
	var wg sync.WaitGroup
	for p := range producers {
		wg.Add(1)
		// goroutine: owner: this test; ends when it has put its items.
		go func() {
			defer wg.Done()
			for i := range each {
				if !b.Put([2]int{p, i}) {
					t.Error("Put refused")
				}
				if i%64 == p {
					runtime.Gosched() // lets the consumer run dry
				}
			}
		}()
	}
	var next [producers]int
	got, announced := 0, int64(0)
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for got < producers*each {
		got += b.Drain(func(v [2]int) {
			if next[v[0]] != v[1] {
				t.Errorf("producer %d: item %d came when %d was due", v[0], v[1], next[v[0]])
			}
			next[v[0]]++
		})
		if got == producers*each {
			break
		}
		if !b.Pending() {
			announced++ // Sleep announces, even if it then withdraws
		}
		if !b.Sleep() {
			continue
		}
		select {
		case <-bell:
		case <-limit.C:
			t.Fatalf("asleep with %d of %d: a wake-up was lost", got, producers*each)
		}
		b.Awake()
	}
	wg.Wait()
	if rung.Load() > announced {
		t.Fatalf("%d wake-ups for %d announced sleeps", rung.Load(), announced)
	}
}

func TestConcurrentClose(t *testing.T) {
	for range 200 {
		var woken atomic.Int64
		b := New[int](func() { woken.Add(1) })
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			// goroutine: owner: this test; ends when the inbox refuses.
			go func() {
				defer wg.Done()
				for b.Put(1) {
					accepted.Add(1)
				}
			}()
		}
		got := 0
		count := func(v int) { got += v }
		for range 20 {
			b.Drain(count)
		}
		b.Close(count)
		wg.Wait()
		if int64(got) != accepted.Load() {
			t.Fatalf("%d accepted, %d handed out", accepted.Load(), got)
		}
		if woken.Load() != 0 {
			t.Fatal("a consumer that never slept was woken")
		}
	}
}

func TestKeepsNothingAlive(t *testing.T) {
	b := New[*[1 << 16]byte](func() {})
	freed := make(chan struct{})
	v := new([1 << 16]byte)
	runtime.AddCleanup(v, func(c chan struct{}) { close(c) }, freed)
	b.Put(v)
	v = nil
	b.Drain(func(*[1 << 16]byte) {})
	limit := time.Now().Add(10 * time.Second)
	for {
		runtime.GC()
		select {
		case <-freed:
			runtime.KeepAlive(b)
			return
		default:
			if time.Now().After(limit) {
				t.Fatal("the inbox keeps what it handed out alive")
			}
			runtime.Gosched()
		}
	}
}

func TestGivesMemoryBack(t *testing.T) {
	b := New[int](func() {})
	nothing := func(int) {}
	for range 2 { // both slices of the pair grow
		for i := range 100000 {
			b.Put(i)
		}
		b.Drain(nothing)
	}
	for range 3 * quietLimit {
		b.Put(1)
		b.Drain(nothing)
	}
	if cap(b.in) > smallCap || cap(b.out) > smallCap {
		t.Fatalf("after the burst %d and %d slots are kept", cap(b.in), cap(b.out))
	}
}

func TestAllocatesNothingSteadily(t *testing.T) {
	b := New[func()](func() {})
	fn, each := func() {}, func(f func()) { f() }
	turn := func() {
		for range 100 {
			b.Put(fn)
		}
		b.Drain(each)
		if b.Sleep() {
			b.Put(fn)
			b.Awake()
		}
	}
	for range 4 {
		turn()
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Fatalf("%v allocations per turn", n)
	}
}

// TestPutBetweenLookAndSleep: each item is put alone, while the consumer is about to
// sleep, and nothing follows until it was taken; so a single lost wake-up stops the
// test. The consumer waits a little longer each time, so that the Put meets it at every
// point of Sleep.
func TestPutBetweenLookAndSleep(t *testing.T) {
	const rounds = 300_000
	bell := make(chan struct{}, 1)
	b := New[int64](func() { bell <- struct{}{} })
	var taken atomic.Int64
	over := make(chan struct{})
	// goroutine: owner: this test; ends when it has put its items, or when over is closed.
	producer := make(chan struct{})
	go func() {
		defer close(producer)
		for i := int64(1); i <= rounds; i++ {
			for spin := 0; taken.Load() != i-1; spin++ {
				if spin%1000 == 999 {
					select {
					case <-over:
						return
					default:
						runtime.Gosched()
					}
				}
			}
			b.Put(i)
		}
	}()
	defer func() { close(over); <-producer }()
	const tooLong = 30 * time.Second // for one item
	limit := time.NewTimer(tooLong)
	defer limit.Stop()
	for taken.Load() < rounds {
		b.Drain(func(i int64) { taken.Store(i) })
		for range taken.Load() % 499 { // the producer hears of taken some 100 ns later
			_ = taken.Load()
		}
		if taken.Load() == rounds || !b.Sleep() {
			continue
		}
		limit.Reset(tooLong)
		select {
		case <-bell:
		case <-limit.C:
			t.Fatalf("asleep after %d of %d: a wake-up was lost", taken.Load(), rounds)
		}
		b.Awake()
	}
}
