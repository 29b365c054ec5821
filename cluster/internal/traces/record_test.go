package traces

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// a is who calls, b where it runs.
func pair() (a, b *Tracer) { return New(nil, "a"), New(nil, "b") }

func TestNothingIsMadeWhileNobodyAsks(t *testing.T) {
	a, b := pair()
	text, end := a.Call(context.Background(), "f", "b/io-0")
	end(nil)
	ctx, end := b.Run(context.Background(), "", "f", "io-0", trace.SpanKindServer, time.Time{})
	end(nil)
	if text != "" || ctx != context.Background() || a.On() || b.On() || (*Tracer)(nil).On() {
		t.Errorf("%q", text)
	}
}

func begin(t *testing.T, name, function string, all ...*Tracer) {
	t.Helper()
	for _, one := range all {
		if err := one.Begin(name, function, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
}

// What belongs to a recording is kept on both sides, and below what called it; the rest is not.
func TestACallIsRecordedOnBothSides(t *testing.T) {
	a, b := pair()
	begin(t, "one", "", a, b)
	text, ended := a.Call(Into(context.Background(), "one"), "f", "b/io-0")
	came := time.Now().Add(-time.Second)
	ctx, ran := b.Run(context.Background(), text, "f", "io-0", trace.SpanKindServer, came)
	inner, innerEnded := b.Call(ctx, "g", "a/io-0")
	_, other := a.Call(context.Background(), "f", "b/io-0")
	other(nil)
	innerEnded(nil)
	ran(errors.New(strings.Repeat("no", 200)))
	at, bs := a.Take("one"), b.Take("one")
	ended(nil) // behind its end: nothing
	if len(at.Spans) != 1 || len(bs.Spans) != 2 || !at.Spans[0].Open || inner == "" {
		t.Fatalf("%+v %+v", at, bs)
	}
	call, run, next := at.Spans[0], bs.Spans[0], bs.Spans[1]
	if run.Parent != call.ID || next.Parent != run.ID || !call.Called || run.Called || time.Duration(run.QueueNS) < time.Second || len(run.Error) != maxText {
		t.Errorf("%+v %+v %+v", call, run, next)
	}
	if a.On() || b.On() || len(b.Take("one").Spans) > 0 {
		t.Error("it is recorded still")
	}
}

// A recording of a function begins with its calls, at whichever end it is seen first.
func TestCallsOfAFunctionAreRecorded(t *testing.T) {
	a, b := pair()
	begin(t, "one", "f", b)
	text, _ := a.Call(context.Background(), "f", "b/io-0") // a does not record
	ctx, end := b.Run(context.Background(), text, "f", "io-0", trace.SpanKindServer, time.Time{})
	_, inner := b.Call(ctx, "g", "a/io-0")
	inner(nil)
	end(nil)
	_, other := b.Call(context.Background(), "g", "a/io-0")
	other(nil)
	if got := b.Take("one").Spans; len(got) != 2 || got[0].Name != "f" || got[1].Parent != got[0].ID {
		t.Errorf("%+v", got)
	}
}

// A name that a frame brings, and that nobody gave to this node, records nothing.
func TestAStrangersNameRecordsNothing(t *testing.T) {
	a, b := pair()
	begin(t, "one", "", a)
	begin(t, "two", "", b)
	text, _ := a.Call(Into(context.Background(), "one"), "f", "b/io-0")
	_, end := b.Run(context.Background(), text, "f", "io-0", trace.SpanKindServer, time.Time{})
	end(nil)
	if got := b.Take("two"); len(got.Spans) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestRecordingsAreBounded(t *testing.T) {
	a, _ := pair()
	for _, name := range []string{"1", "2", "3", "4"} {
		begin(t, name, "", a)
	}
	if err := a.Begin("5", "", time.Hour); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	for range maxSpans + 3 {
		_, end := a.Call(Into(context.Background(), "2"), "f", "b/io-0")
		end(nil)
	}
	if got := a.Take("2"); len(got.Spans) != maxSpans || got.Dropped != 3 {
		t.Errorf("%d, %d", len(got.Spans), got.Dropped)
	}
	begin(t, "5", "", a)
	for _, name := range []string{"1", "3", "4", "5"} {
		a.Take(name)
	}
	if err := a.Begin("6", "", 0); err != nil { // its time is over at once
		t.Fatal(err)
	}
	tick, limit := time.NewTicker(time.Millisecond), time.NewTimer(20*time.Second)
	defer tick.Stop()
	defer limit.Stop()
	for a.On() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("a recording that nobody fetches stays")
		}
	}
}
