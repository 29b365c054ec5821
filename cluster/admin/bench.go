package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
	"github.com/loopmesh/loopmesh/loopnode"
)

// How fast is this cluster, between these two nodes, now? A measurement is an order to one
// node to send to a loop of another one for a while, and to tell how much of it was done. It
// is a load like any other, so nobody makes one but by asking for it, one at a time on a
// node, and it has bounds: how long, how many at once, how large.
//
// What is counted? Work that was done, and not what was sent: of calls the answers that
// came back, of calls without an answer those that the other loop has run, of streams the
// bytes that were taken there. What fails is counted apart, with the first reason.
//
//	client ──POST──▶ node asked ──order──▶ From: workers ──calls, casts, a stream──▶ To: benchsink.go
//
// Why does the node send and not the command? A command would measure its own socket and its
// JSON with it. Why from goroutines and not from tasks of a loop? Both reach the same code; a
// loop that sends as fast as it can would be what is measured.
//
// Why one at a time? Two on one node share its processors, its connection and the other loop,
// and each would show half of what there is. Two nodes may measure at the same time, since
// nobody could keep them from it; their events say so.
//
// What does a figure not say? It is of this moment, with everything else that the two nodes
// have to do. Calls of 16 callers at once are not those of one: the rate is higher and each
// waits longer. The test of speed with rounds and a comparison is "go test -bench" in package
// cluster; this is for a cluster that is there, and for the question "was it always so slow?".
//
// The order ends with whoever gave it: a command that is interrupted ends its request, which
// cancels the call of the order, whose ctx the workers have.

// What is measured.
const (
	BenchCalls   = "calls"
	BenchCasts   = "casts"
	BenchStreams = "streams"
)

// Bounds of a measurement.
const (
	mostBench      = time.Minute
	mostBenchAtOne = 256
	mostBenchSize  = 64 << 10
	usualBench     = 5 * time.Second
	benchSettle    = 3 * time.Second // for what was sent and has not run yet
)

// BenchRequest asks for a measurement. What is absent has its usual value.
type BenchRequest struct {
	// Calls, casts or streams.
	What string `json:"what"`
	// The node that sends; absent: the one that is asked.
	From string `json:"from,omitempty"`
	// Node/loop that takes it.
	To string `json:"to"`
	// For so long, 1m at most; 0: 5s.
	ForMS int64 `json:"for_ms,omitempty"`
	// So many callers at once, or streams; 0: 16, and 1 stream.
	AtOnce int `json:"at_once,omitempty"`
	// Bytes in each; 0: 64, and 16 KiB of a stream.
	Size int `json:"size_bytes,omitempty"`
}

// Bench is a measurement, or how far one is.
type Bench struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	// From>To, "" when none was made.
	ID   string `json:"id"`
	What string `json:"what,omitempty"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// It has not ended.
	Running bool  `json:"running"`
	AtOnce  int   `json:"at_once"`
	Size    int   `json:"size_bytes"`
	TookUS  int64 `json:"took_us"`
	// Calls that were answered, casts that ran, writes that were taken.
	Done uint64 `json:"done"`
	// Those that ended in an error or were lost.
	Failed uint64 `json:"failed"`
	// The first of these.
	Error     *Error  `json:"error,omitempty"`
	Bytes     uint64  `json:"bytes"`
	PerSecond float64 `json:"per_second"`
	// How long the sender waited: for the answer of a call, until it could send a cast or a
	// piece of a stream.
	P50US int64 `json:"p50_us"`
	P99US int64 `json:"p99_us"`
	MaxUS int64 `json:"max_us"`
}

// check fills in what is usual, and refuses what is too much. It is called twice, by the node
// that was asked and by the one that measures: the first spares a question to a node that is
// far away, the second holds for a request that another program has sent.
func (q *BenchRequest) check() *Error {
	bad := func(format string, args ...any) *Error {
		return &Error{Kind: BadRequest, Message: fmt.Sprintf(format, args...), Hint: fmt.Sprintf("calls, casts or streams; %v, %d at once and %d bytes at most", mostBench, mostBenchAtOne, mostBenchSize)}
	}
	usual := map[string][2]int{BenchCalls: {16, 64}, BenchCasts: {16, 64}, BenchStreams: {1, 16 << 10}}[q.What]
	if q.ForMS == 0 {
		q.ForMS = usualBench.Milliseconds()
	}
	if q.AtOnce == 0 {
		q.AtOnce = usual[0]
	}
	if q.Size == 0 {
		q.Size = usual[1]
	}
	switch {
	case usual[0] == 0:
		return bad("there is nothing called %q to measure", q.What)
	case q.ForMS < 0 || q.ForMS > mostBench.Milliseconds():
		return bad("a measurement of %v", time.Duration(q.ForMS)*time.Millisecond)
	case q.AtOnce < 1 || q.AtOnce > mostBenchAtOne, q.What == BenchStreams && q.AtOnce > maxSinks:
		return bad("%d at once (of streams %d at most)", q.AtOnce, maxSinks)
	case q.Size < 1 || q.Size > mostBenchSize:
		return bad("pieces of %d bytes", q.Size)
	case strings.Count(q.To, "/") != 1 || strings.HasPrefix(q.To, "/") || strings.HasSuffix(q.To, "/"):
		return &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is no loop", q.To), Hint: `write NODE/LOOP; "loopmesh loop ls" lists them`, Code: codeBadAddress}
	}
	return nil
}

// benchRun is one measurement. Its counters are read while it runs: by whoever asks how far it
// is. They are atomic and not behind mu, because hundreds of workers write them; each is right
// by itself, and two of them may be a moment apart until the measurement has ended.
//
// Invariant: ended is 0 as long as a worker may still send; from then on nothing changes.
type benchRun struct {
	q      BenchRequest
	node   *cluster.Node
	sent   atomic.Uint64
	done   atomic.Uint64
	failed atomic.Uint64
	waits  waits

	mu    sync.Mutex
	begun time.Time
	first *Error // that was met
	ended time.Duration
}

// fail counts a failure.
func (b *benchRun) fail(err error) {
	b.failed.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == nil {
		b.first = asError(err)
	}
}

// document is how far it is.
func (b *benchRun) document() Bench {
	b.mu.Lock()
	first, took, begun := b.first, b.ended, b.begun
	b.mu.Unlock()
	d := Bench{
		Kind: "Bench", APIVersion: APIVersion, ID: b.node.Name() + ">" + b.q.To, What: b.q.What, From: b.node.Name(), To: b.q.To, Running: took == 0,
		AtOnce: b.q.AtOnce, Size: b.q.Size, Done: b.done.Load(), Failed: b.failed.Load(), Error: first,
		P50US: b.waits.at(0.5), P99US: b.waits.at(0.99), MaxUS: b.waits.most.Load(),
	}
	if took == 0 {
		took = time.Since(begun)
	}
	d.TookUS, d.Bytes = took.Microseconds(), d.Done*uint64(b.q.Size)
	d.PerSecond = float64(d.Done) / max(took, time.Microsecond).Seconds()
	return d
}

// benchAnswer is what the order answers: errors that a person can do something about travel
// as values, as in logAnswer.
type benchAnswer struct {
	Bench Bench  `json:"bench"`
	Wrong *Error `json:"wrong"`
}

// The order, and the question how far it is.
var (
	orderBench = cluster.Func(registry.OrderPrefix+"bench", func(ctx context.Context, q BenchRequest) (benchAnswer, error) {
		s, _, err := mineOf(ctx)
		if err != nil {
			return benchAnswer{}, err
		}
		if wrong := q.check(); wrong != nil {
			return benchAnswer{Wrong: wrong}, nil
		}
		b := &benchRun{q: q, node: s.node, begun: time.Now()}
		if have := s.bench.Load(); have != nil && have.document().Running || !s.bench.CompareAndSwap(have, b) {
			return benchAnswer{Wrong: &Error{Kind: Refused, Code: codeBenchRuns, Message: "node " + s.node.Name() + " is measuring already", Hint: "wait for it: two would measure each other"}}, nil
		}
		s.note(Event{Code: codeBench, Subject: s.node.Name(), Text: fmt.Sprintf("%s to %s for %v, %d at once", q.What, q.To, time.Duration(q.ForMS)*time.Millisecond, q.AtOnce)})
		_, err = loopnode.ToThread(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, b.run(ctx) })
		if err != nil {
			return benchAnswer{Wrong: s.advise(ctx, err, q.To).(*Error)}, nil
		}
		return benchAnswer{Bench: b.document()}, nil
	})
	askBench = cluster.Func(internalPrefix+"bench", func(ctx context.Context, _ struct{}) (Bench, error) {
		s, _, err := mineOf(ctx)
		if err != nil {
			return Bench{}, err
		}
		if b := s.bench.Load(); b != nil {
			return b.document(), nil
		}
		return Bench{Kind: "Bench", APIVersion: APIVersion}, nil
	})
)

// run measures, on a goroutine that may wait. An error is one that kept it from beginning.
func (b *benchRun) run(ctx context.Context) error {
	to, err := b.node.Ref(b.q.To)
	if err == nil { // is it there, and does its program know these functions?
		_, err = benchEcho.Via(b.node).Call(ctx, to, benchCall{})
	}
	if err == nil {
		err = map[string]func(context.Context, loopnode.Ref) error{BenchCalls: b.calls, BenchCasts: b.casts, BenchStreams: b.streams}[b.q.What](ctx, to)
	}
	b.mu.Lock()
	if b.ended == 0 {
		b.ended = max(time.Since(b.begun), 1)
	}
	b.mu.Unlock()
	return errors.Join(err, context.Cause(ctx))
}

// When is it over? No worker begins anything behind the time, and each ends what it has begun:
// a call that was made is waited for, so that a slow answer counts as one and not as none. Each
// does one thing at least, however busy the machine is.
//
// atOnce lets as many workers as are wanted do one thing again and again until the time is
// over, and waits for them.
func (b *benchRun) atOnce(ctx context.Context, one func(ctx context.Context) error) {
	b.mu.Lock()
	b.begun = time.Now() // what was opened before is no part of it
	until := b.begun.Add(time.Duration(b.q.ForMS) * time.Millisecond)
	b.mu.Unlock()
	var work sync.WaitGroup
	for range b.q.AtOnce {
		// goroutine: owner: run, which waits for it; ends when the measurement's time is over, or with ctx
		work.Go(func() {
			for first := true; ctx.Err() == nil && (first || time.Now().Before(until)); first = false {
				from := time.Now()
				if err := one(ctx); err != nil {
					b.fail(err)
					return // what fails once would fail in a tight loop
				}
				b.waits.add(time.Since(from))
			}
		})
	}
	work.Wait()
}

// calls waits for the answer of each. It ends when the last one has come.
func (b *benchRun) calls(ctx context.Context, to loopnode.Ref) error {
	call, data := benchEcho.Via(b.node), make([]byte, b.q.Size)
	b.atOnce(ctx, func(ctx context.Context) error {
		back, err := call.Call(ctx, to, benchCall{Data: data})
		if err == nil && len(back.Data) != len(data) {
			err = fmt.Errorf("%d bytes came back of %d", len(back.Data), len(data))
		}
		if err == nil {
			b.done.Add(1)
		}
		return err
	})
	return nil
}

// A cast that was sent is not one that ran: the sender has credit for many. So the receiver
// counts, and the sender asks it behind the time until the two numbers agree.
//
// casts are counted by the loop that runs them. The time ends with the last one that ran.
func (b *benchRun) casts(ctx context.Context, to loopnode.Ref) error {
	open, err := benchBegin.Via(b.node).Call(ctx, to, benchOpen{ForMS: b.q.ForMS})
	if err != nil {
		return err
	}
	defer b.closeSink(ctx, to, open.Number)
	cast, data := benchCast.Via(b.node), make([]byte, b.q.Size)
	b.atOnce(ctx, func(ctx context.Context) error {
		err := cast.CallSoon(ctx, to, benchCall{Sink: open.Number, Data: data})
		if err == nil {
			b.sent.Add(1)
		}
		return err
	})
	return b.settle(ctx, to, open.Number, func(have benchCount) bool {
		b.done.Store(have.Done)
		return have.Done >= b.sent.Load()
	})
}

// Each stream has a worker: two writers to one would wait for each other. What was accepted by
// a stream is in its window and not yet there, so each is drained before its sink is asked.
//
// streams writes to sinks there, one each. The time ends when the last bytes were taken.
func (b *benchRun) streams(ctx context.Context, to loopnode.Ref) error {
	data := make([]byte, b.q.Size)
	lines := make(chan *streams.Stream, b.q.AtOnce)
	for range b.q.AtOnce {
		open, err := benchBegin.Via(b.node).Call(ctx, to, benchOpen{From: b.node.Name(), ForMS: b.q.ForMS})
		if err != nil {
			return err
		}
		defer b.closeSink(ctx, to, open.Number)
		node, _, _ := strings.Cut(b.q.To, "/")
		line, err := b.node.Inside(inside.Key{}).Open(ctx, actors.Address{Node: node, Path: open.Path})
		if err != nil {
			return err
		}
		defer line.Close()
		lines <- line
		defer func() {
			have, err := benchLook.Via(b.node).Call(ctx, to, benchOpen{Number: open.Number})
			if err != nil {
				b.fail(err)
			}
			b.done.Add(have.Bytes / uint64(b.q.Size))
		}()
	}
	b.atOnce(ctx, func(ctx context.Context) error {
		line := <-lines // as many as there are workers: none waits
		defer func() { lines <- line }()
		return line.WriteWait(ctx, data)
	})
	for range b.q.AtOnce {
		if err := (<-lines).Drain(ctx); err != nil {
			b.fail(err)
		}
	}
	return nil
}

// settle asks again and again what has come, until it is all or nothing more comes in time;
// what is missing then has failed.
func (b *benchRun) settle(ctx context.Context, to loopnode.Ref, number uint64, all func(benchCount) bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(benchSettle); ; {
		have, err := benchLook.Via(b.node).Call(ctx, to, benchOpen{Number: number})
		if err != nil {
			return err
		}
		if all(have) {
			return nil
		}
		if time.Now().After(end) {
			missing := b.sent.Load() - have.Done
			b.fail(fmt.Errorf("%w: %d casts did not run there within %v", cluster.ErrLost, missing, benchSettle))
			b.failed.Add(missing - 1)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// closeSink lets the other side forget. When it cannot be told, the sink ends by itself.
func (b *benchRun) closeSink(ctx context.Context, to loopnode.Ref, number uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = benchEnd.Via(b.node).Call(ctx, to, benchOpen{Number: number}) // see above
}

// Why no library for that? It is two numbers of a table, and one is asked for at the end. Every
// add costs two additions that no other worker waits for, but for a new longest wait.
//
// waits counts how long senders waited: in each power of two of a nanosecond there are eight
// equal buckets, so a percentile is too large by an eighth at most. Any goroutine.
type waits struct {
	buckets [64 * 8]atomic.Uint64
	most    atomic.Int64 // microseconds
}

// add counts one.
func (w *waits) add(d time.Duration) {
	w.buckets[bucketOf(uint64(max(d, 0)))].Add(1)
	for us := d.Microseconds(); ; {
		have := w.most.Load()
		if us <= have || w.most.CompareAndSwap(have, us) {
			return
		}
	}
}

// bucketOf is the place of a number: its highest bit and the three bits below that.
func bucketOf(n uint64) int {
	high := max(bits.Len64(n), 4) - 1
	return high*8 + int(n>>(high-3))&7
}

// at is the upper edge of the bucket in which the share of all lies, in microseconds; never
// more than the longest.
func (w *waits) at(share float64) int64 {
	all := uint64(0)
	for i := range w.buckets {
		all += w.buckets[i].Load()
	}
	want, sum := uint64(share*float64(all)), uint64(0)
	for i := range w.buckets {
		if sum += w.buckets[i].Load(); sum > want {
			high, part := i/8, i%8
			edge := uint64(8+part+1) << max(high-3, 0)
			return min(int64(edge/1000), w.most.Load())
		}
	}
	return w.most.Load()
}

// benchRoute carries out a measurement and waits for it.
func (s *Server) benchRoute(ctx context.Context, r *http.Request) (any, error) {
	var q BenchRequest
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: "the request is no measurement: " + err.Error(), Hint: `send {"what": "calls", "to": "node/loop"}`}
	}
	if wrong := q.check(); wrong != nil {
		return nil, wrong
	}
	if q.From == "" {
		q.From = s.node.Name()
	}
	a, err := callNode(ctx, s, q.From, orderBench, q)
	switch {
	case err != nil:
		return nil, err
	case a.Wrong != nil:
		return nil, a.Wrong
	}
	return &a.Bench, nil
}

// benchStatus tells how far the measurement of a node is.
func (s *Server) benchStatus(ctx context.Context, r *http.Request) (any, error) {
	_, b, err := onNode(ctx, s, r, askBench, struct{}{})
	return &b, err
}

// Bench has a node of the cluster send to a loop of another one, and waits for the figures:
// ctx has to leave it the time of the measurement.
func (c *Client) Bench(ctx context.Context, q BenchRequest) (*Bench, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	return send[Bench](ctx, c, http.MethodPost, "bench", nil, body)
}

// Benching tells how far the measurement of a node is, or how its last one ended.
func (c *Client) Benching(ctx context.Context, node string) (*Bench, error) {
	return send[Bench](ctx, c, http.MethodGet, "bench", url.Values{"id": {node}}, nil)
}
