package cluster

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/actors"
)

// overBoth runs a benchmark with two nodes in this process, whose connections are pipes
// of its server, and with two that are clients of a server over loopback.
func overBoth(b *testing.B, run func(b *testing.B, nodes []*Node)) {
	calm := func(c *Config) { c.Heartbeat, c.DeadAfter = time.Second, 3*time.Second }
	b.Run("in-process", func(b *testing.B) { run(b, group(b, 2, calm)) })
	b.Run("loopback", func(b *testing.B) {
		_, port := natsServer(b, 0)
		url := natsURL(port)
		run(b, group(b, 2, calm, func(c *Config) { c.Beside, c.URL = nil, url }))
	})
}

// rawOn subscribes bare NATS on a node; the others may publish from then on.
func rawOn(b *testing.B, n *Node, subject string, handle nats.MsgHandler) {
	b.Helper()
	if err := n.engine.Control().Subscribe(subject, handle); err != nil {
		b.Fatal(err)
	}
	if _, err := n.engine.Control().Ask(testCtx(b)); err != nil {
		b.Fatal(err)
	}
}

var payload = []byte(`{"A":1,"B":2}`)

// BenchmarkCall is a call from a goroutine to a loop of another node beside a bare
// request, one at a time.
func BenchmarkCall(b *testing.B) {
	overBoth(b, func(b *testing.B, nodes []*Node) {
		newLoop(b, nodes[1], "io-0")
		far, ctx, call := refTo(b, nodes[0], "n2/io-0"), context.Background(), add.Via(nodes[0])
		rawOn(b, nodes[1], "raw", func(m *nats.Msg) { _ = m.Respond(m.Data) })
		b.ReportAllocs()
		beside(b, 1, func() {
			if _, err := call.Call(ctx, far, sum{1, 2}); err != nil {
				b.Fatal(err)
			}
		}, func() {
			if _, err := nodes[0].engine.Control().Request(ctx, "raw", payload); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkCallPipelined has 64 callers at once, on both sides.
func BenchmarkCallPipelined(b *testing.B) {
	const callers, each = 64, 50
	overBoth(b, func(b *testing.B, nodes []*Node) {
		newLoop(b, nodes[1], "io-0")
		far, ctx, call := refTo(b, nodes[0], "n2/io-0"), context.Background(), add.Via(nodes[0])
		rawOn(b, nodes[1], "raw", func(m *nats.Msg) { _ = m.Respond(m.Data) })
		atOnce := func(one func() error) func() {
			return func() {
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for range each {
							if err := one(); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			}
		}
		beside(b, callers*each, atOnce(func() error {
			_, err := call.Call(ctx, far, sum{1, 2})
			return err
		}), atOnce(func() error {
			_, err := nodes[0].engine.Control().Request(ctx, "raw", payload)
			return err
		}))
	})
}

// doneCounter counts what has been done and says when it is all of a round.
type doneCounter struct {
	n    int // by one goroutine
	each int
	all  chan struct{}
}

func newDoneCounter(each int) *doneCounter {
	return &doneCounter{each: each, all: make(chan struct{}, 1)}
}

func (c *doneCounter) add(n int) {
	if c.n += n; c.n == c.each {
		c.n = 0
		c.all <- struct{}{}
	}
}

var (
	benched atomic.Pointer[doneCounter]
	bench   = Func("test.bench", func(context.Context, sum) (struct{}, error) { benched.Load().add(1); return struct{}{}, nil })
)

// BenchmarkCallSoon sends calls without an answer as fast as credit allows, until the
// last one has run, beside bare messages of the same payload, until the last one was
// handled. Nothing holds up the sender of the bare ones; a round is short enough for
// none to be dropped.
func BenchmarkCallSoon(b *testing.B) {
	const round = 20_000
	overBoth(b, func(b *testing.B, nodes []*Node) {
		newLoop(b, nodes[1], "io-0")
		far, call, ctx := refTo(b, nodes[0], "n2/io-0"), bench.Via(nodes[0]), context.Background()
		ran, handled := newDoneCounter(round), newDoneCounter(round)
		benched.Store(ran)
		rawOn(b, nodes[1], "raw", func(*nats.Msg) { handled.add(1) })
		b.ReportAllocs()
		beside(b, round, func() {
			for range round {
				if err := call.CallSoon(ctx, far, sum{1, 2}); err != nil {
					b.Fatal(err)
				}
			}
			<-ran.all
		}, func() {
			for range round {
				if err := nodes[0].engine.Control().Publish("raw", "", payload); err != nil {
					b.Fatal(err)
				}
			}
			<-handled.all
		})
		if s := nodes[0].Stats(); s.Lost+s.Refusals != 0 {
			b.Errorf("%d were lost, %d refused", s.Lost, s.Refusals)
		}
	})
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

// BenchmarkStream writes to a connection of another node, beside bare NATS messages of
// the same size to a subscriber that counts them, over loopback. The bytes of the stream
// also cross a TCP connection to a peer that reads; the raw ones do not. A piece of work
// is a KiB.
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
	read, handled := newDoneCounter(round), newDoneCounter(round)
	if err := nodes[1].engine.Bulk().Subscribe("raw", func(m *nats.Msg) { handled.add(len(m.Data)) }); err != nil {
		b.Fatal(err)
	}
	if _, err := nodes[1].engine.Bulk().Ask(testCtx(b)); err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := h.client.Read(buf)
			if err != nil {
				return
			}
			read.add(n)
		}
	}()
	data := make([]byte, size)
	beside(b, round>>10, func() {
		for range round / size {
			if err := far.WriteWait(context.Background(), data); err != nil {
				b.Fatal(err)
			}
		}
		<-read.all
	}, func() {
		for range round / size {
			if err := nodes[0].engine.Bulk().Publish("raw", "", data); err != nil {
				b.Fatal(err)
			}
		}
		<-handled.all
	})
}

// BenchmarkCallBesideLarge is a small call while others call the same node with a MiB at
// a time, beside the same with bare requests: how long control traffic waits behind
// large payloads, which share its connection.
func BenchmarkCallBesideLarge(b *testing.B) {
	const floods, large = 4, 1<<20 - 8<<10
	overBoth(b, func(b *testing.B, nodes []*Node) {
		newLoop(b, nodes[1], "io-0")
		newLoop(b, nodes[1], "io-1")
		far, to := refTo(b, nodes[0], "n2/io-0"), refTo(b, nodes[0], "n2/io-1")
		rawOn(b, nodes[1], "raw", func(m *nats.Msg) { _ = m.Respond(m.Data[:2]) })
		data := make([]byte, large)
		flood := func(one func(context.Context) error) (stop func()) {
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			for range floods {
				all.Go(func() {
					for ctx.Err() == nil {
						if err := one(ctx); err != nil && ctx.Err() == nil {
							b.Error(err)
							return
						}
					}
				})
			}
			return func() { cancel(); all.Wait() }
		}
		var ours, raw, alone []time.Duration
		small := func(into *[]time.Duration, one func() error) {
			for range 20 {
				begin := time.Now()
				if err := one(); err != nil {
					b.Fatal(err)
				}
				*into = append(*into, time.Since(begin))
			}
		}
		ctx := context.Background()
		call := func() error { _, err := add.Via(nodes[0]).Call(ctx, far, sum{1, 2}); return err }
		request := func() error { _, err := nodes[0].engine.Control().Request(ctx, "raw", payload); return err }
		for b.Loop() {
			small(&alone, call)
			stop := flood(func(ctx context.Context) error { _, err := size.Via(nodes[0]).Call(ctx, to, data); return err })
			small(&ours, call)
			stop()
			stop = flood(func(ctx context.Context) error {
				_, err := nodes[0].engine.Control().Request(ctx, "raw", data)
				return err
			})
			small(&raw, request)
			stop()
		}
		for name, all := range map[string][]time.Duration{"": ours, "raw-": raw, "alone-": alone} {
			b.ReportMetric(float64(median(all).Microseconds()), name+"p50-us")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), name+"p99-us")
		}
		b.ReportMetric(0, "ns/op")
		for _, n := range nodes {
			if s := n.Stats(); s.NodesDown+s.Disconnects != 0 {
				b.Errorf("%s: %+v", n.Name(), s)
			}
		}
	})
}

var size = Func("test.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })

// BenchmarkIdle is nodes of one process, clients of one server over loopback, with the
// defaults of Config: how long the joining of one takes until it knows all others, what
// all of them and the server cost together while nothing is asked of them, what the server
// passes on meanwhile, and the memory of each.
func BenchmarkIdle(b *testing.B) {
	for _, count := range []int{5, 20, 80} {
		b.Run("nodes="+strconv.Itoa(count), func(b *testing.B) { idle(b, count) })
	}
}

func idle(b *testing.B, count int) {
	const watched = 2 * time.Second
	hub, port := natsServer(b, 0)
	var nodes []*Node
	var joins []time.Duration
	before := inUse()
	for i := range count {
		begin := time.Now()
		n := start(b, Config{Name: "idle-" + strconv.Itoa(i), URL: natsURL(port)})
		if err := n.WaitMembers(testCtx(b), i+1); err != nil {
			b.Fatal(err)
		}
		joins, nodes = append(joins, time.Since(begin)), append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.WaitMembers(testCtx(b), count); err != nil {
			b.Fatal(err)
		}
	}
	each := (inUse() - before) / float64(count)
	passed := func() float64 {
		v, err := hub.Varz(nil)
		if err != nil {
			b.Fatal(err)
		}
		return float64(v.OutMsgs)
	}
	var cost time.Duration
	rounds, first := 0, passed()
	for b.Loop() {
		quiet := time.NewTimer(watched)
		cost += measure(func() { <-quiet.C }).cpu
		rounds++
	}
	during := float64(rounds) * watched.Seconds()
	b.ReportMetric(100*cost.Seconds()/during, "%-of-a-core")
	b.ReportMetric((passed()-first)/during, "messages/s")
	b.ReportMetric(each/1024, "KiB/node")
	b.ReportMetric(float64(median(joins).Microseconds())/1000, "join-p50-ms")
	b.ReportMetric(float64(joins[len(joins)-1].Microseconds())/1000, "join-max-ms")
	b.ReportMetric(0, "ns/op")
}

// inUse is the memory in use after a collection, stacks included.
func inUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkAbsentNode is a call to a node that nobody has heard of.
func BenchmarkAbsentNode(b *testing.B) {
	overBoth(b, func(b *testing.B, nodes []*Node) {
		far := refTo(b, nodes[0], "nobody/io")
		var all []time.Duration
		for b.Loop() {
			begin := time.Now()
			if _, err := add.Via(nodes[0]).Call(context.Background(), far, sum{}); !errors.Is(err, ErrUnknownNode) {
				b.Fatal(err)
			}
			all = append(all, time.Since(begin))
		}
		b.ReportMetric(float64(median(all).Microseconds()), "p50-us")
		b.ReportMetric(0, "ns/op")
	})
}
