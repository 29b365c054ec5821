package admin

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The receiving half of a measurement (bench.go): functions that run on the loop that is
// measured, and a place where a stream ends. They count what has really come, since a
// sender knows of its calls without an answer only that they were sent.
//
// They take the right to call functions and no other: whoever may call any function may
// load this node with it anyway. What they keep is bounded: at most maxSinks at a time,
// each of which is given up by itself after its time.

// How does one end? The sender closes it. A sender that died does not, so each has a time of its
// own, and the next one that is opened takes those away whose time is over. No timer runs for
// that: four that are forgotten cost four entries, until somebody wants to measure again.

// Bounds of what other nodes may have measured here at once, and how much longer than its
// measurement a sink lives, for a sender that was slow.
const (
	maxSinks  = 4
	sinkGrace = 15 * time.Second
)

// sink counts what one measurement has brought here.
type sink struct {
	until time.Time
	stop  func() // takes the expectation of a stream back; nil: of calls without an answer
	done  atomic.Uint64
	bytes atomic.Uint64
}

// sinks are those of one node.
type sinks struct {
	mu   sync.Mutex
	all  map[uint64]*sink
	last uint64
}

// add makes a sink and gives up those whose time is over. expect is called with its number
// and opens it for a stream.
func (t *sinks) add(lives time.Duration, expect func(number uint64, k *sink) (stop func(), err error)) (number uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for have, k := range t.all {
		if now.After(k.until) {
			t.dropLocked(have)
		}
	}
	if len(t.all) >= maxSinks {
		return 0, fault.Codef(wire.Busy, "%w: %d measurements end here already", cluster.ErrBusy, len(t.all))
	}
	t.last++
	k := &sink{until: now.Add(lives)}
	if k.stop, err = expect(t.last, k); err != nil {
		return 0, err
	}
	if t.all == nil {
		t.all = map[uint64]*sink{}
	}
	t.all[t.last] = k
	return t.last, nil
}

// find is nil for one that was given up.
func (t *sinks) find(number uint64) *sink {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[number]
}

// drop gives one up; one that is not there is fine.
func (t *sinks) drop(number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLocked(number)
}

func (t *sinks) dropLocked(number uint64) {
	if k := t.all[number]; k != nil && k.stop != nil {
		k.stop()
	}
	delete(t.all, number)
}

// The number of a sink is its only name; it is told to its sender and to nobody else. A cast with
// the number of one that is over, or never was, is counted nowhere: it was late.

// benchCall is one call of a measurement. Data is what it carries.
type benchCall struct {
	Sink uint64 `json:"sink"`
	Data []byte `json:"data"`
}

// benchOpen asks for a sink.
type benchOpen struct {
	From   string `json:"from"` // the node whose stream may come; "": calls without an answer
	ForMS  int64  `json:"for_ms"`
	Number uint64 `json:"number"` // of benchClose
}

// benchCount is what has come.
type benchCount struct {
	Number uint64 `json:"number"`
	Path   string `json:"path"` // where the stream is opened
	Done   uint64 `json:"done"`
	Bytes  uint64 `json:"bytes"`
}

// sinksHere are those of the node in ctx.
func sinksHere(ctx context.Context) (*Server, *sinks, error) {
	s, _, err := mineOf(ctx)
	if err != nil {
		return nil, nil, err
	}
	return s, &s.sinks, nil
}

// The functions. Calls and casts run on the loop that is measured, as those of a program do.
var (
	benchEcho = cluster.Func(internalPrefix+"bench.call", func(_ context.Context, c benchCall) (benchCall, error) { return c, nil })
	benchCast = cluster.Func(internalPrefix+"bench.cast", func(ctx context.Context, c benchCall) (struct{}, error) {
		_, all, err := sinksHere(ctx)
		if err != nil {
			return struct{}{}, err
		}
		if k := all.find(c.Sink); k != nil {
			k.done.Add(1)
			k.bytes.Add(uint64(len(c.Data)))
		}
		return struct{}{}, nil
	})
	benchBegin = cluster.Func(internalPrefix+"bench.open", func(ctx context.Context, o benchOpen) (benchCount, error) {
		s, all, err := sinksHere(ctx)
		if err != nil {
			return benchCount{}, err
		}
		lives := min(max(time.Duration(o.ForMS)*time.Millisecond, 0), mostBench) + sinkGrace
		expect := func(uint64, *sink) (func(), error) { return nil, nil }
		if o.From != "" {
			expect = func(number uint64, k *sink) (func(), error) {
				return s.node.Inside(inside.Key{}).Expect(benchPath(number), o.From, sinkOfStream{k})
			}
		}
		number, err := all.add(lives, expect)
		return benchCount{Number: number, Path: benchPath(number)}, err
	})
	benchLook = cluster.Func(internalPrefix+"bench.count", func(ctx context.Context, o benchOpen) (benchCount, error) {
		_, all, err := sinksHere(ctx)
		if err != nil {
			return benchCount{}, err
		}
		k := all.find(o.Number)
		if k == nil {
			return benchCount{}, fmt.Errorf("measurement %d is over here", o.Number)
		}
		return benchCount{Number: o.Number, Done: k.done.Load(), Bytes: k.bytes.Load()}, nil
	})
	benchEnd = cluster.Func(internalPrefix+"bench.close", func(ctx context.Context, o benchOpen) (struct{}, error) {
		_, all, err := sinksHere(ctx)
		if err == nil {
			all.drop(o.Number)
		}
		return struct{}{}, err
	})
)

// benchPath is where the stream of a measurement is opened.
func benchPath(number uint64) string { return "$bench/" + strconv.FormatUint(number, 10) }

// sinkOfStream takes the bytes of a stream and forgets them, as fast as they come: what is
// measured is the way to here. It is called on the receiving goroutine and waits for nothing.
type sinkOfStream struct{ k *sink }

// Feed counts.
func (t sinkOfStream) Feed(p []byte, taken func(error)) error {
	t.k.done.Add(1)
	t.k.bytes.Add(uint64(len(p)))
	taken(nil)
	return nil
}

// The end of the stream changes nothing: who measures asks what has come, and closes the sink.

func (t sinkOfStream) WriteEOF(func(error)) error { return nil }
func (t sinkOfStream) Close() error               { return nil }
func (t sinkOfStream) Abort() error               { return nil }
func (t sinkOfStream) Fail(error) error           { return nil }
func (t sinkOfStream) PauseReading() error        { return nil }
func (t sinkOfStream) ResumeReading() error       { return nil }

// OnEnd: a sink never ends by itself.
func (t sinkOfStream) OnEnd(func(error)) (func(), error) { return func() {}, nil }
