package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/internal/wire"
)

var (
	heard  = make(chan string, 1<<16)
	jotted = Func("test.jot", func(_ context.Context, text string) (int, error) { heard <- text; return len(text), nil })
)

func TestCastsCallsAndTellsOfOneSenderKeepTheirOrder(t *testing.T) {
	told := make(chan string, 1<<16)
	nodes := group(t, 2, func(c *Config) { c.MaxInbound = 1 << 20 })
	loop := newLoop(t, nodes[1], "io")
	far, jot := refTo(t, nodes[0], "n2/io"), jotted.Via(nodes[0])
	actor := spawnOn(t, nodes[1], loop, "listener", func(ctx *actors.Context) {
		if m, ok := ctx.Message().(hail); ok {
			told <- m.Text
		}
	})
	const count = 3000
	isTold := func(i int) bool { return i%100 != 99 && i%3 == 0 }
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range count {
			text := fmt.Sprint(i)
			var err error
			switch {
			case i%100 == 99:
				_, err = jot.Call(testCtx(t), far, text)
			case isTold(i):
				err = nodes[0].Actors().Send(actor, hail{text})
			case i%500 == 1: // too large to be gathered with others
				err = jot.CallSoon(testCtx(t), far, text+strings.Repeat(" ", 64<<10))
			default:
				err = jot.CallSoon(testCtx(t), far, text)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range count {
		from := heard // a function is a task, which begins a turn after a message is handed over
		if isTold(i) {
			from = told
		}
		if got := strings.TrimSpace(receive(t, "the next one", from)); got != fmt.Sprint(i) {
			t.Errorf("%s came at %d", got, i)
		}
	}
	receive(t, "the sender", sent)
	if s := nodes[0].Stats(); s.Batches == 0 || s.CastsOut+s.TellsOut < count*9/10 {
		t.Errorf("nothing was gathered: %+v", s)
	}
	if s := nodes[1].Stats(); s.Malformed != 0 || s.Dropped != 0 || s.CastsFailed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCloseSendsWhatWasPosted(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[0], "io")
	far, jot := refTo(t, nodes[1], "n1/io"), jotted.Via(nodes[1])
	for i := range 500 {
		if err := jot.CallSoon(testCtx(t), far, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	nodes[1].Close()
	for i := range 500 {
		if got := receive(t, "the next one", heard); got != fmt.Sprint(i) {
			t.Fatalf("%s came at %d", got, i)
		}
	}
	wantIs(t, jot.CallSoon(testCtx(t), far, "late"), ErrClosed)
}

func TestABadFrameInABatchHurtsNoOther(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io")
	good := wire.Frame{Kind: wire.Cast, From: "n1", FromNumber: nodes[0].number, Path: "io", Function: "test.jot", Op: wire.Later, Flow: 99, Codec: wire.JSON, Payload: []byte(`"fine"`)}
	call := wire.Frame{Kind: wire.Call, From: "n1", FromNumber: nodes[0].number, Path: "io", Function: "test.jot", Codec: wire.JSON, Payload: []byte(`"smuggled"`)}
	b := good.AppendInBatch(wire.AppendBatch(nil))
	b = append(b, 4, 0, 0, 0, 99, 1, 2, 3) // of another version
	b = call.AppendInBatch(b)              // what wants an answer has no business there
	good.At = wire.Amount{Messages: 1, Bytes: credit.Cost(len(good.Payload))}
	b = good.AppendInBatch(b)
	b = append(b, 255, 0, 0, 0, 1) // a length that lies
	for _, message := range [][]byte{b, wire.AppendBatch(nil)} {
		if err := nodes[0].engine.Control().Publish(toNode(nodes[1], "n1"), "", message); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got := receive(t, "a good one", heard); got != "fine" {
			t.Fatal(got)
		}
	}
	until(t, "the others are counted", func() bool { return nodes[1].Stats().Malformed == 4 })
}

func TestALeavingNodeEndsCallsWithOneError(t *testing.T) {
	nodes := group(t, 2)
	for i := range 20 {
		far := start(t, Config{Name: fmt.Sprintf("x%d", i), Beside: nodes[0]})
		newLoop(t, far, "io")
		call := make(chan error, 1)
		go func() {
			_, err := holdFunc.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], far.Name()+"/io"), struct{}{})
			call <- err
		}()
		receive(t, "the call", hold.began)
		far.Close()
		wantIs(t, receive(t, "the call's end", call), ErrClosed)
		receive(t, "the callee's end", hold.ended)
	}
}
