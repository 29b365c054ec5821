package loopnode

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkIdleLoop is what a loop costs that has nothing to do: processor time, and how
// often a thread of this process woke up, those of Go itself included.
func BenchmarkIdleLoop(b *testing.B) {
	const lasts = 2 * time.Second
	l, _ := newLoop(b) // with its watchdog
	ended := make(chan error, 1)
	// goroutine: owner: the benchmark, which waits for it; ends when the loop is stopped
	go func() { ended <- l.RunForever() }()
	usage := func() (cpu time.Duration, woke int64) {
		var r unix.Rusage
		must(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
		return time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Nvcsw
	}
	var cpu time.Duration
	var woke int64
	for b.Loop() {
		cpu0, woke0 := usage()
		<-time.After(lasts)
		cpu1, woke1 := usage()
		cpu, woke = cpu+cpu1-cpu0, woke+woke1-woke0
	}
	must(b, l.Ref().Stop())
	must(b, <-ended)
	seconds := lasts.Seconds() * float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu.Microseconds())/seconds, "cpu-us/s")
	b.ReportMetric(float64(woke)/seconds, "wake-ups/s")
}

// BenchmarkTwoLoops is how much more two loops do than one, in the same time on two
// processors: callbacks that schedule each other.
func BenchmarkTwoLoops(b *testing.B) {
	const each = 30_000_000
	work := func() {
		l, err := New(Config{Stuck: -1})
		if err != nil {
			b.Error(err)
			return
		}
		defer l.Close()
		left := each
		var again func()
		again = func() {
			if left--; left > 0 {
				l.CallSoon(again)
			} else {
				l.Stop()
			}
		}
		for range 100 {
			l.CallSoon(again)
		}
		if err := l.RunForever(); err != nil {
			b.Error(err)
		}
	}
	many := func(n int) time.Duration {
		var loops sync.WaitGroup
		begin := time.Now()
		for range n {
			loops.Go(work)
		}
		loops.Wait()
		return time.Since(begin)
	}
	var one, two time.Duration
	for b.Loop() {
		one += many(1)
		two += many(2)
	}
	b.ReportMetric(2*one.Seconds()/two.Seconds(), "ratio")
}
