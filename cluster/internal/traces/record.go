package traces

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// A person asks where the time of one call goes, on a cluster that sends its spans nowhere.
// Each node keeps the spans of that call for a while, and whoever asked fetches them.
//
// How does a node know which calls are meant? Whoever asks gives all nodes the name of a
// recording first (Begin). A call belongs to it when its ctx says so, or when it comes from
// another node with that name in its tracestate ("loopmesh=NAME"), or when the recording is
// about a function and this is a call of it. What a recorded function calls is below it in
// the same way, on whichever node.
//
// What does it cost? While nobody asks, one atomic load for each call. A name that comes in a
// frame and was not given here by Begin, which takes the right "admin", records nothing: a
// node that may only call cannot make others keep anything.
//
// Invariant: a recording keeps at most maxSpans, and is gone when it is taken or its time is
// over, whichever comes first; there are at most maxRecordings.

// Bounds of what is recorded: all of a recording fits into one message.
const (
	maxSpans      = 500
	maxRecordings = 4
	maxText       = 200 // bytes of an error
)

// Span is one end of a call: its caller's side (Called), or the function's. Durations are by
// the clock of Node alone, so they are true whatever the clocks of two nodes say.
type Span struct {
	ID     string    `json:"id"`
	Parent string    `json:"parent"` // "": none that is known
	Called bool      `json:"called"`
	Name   string    `json:"name"`   // of the function
	Node   string    `json:"node"`   // where this was recorded
	Target string    `json:"target"` // node/loop
	Begun  time.Time `json:"begun"`
	// Between the arrival on the node and the beginning of the function: the queue of its loop.
	QueueNS int64  `json:"queue_ns"`
	TookNS  int64  `json:"took_ns"`
	Open    bool   `json:"open"` // it has not ended
	Error   string `json:"error"`
}

// Recorded is what one node has of a recording. Dropped counts what it had no room for.
type Recorded struct {
	Spans   []Span `json:"spans"`
	Dropped int    `json:"dropped"`
}

// ErrBusy: too many recordings at a time.
var ErrBusy = errors.New("too many recordings at a time")

// recording is one of them. Guarded by mu, but for the first two, which stay.
type recording struct {
	name, function string

	mu      sync.Mutex
	spans   []*Span
	dropped int
	expire  *time.Timer
}

// recordings are those of a node: replaced as a whole, so that a call reads them without a
// lock.
type recordings struct{ all []*recording }

// recordedKey is under which a ctx says to which recording its calls belong, and below which
// span. Why not the span that OpenTelemetry has in the ctx? A program may have made spans of
// its own in between, which no recording has.
type recordedKey struct{}

type within struct{ name, span string }

// A name is random, so that nobody who may not ask can guess one that is under way and push
// spans of his own into it.
//
// NewRecording is a name that no other recording has.
func NewRecording() string { return rand.Text() }

// Into has the calls that are made with the ctx belong to a recording.
func Into(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, recordedKey{}, within{name: name})
}

// Begin begins a recording, which ends by itself after d: of calls that are made Into it and,
// unless it is "", of calls of a function. Any goroutine. Error: ErrBusy.
func (t *Tracer) Begin(name, function string, d time.Duration) error {
	r := &recording{name: name, function: function}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.recorded.Load()
	var all []*recording
	if now != nil {
		all = now.all
	}
	if len(all) >= maxRecordings {
		return fmt.Errorf("%w: %d on node %s", ErrBusy, len(all), t.node)
	}
	r.expire = time.AfterFunc(d, func() { t.Take(name) })
	t.recorded.Store(&recordings{append(slices.Clone(all), r)})
	return nil
}

// The durations of what is open are those of this moment. Nothing is kept behind: ends that
// come later write into spans that nobody has any more.
//
// Take ends a recording and gives what it has. One that is over has nothing. Any goroutine.
func (t *Tracer) Take(name string) (out Recorded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.recorded.Load()
	if now == nil {
		return out
	}
	left := slices.Clone(now.all)
	i := slices.IndexFunc(left, func(r *recording) bool { return r.name == name })
	if i < 0 {
		return out
	}
	r := left[i]
	r.expire.Stop()
	if left = slices.Delete(left, i, i+1); len(left) == 0 {
		t.recorded.Store(nil)
	} else {
		t.recorded.Store(&recordings{left})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		one := *s
		if one.Open {
			one.TookNS = int64(time.Since(one.Begun))
		}
		out.Spans = append(out.Spans, one)
	}
	out.Dropped = r.dropped
	return out
}

// find is the recording that a call belongs to, nil for none. What its ctx says counts first,
// then what came with the frame; a recording of a function begins with a call of it that
// belongs to no other.
func (t *Tracer) find(ctx context.Context, function string) *recording {
	now := t.recorded.Load()
	if now == nil {
		return nil
	}
	in, _ := ctx.Value(recordedKey{}).(within)
	name := in.name
	if name == "" {
		name = trace.SpanContextFromContext(ctx).TraceState().Get(mark)
	}
	for _, r := range now.all {
		if name == r.name || name == "" && r.function == function && function != "" {
			return r
		}
	}
	return nil
}

// Why a span is kept at its beginning and not at its end? What hangs is what somebody looks for,
// and it would not be seen: it has no end. One that is fetched in between is marked open.
//
// add keeps a span, and returns what ends it. Any goroutine.
func (r *recording) add(s Span) (end func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spans) >= maxSpans {
		r.dropped++
		return func(error) {}
	}
	s.Open = true
	kept := &s
	r.spans = append(r.spans, kept)
	return func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		kept.Open, kept.TookNS = false, int64(time.Since(kept.Begun))
		if err != nil {
			text := fmt.Sprint(err)
			kept.Error = text[:min(len(text), maxText)]
		}
	}
}

// mark is the name of our part of a tracestate.
const mark = "loopmesh"

// marked is a context of a span that says to which recording it belongs. What is no text for
// a tracestate leaves it as it is.
func marked(sc trace.SpanContext, name string) trace.SpanContext {
	state, err := sc.TraceState().Insert(mark, name)
	if err != nil {
		return sc
	}
	return sc.WithTraceState(state)
}

// below makes a context of a span for a call that no provider makes a span of: the trace is
// that of ctx, or a new one. It is not sampled unless the one above it was, so that a node
// with a provider exports no half of a trace.
func below(ctx context.Context) trace.SpanContext {
	up := trace.SpanContextFromContext(ctx)
	c := trace.SpanContextConfig{TraceID: up.TraceID(), TraceFlags: up.TraceFlags(), TraceState: up.TraceState()}
	if !up.HasTraceID() {
		_, _ = rand.Read(c.TraceID[:]) // it never fails
	}
	_, _ = rand.Read(c.SpanID[:])
	return trace.NewSpanContext(c)
}
