package durable

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
)

// The figures of docs/durable-figures.md: each ends when the work was done, so what was only
// begun does not count. From the root of the tree:
//
//	make bench-durable
//
// One operation is one call for later, or one command. benchWorkers goroutines ask at the same
// time: a store that waits for its disk is asked by many callers, or it is idle.

const benchWorkers = 128

// benchStores are the stores that are measured.
var benchStores = []struct {
	name string
	make func(testing.TB) []*cluster.Node
}{
	{"one voter, no sync", func(t testing.TB) []*cluster.Node {
		return []*cluster.Node{start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), StoreSync: 10 * time.Second})}
	}},
	{"one voter", func(t testing.TB) []*cluster.Node { return []*cluster.Node{stored(t)} }},
	{"three voters", threeVoters},
}

// nothing is what the benchmarks call: its run counts.
var (
	ran     atomic.Int64
	nothing = cluster.Func("durable.bench", func(context.Context, int) (struct{}, error) {
		ran.Add(1)
		return struct{}{}, nil
	})
)

// each asks for n things, benchWorkers at a time, and returns when all were answered.
func each(b *testing.B, n int, ask func(ctx context.Context, i int) error) {
	b.Helper()
	eachOf(b, benchWorkers, n, ask)
}

// eachOf is each with so many at a time.
func eachOf(b *testing.B, workers, n int, ask func(ctx context.Context, i int) error) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := ask(context.Background(), i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// reached waits until count is n, as long as it grows.
func reached(b *testing.B, n int, count func() int) {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last, grown := 0, time.Now()
	for now := count(); now < n; now = count() {
		if now > last {
			last, grown = now, time.Now()
		}
		if time.Since(grown) > 30*time.Second {
			b.Fatalf("%d of %d, and no more for half a minute", now, n)
		}
		<-tick.C
	}
}

// begun does something until the store takes it: voters that have just started have no leader.
func begun(b *testing.B, first func() error) {
	b.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := first()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

func perSecond(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s") }

// BenchmarkDurableArm stores calls for later that are due tomorrow.
func BenchmarkDurableArm(b *testing.B) {
	for _, store := range benchStores {
		b.Run(store.name, func(b *testing.B) {
			n := store.make(b)[0]
			arm := func(ctx context.Context, id string) error {
				return CallLater(ctx, n, id, nothing, 1, 24*time.Hour, Group("bench"))
			}
			begun(b, func() error { return arm(context.Background(), "first") })
			b.ResetTimer()
			each(b, b.N, func(ctx context.Context, i int) error { return arm(ctx, strconv.Itoa(i)) })
			perSecond(b)
		})
	}
}

// BenchmarkDurableCommand sends commands and waits until all have run and are acknowledged.
func BenchmarkDurableCommand(b *testing.B) {
	for _, store := range benchStores {
		b.Run(store.name, func(b *testing.B) {
			n := store.make(b)[0]
			s := working(b, n, "bench", newLoop(b, n))
			begun(b, func() error { return Send(context.Background(), n, "bench", "first", nothing, 1) })
			done := func() int { return int(s.Stats().Ran) }
			reached(b, 1, done)
			b.ResetTimer()
			each(b, b.N, func(ctx context.Context, i int) error { return Send(ctx, n, "bench", strconv.Itoa(i), nothing, i) })
			reached(b, b.N+1, done)
			perSecond(b)
		})
	}
}

// BenchmarkDurableEffect has effects of one owner, through Sink.Apply, that change no common
// key. Effects come from the functions of an owner, of which at most 64 run at a time.
func BenchmarkDurableEffect(b *testing.B) {
	for _, store := range []int{0, 2} {
		b.Run(benchStores[store].name, func(b *testing.B) {
			s, err := NewSink(benchStores[store].make(b)[0], "bench")
			if err != nil {
				b.Fatal(err)
			}
			run := func(id string) Run { return Run{Owner: "bench", ID: id, Token: 1} }
			begun(b, func() error { return s.Apply(context.Background(), run("first"), add("first")) })
			b.ResetTimer()
			eachOf(b, maxCommands, b.N, func(ctx context.Context, i int) error {
				return s.Apply(ctx, run(strconv.Itoa(i)), func(tx *Tx) error { return tx.Put(strconv.Itoa(i), []byte("value")) })
			})
			perSecond(b)
		})
	}
}

// lateness of the runs of BenchmarkDurableLate.
var (
	latenesses struct {
		sync.Mutex
		all []time.Duration
	}
	punctual = cluster.Func("durable.punctual", func(_ context.Context, due int64) (struct{}, error) {
		late := time.Since(time.Unix(0, due))
		latenesses.Lock()
		defer latenesses.Unlock()
		latenesses.all = append(latenesses.all, late)
		return struct{}{}, nil
	})
)

// BenchmarkDurableLate has calls run one every five milliseconds, while their owner lives, and
// measures in the function how late each is.
func BenchmarkDurableLate(b *testing.B) {
	n := stored(b)
	s := serving(b, n, "bench")
	latenesses.all = nil
	begin := time.Now().Add(time.Second + time.Duration(b.N)*time.Millisecond) // arming takes its time, too
	each(b, b.N, func(ctx context.Context, i int) error {
		due := begin.Add(time.Duration(i) * 5 * time.Millisecond)
		return CallAt(ctx, n, strconv.Itoa(i), punctual, due.UnixNano(), due, Group("bench"))
	})
	if time.Now().After(begin) {
		b.Fatal("the first was due before the last was armed")
	}
	reached(b, b.N, func() int { return int(s.Stats().Ran) })
	latenesses.Lock()
	defer latenesses.Unlock()
	slices.Sort(latenesses.all)
	at := func(q float64) float64 {
		return float64(latenesses.all[int(q*float64(len(latenesses.all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
}

// BenchmarkDurableMemory is what a call for later takes in the memory of its owner: they are
// armed while nobody serves the group, so the difference that the owner makes is its own, and
// not the store's, which runs in this process, too. An operation is the owner's taking over.
func BenchmarkDurableMemory(b *testing.B) {
	const armed = 100_000
	n := start(b, cluster.Config{Name: "a", StoreDir: b.TempDir(), StoreSync: 10 * time.Second})
	each(b, armed, func(ctx context.Context, i int) error {
		return CallLater(ctx, n, fmt.Sprint("reminder-", i), nothing, i, 24*time.Hour, Group("bench"))
	})
	heap := func() float64 {
		var m runtime.MemStats
		for range 3 { // what has finalizers goes with the second
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	b.ResetTimer()
	s := serving(b, n, "bench")
	reached(b, armed, func() int { return s.Stats().Waiting })
	b.StopTimer()
	b.ReportMetric((heap()-before)/armed, "B/timer")
	b.ReportMetric(b.Elapsed().Seconds(), "s/takeover")
	s.Stop()
}
