package cluster

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/loopnode"
)

// What the functions that a program gives to a node may do: panic, end their goroutine
// as t.FailNow does, close the node.

// stops counts the runs of stopsItsNode.
var stops atomic.Int64

var stopsItsNode = Func("test.stops-its-node", func(ctx context.Context, _ struct{}) (struct{}, error) {
	stops.Add(1)
	return struct{}{}, mustNode(ctx).Stop(ctx)
})

func TestAWatcherThatEndsItsGoroutineKeepsNobodyWaiting(t *testing.T) {
	n := start(t, Config{Name: "n1"})
	var told atomic.Int64
	for _, fail := range []func(){func() { panic("watcher") }, runtime.Goexit, runtime.Goexit, func() {}} {
		if _, err := n.Watch(refTo(t, n, "absent/io-0"), func(Terminated) { told.Add(1); fail() }); err != nil {
			t.Fatal(err)
		}
	}
	untilRan(t, &told, 4)
	n.Close()
}

func TestAFunctionOfTheNodeMayCloseIt(t *testing.T) {
	n := start(t, Config{Name: "n1"})
	if _, err := n.Watch(refTo(t, n, "absent/io-0"), func(Terminated) { n.Close() }); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of a node that Watch's function closed", n.Done())

	n = start(t, Config{Name: "n1", OnLoss: func(Loss) { _ = n.Stop(context.Background()) }})
	n.lost(Loss{Target: "n2/io-0", Count: 1, Reason: ErrLost})
	receive(t, "the end of a node that OnLoss stopped", n.Done())
}

func TestEventsGoOnBehindAFunctionThatPanics(t *testing.T) {
	nodes := group(t, 3)
	ref := newLoop(t, nodes[0], "events")
	loop, _ := ref.Local()
	var told atomic.Int64
	stop, err := nodes[0].OnEvents(loop, func(e events.Event) {
		if told.Add(1)%2 == 0 {
			runtime.Goexit()
		}
		panic(e.Kind.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	untilRan(t, &told, 2)
	nodes[2].Close()
	until(t, "the end of a member is told", func() bool { return told.Load() >= 3 })
}

func TestAFunctionMayStopItsNode(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	before := stops.Load()
	go func() { // the function waits for itself until its caller gives up
		until(t, "the function runs", func() bool { return stops.Load() == before+1 })
		cancel()
	}()
	_, err := stopsItsNode.Via(nodes[0]).Call(ctx, refTo(t, nodes[0], "n2/io-0"), struct{}{})
	wantIs(t, err, context.Canceled)
	receive(t, "the end of a node that its own function stopped", nodes[1].Done())
}

func TestACallbackMayNotStopANode(t *testing.T) {
	n := start(t, Config{Name: "n1"})
	ref := newLoop(t, n, "io-0")
	got := make(chan error, 1)
	if err := ref.CallSoonThreadsafe(func() { got <- n.Stop(context.Background()) }); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the answer of Stop", got), loopnode.ErrWouldBlock)
	if err := n.Stop(testCtx(t)); err != nil {
		t.Error(err)
	}
}

func TestPrepareThatEndsTheNodeLeavesNothing(t *testing.T) {
	var kept *Node
	_, err := Start(testCtx(t), Config{Name: "n1", Prepare: func(_ context.Context, n *Node) error { n.Close(); return nil }})
	wantIs(t, err, ErrClosed)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = Start(context.Background(), Config{Name: "n1", Prepare: func(_ context.Context, n *Node) error {
			kept = n
			runtime.Goexit()
			return nil
		}})
	}()
	receive(t, "the end of Start", ended)
	kept.Close() // a closed node: nothing to wait for; TestMain looks for what is left
}

type brokenError struct{ text *string }

func (e brokenError) Error() string { return *e.text }

var failsBadly = Func("test.fails-badly", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, brokenError{} })

func TestAnErrorThatCannotBeReadIsAnAnswer(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	_, err := failsBadly.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
	var remote *RemoteError
	if !errors.As(err, &remote) || errors.Is(err, ErrExpired) {
		t.Errorf("got %v", err)
	}
}

type ring struct{ Next *ring }

var makesARing = Func("test.makes-a-ring", func(context.Context, struct{}) (*ring, error) {
	r := &ring{}
	r.Next = r
	return r, nil
})

func TestAResultWithoutAnEndIsAnError(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	_, err := makesARing.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
	wantIs(t, err, ErrBadPayload)
}
