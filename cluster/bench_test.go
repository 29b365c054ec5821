package cluster

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/actors"
)

// BenchmarkCall compares a call from goroutine to task with a bare NATS request
// of the same size, turn by turn, so that both meet the same machine.
func BenchmarkCall(b *testing.B) {
	b.Run("in-process", func(b *testing.B) { benchmarkCall(b, func(*Config) {}) })
	b.Run("loopback", func(b *testing.B) {
		_, port := natsServer(b, 0)
		url := natsURL(port)
		benchmarkCall(b, func(c *Config) { c.Beside, c.URL = nil, url })
	})
}

func benchmarkCall(b *testing.B, change func(*Config)) {
	nodes := group(b, 2, change, func(c *Config) { c.Heartbeat, c.DeadAfter = time.Second, 3*time.Second })
	newLoop(b, nodes[1], "io-0")
	far, ctx, call := refTo(b, nodes[0], "n2/io-0"), context.Background(), add.Via(nodes[0])
	if err := nodes[1].engine.Control().Subscribe("raw", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	if _, err := nodes[1].engine.Control().Ask(ctx); err != nil {
		b.Fatal(err)
	}
	payload := []byte(`{"A":1,"B":2}`)
	var ours, raw []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		if _, err := call.Call(ctx, far, sum{1, 2}); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		if _, err := nodes[0].engine.Control().Request(ctx, "raw", payload); err != nil {
			b.Fatal(err)
		}
		ours, raw = append(ours, between.Sub(begin)), append(raw, time.Since(between))
	}
	p50, p50raw := median(ours), median(raw)
	b.ReportMetric(float64(p50.Nanoseconds()), "call-p50-ns")
	b.ReportMetric(float64(p50raw.Nanoseconds()), "raw-p50-ns")
	b.ReportMetric(float64(p50)/float64(p50raw), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkCallParallel has many callers at once.
func BenchmarkCallParallel(b *testing.B) {
	nodes := group(b, 2)
	newLoop(b, nodes[1], "io-0")
	far, call := refTo(b, nodes[0], "n2/io-0"), add.Via(nodes[0])
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := call.Call(context.Background(), far, sum{1, 2}); err != nil {
				b.Error(err)
			}
		}
	})
}

var benched atomic.Uint64

var bench = Func("test.bench", func(context.Context, sum) (struct{}, error) { benched.Add(1); return struct{}{}, nil })

// BenchmarkCallSoon sends calls without an answer as fast as credit allows and ends
// when the last one has run.
func BenchmarkCallSoon(b *testing.B) {
	b.Run("in-process", func(b *testing.B) { benchmarkCallSoon(b, func(*Config) {}) })
	b.Run("loopback", func(b *testing.B) {
		_, port := natsServer(b, 0)
		url := natsURL(port)
		benchmarkCallSoon(b, func(c *Config) { c.Beside, c.URL = nil, url })
	})
}

func benchmarkCallSoon(b *testing.B, change func(*Config)) {
	nodes := group(b, 2, change)
	newLoop(b, nodes[1], "io-0")
	far, call, ctx := refTo(b, nodes[0], "n2/io-0"), bench.Via(nodes[0]), context.Background()
	b.ReportAllocs()
	sent, before := uint64(0), benched.Load()
	for b.Loop() {
		if err := call.CallSoon(ctx, far, sum{1, 2}); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	b.StopTimer()
	begin := time.Now()
	until(b, "all have run", func() bool { return benched.Load()-before == sent })
	took := b.Elapsed() + time.Since(begin)
	b.ReportMetric(float64(sent)/took.Seconds(), "run/s")
	if s := nodes[0].Stats(); s.Lost+s.Refusals != 0 {
		b.Errorf("%d were lost, %d refused", s.Lost, s.Refusals)
	}
}

// BenchmarkCallLocal is a call to a loop of the same process.
func BenchmarkCallLocal(b *testing.B) {
	loop := newLoop(b, group(b, 1)[0], "io-0")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := add.Call(context.Background(), loop, sum{1, 2}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend counts messages between actors until the last one was handled.
func BenchmarkSend(b *testing.B) {
	nodes := group(b, 2)
	var seen atomic.Int64
	far := spawnOn(b, nodes[1], newLoop(b, nodes[1], "io"), "sink", func(ctx *actors.Context) {
		if _, ok := ctx.Message().([]byte); ok {
			seen.Add(1)
		}
	})
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		if err := nodes[0].Actors().Send(far, []byte("tick")); err != nil {
			b.Fatal(err)
		}
		for sent++; sent-seen.Load() > 5000; { // below what an actor takes of others
			runtime.Gosched()
		}
	}
	until(b, "all are handled", func() bool { return seen.Load() == sent })
}

// BenchmarkStream writes to a connection of another node, turn by turn with bare NATS
// messages of the same size to a subscriber that counts them, over loopback. The bytes
// of the stream also cross a TCP connection to a peer that reads; the raw ones do not.
func BenchmarkStream(b *testing.B) {
	const round, size = 64 << 20, 64 << 10
	_, port := natsServer(b, 0)
	url := natsURL(port)
	nodes := group(b, 2, func(c *Config) {
		c.Beside, c.URL, c.Heartbeat, c.DeadAfter = nil, url, time.Second, 3*time.Second
	})
	h, _ := serveOne(b, nodes[1], newLoop(b, nodes[1], "io-0"))
	if err := h.client.SetDeadline(time.Time{}); err != nil {
		b.Fatal(err)
	}
	far := open(b, nodes[0], h.address)
	arrived := make(chan int, 1)
	left := 0
	if err := nodes[1].engine.Bulk().Subscribe("raw", func(m *nats.Msg) {
		if left += len(m.Data); left == round {
			left = 0
			arrived <- round
		}
	}); err != nil {
		b.Fatal(err)
	}
	if _, err := nodes[1].engine.Bulk().Ask(testCtx(b)); err != nil {
		b.Fatal(err)
	}
	go func() {
		buf, got := make([]byte, 256<<10), 0
		for {
			n, err := h.client.Read(buf)
			if err != nil {
				return
			}
			if got += n; got == round {
				got = 0
				arrived <- round
			}
		}
	}()
	data := make([]byte, size)
	var ours, raw time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		begin := time.Now()
		for range round / size {
			if err := far.WriteWait(context.Background(), data); err != nil {
				b.Fatal(err)
			}
		}
		<-arrived
		between := time.Now()
		for range round / size {
			if err := nodes[0].engine.Bulk().Publish("raw", "", data); err != nil {
				b.Fatal(err)
			}
		}
		<-arrived
		ours, raw = ours+between.Sub(begin), raw+time.Since(between)
	}
	speed := func(d time.Duration) float64 { return float64(rounds) * round / d.Seconds() / 1e9 }
	b.ReportMetric(speed(ours), "stream-GB/s")
	b.ReportMetric(speed(raw), "raw-GB/s")
}
