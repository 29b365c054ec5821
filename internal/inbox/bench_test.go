package inbox

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPutAwake is one producer against a consumer that never sleeps.
func BenchmarkPutAwake(b *testing.B) {
	box := New[func()](func() { b.Error("woken while awake") })
	stop := make(chan struct{})
	drained := make(chan int)
	// goroutine: owner: this benchmark; ends when stop is closed.
	go func() {
		n := 0
		each := func(fn func()) { n++ }
		for {
			if box.Drain(each) > 0 {
				continue
			}
			select {
			case <-stop:
				box.Drain(each)
				drained <- n
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	fn := func() {}
	puts := 0
	b.ReportAllocs()
	for b.Loop() {
		box.Put(fn)
		puts++
	}
	b.ReportMetric(float64(puts)/b.Elapsed().Seconds()/1e6, "Mput/s")
	close(stop)
	if n := <-drained; n != puts {
		b.Fatalf("%d put, %d drained", puts, n)
	}
}

// BenchmarkPutDrain is the cost of both sides without contention.
func BenchmarkPutDrain(b *testing.B) {
	box := New[func()](func() {})
	fn, each := func() {}, func(func()) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		box.Put(fn)
		if i&63 == 0 {
			box.Drain(each)
		}
	}
}

// BenchmarkPutContended is four producers at once.
func BenchmarkPutContended(b *testing.B) {
	box := New[func()](func() {})
	var done atomic.Bool
	var consumer sync.WaitGroup
	consumer.Add(1)
	// goroutine: owner: this benchmark; ends when done is set.
	go func() {
		defer consumer.Done()
		for !done.Load() {
			if box.Drain(func(func()) {}) == 0 {
				runtime.Gosched()
			}
		}
	}()
	fn := func() {}
	b.SetParallelism(2)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			box.Put(fn)
		}
	})
	done.Store(true)
	consumer.Wait()
}
