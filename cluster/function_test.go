package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// pass hands a message on along a list of loops: a function that calls itself.
var (
	pass   = Declare[[]string, struct{}]("test.pass")
	passed = make(chan string, 10)
	_      = pass.Handle(func(ctx context.Context, way []string) (struct{}, error) {
		if len(way) == 0 {
			passed <- mustNode(ctx).Name()
			return struct{}{}, nil
		}
		ref, err := mustNode(ctx).Ref(way[0])
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, pass.CallSoon(ctx, ref, way[1:])
	})
)

func TestAFunctionMayCallItself(t *testing.T) {
	nodes := group(t, 3)
	for _, n := range nodes {
		newLoop(t, n, "io")
	}
	if err := pass.CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io"), []string{"n3/io", "n1/io", "n1/io"}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "the message", passed); got != "n1" {
		t.Errorf("it ended on %s", got)
	}
}

func TestADeclaredFunctionWithoutABodyIsUnknown(t *testing.T) {
	empty := Declare[int, int]("test.empty")
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io")
	for _, n := range nodes { // one calls another node, one its own loop
		_, err := empty.Call(testCtx(t), refTo(t, n, "n2/io"), 1)
		wantIs(t, err, ErrUnknownFunction)
	}
	for name, register := range map[string]func(){
		"no body":         func() { empty.Handle(nil) },
		"a second body":   func() { pass.Handle(func(context.Context, []string) (struct{}, error) { return struct{}{}, nil }) },
		"a second name":   func() { Declare[int, int]("test.empty") },
		"a reserved name": func() { Declare[int, int]("$x") },
	} {
		if guard.Call(register) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestARefIsOfItsNode: with several nodes in a process nothing is guessed.
func TestARefIsOfItsNode(t *testing.T) {
	nodes := group(t, 3)
	newLoop(t, nodes[2], "io")
	for _, n := range nodes[:2] {
		before := n.Stats().Calls
		if got, err := add.Call(testCtx(t), refTo(t, n, "n3/io"), sum{1, 2}); got != 3 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		if n.Stats().Calls != before+1 {
			t.Errorf("%s did not carry the call", n.Name())
		}
	}
	bare := loopnode.RemoteRef(actors.Address{Node: "n3", Path: "io"})
	_, err := add.Call(testCtx(t), bare, sum{})
	wantIs(t, err, ErrNoNode)
	wantIs(t, add.CallSoon(testCtx(t), bare, sum{}), ErrNoNode)
	if got, err := add.Call(nodes[1].Context(testCtx(t)), bare, sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestCallTimeoutHoldsForTheOwnLoops(t *testing.T) {
	n := group(t, 1, func(c *Config) { c.CallTimeout = 50 * time.Millisecond })[0]
	ref := newLoop(t, n, "io")
	_, err := holdFunc.Call(context.Background(), refTo(t, n, "n1/io"), struct{}{})
	wantIs(t, err, ErrExpired, context.DeadlineExceeded)
	receive(t, "its beginning", hold.began)
	wantIs(t, receive(t, "its end", hold.ended), loopnode.ErrCancelled)

	relayed := make(chan error, 1) // and for a task that waits
	if err := ref.CallSoonThreadsafe(func() {
		loop, _ := ref.Local()
		loopnode.CreateTask(n.loopContext(loop), "", func(ctx context.Context) (int, error) {
			_, err := naps.Call(ctx, ref, time.Hour)
			relayed <- err
			return 0, nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the call of the task", relayed), ErrExpired)
}

func TestAClosedNodeSaysSoOfItsLoops(t *testing.T) {
	n := group(t, 1)[0]
	own := newLoop(t, n, "io")
	n.Close()
	_, err := n.Ref("n1/io")
	wantIs(t, err, ErrClosed)
	_, err = add.Via(n).Call(testCtx(t), loopnode.RemoteRef(actors.Address{Node: "n1", Path: "io"}), sum{})
	wantIs(t, err, ErrClosed)
	_, err = add.Via(n).Call(testCtx(t), own, sum{})
	wantIs(t, err, ErrClosed)
}

var anything = Func("test.anything", func(_ context.Context, in any) (any, error) { return in, nil })

func TestBytesTravelAsAnyType(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io")
	got, err := anything.Call(testCtx(t), refTo(t, nodes[0], "n2/io"), []byte("abc"))
	if b, ok := got.([]byte); !ok || string(b) != "abc" || err != nil {
		t.Errorf("got %v (%T), %v", got, got, err)
	}
}

func TestWithoutAContextNothingIsCalled(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io")
	far, near := refTo(t, nodes[0], "n2/io"), refTo(t, nodes[1], "n2/io")
	conn, err := nodes[0].Transport("n2/io/c1")
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	for name, call := range map[string]func() error{
		"Start":       func() error { _, err := Start(none, Config{}); return err },
		"Call":        func() error { _, err := add.Call(none, far, sum{}); return err },
		"Call here":   func() error { _, err := add.Call(none, near, sum{}); return err },
		"CallSoon":    func() error { return add.CallSoon(none, far, sum{}) },
		"TryCallSoon": func() error { return add.TryCallSoon(none, near, sum{}) },
		"CallLater":   func() error { return add.CallLater(none, far, 0, sum{}) },
		"CallAt":      func() error { return add.CallAt(none, far, time.Now(), sum{}) },
		"CallJSON":    func() error { _, err := nodes[0].CallJSON(none, far, "test.add", nil); return err },
		"WaitMembers": func() error { return nodes[0].WaitMembers(none, 9) },
		"Write":       func() error { return conn.Write(none, nil) },
		"Close":       func() error { return conn.Close(none) },
		"Stop":        func() error { return nodes[0].Stop(none) },
	} {
		if err := call(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if nodes[0].Context(none) == nil {
		t.Error("Context without a parent gives none")
	}
}
