package transportactors

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// lateSleeper measures how late other goroutines of a server's process run: it waits
// for a timer of a millisecond, over and over.
type lateSleeper struct {
	mu   sync.Mutex
	late []time.Duration
}

const napTime = time.Millisecond

// newLateSleeper runs for the life of the process, as does a collection every 100 ms.
func newLateSleeper() *lateSleeper {
	s := &lateSleeper{}
	go func() {
		for {
			began := time.Now()
			<-time.NewTimer(napTime).C
			late := time.Since(began) - napTime
			s.mu.Lock()
			s.late = append(s.late, late)
			s.mu.Unlock()
		}
	}()
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			runtime.GC()
		}
	}()
	return s
}

// take is the median and the 99th percentile since the last time, and how many.
func (s *lateSleeper) take() (p50, p99 time.Duration, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := s.late
	s.late = nil
	if len(late) == 0 {
		return 0, 0, 0
	}
	slices.Sort(late)
	return late[len(late)/2], late[len(late)*99/100], len(late)
}

// tell answers each line with what take gives, and ends with the input.
func (s *lateSleeper) tell() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		p50, p99, n := s.take()
		fmt.Println(p50.Nanoseconds(), p99.Nanoseconds(), n)
	}
}

// BenchmarkLateBesideNet is how late a goroutine wakes up whose process has one
// processor and serves 64 busy connections, from a loop and from package net, in turns.
func BenchmarkLateBesideNet(b *testing.B) {
	b.Setenv("GOMAXPROCS", "1")
	const clients, size, requests = 64, 1 << 10, 5000
	ours, theirs := newRival(b, "loop-late", clients), newRival(b, "net-late", clients)
	type figures struct{ p50, p99 []float64 }
	all := map[*rival]*figures{ours: {}, theirs: {}}
	for b.Loop() {
		for r, f := range all {
			r.child.tell(b, "from here on")
			r.child.says(b)
			r.exchange(b, requests, size)
			var p50, p99, n int64
			r.child.tell(b, "late")
			_, err := fmt.Sscan(r.child.says(b), &p50, &p99, &n)
			must(b, err)
			f.p50, f.p99 = append(f.p50, float64(p50)/1e3), append(f.p99, float64(p99)/1e3)
		}
	}
	for r, f := range all {
		slices.Sort(f.p50)
		slices.Sort(f.p99)
		b.ReportMetric(f.p50[len(f.p50)/2], r.name+"-p50-µs")
		b.ReportMetric(f.p99[len(f.p99)/2], r.name+"-p99-µs")
		b.ReportMetric(float64(r.took.Microseconds())/float64(len(f.p50)*requests), r.name+"-µs/req")
		r.end(b)
	}
}
