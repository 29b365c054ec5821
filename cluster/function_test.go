package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
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

// empty never gets a body.
var empty = Declare[int, int]("test.empty")

func TestADeclaredFunctionWithoutABodyIsUnknown(t *testing.T) {
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
	n := group(t, 1, func(c *Config) { c.CallTimeout = time.Second })[0] // the function has to begin before
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

// TestAnOldAddressReachesNoNewLoop: a loop that ends and a new one of its name are two.
func TestAnOldAddressReachesNoNewLoop(t *testing.T) {
	losses := make(chan Loss, 1)
	nodes := group(t, 2, func(c *Config) { c.OnLoss = func(l Loss) { losses <- l } })
	own := newLoop(t, nodes[1], "db")
	old := refTo(t, nodes[0], own.String()) // as it travels in a message
	if got, err := add.Call(testCtx(t), old, sum{1, 2}); got != 3 || err != nil {
		t.Fatal(got, err)
	}
	ended := watchInto(t, nodes[1], own.String())
	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	receive(t, "its end", ended)
	newLoop(t, nodes[1], "db")
	_, err := add.Call(testCtx(t), old, sum{1, 2})
	wantIs(t, err, ErrStaleAddress)
	if err := castSlow.CallSoon(testCtx(t), old, 1); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the loss", losses).Reason, ErrStaleAddress)
	_, err = nodes[1].Ref(own.String())
	wantIs(t, err, ErrStaleAddress)
	if got, err := add.Call(testCtx(t), refTo(t, nodes[0], "n2/db"), sum{1, 2}); got != 3 || err != nil {
		t.Error(got, err)
	}
}

// TestAnAnswerThatCannotBeSentIsAnError: the result is within Config.MaxPayload, but its
// frame is not within what the server takes.
func TestAnAnswerThatCannotBeSentIsAnError(t *testing.T) {
	_, port := natsServer(t, 0)
	nodes := group(t, 2, func(c *Config) { c.Beside, c.URL, c.MaxPayload = nil, natsURL(port), 1<<20 })
	newLoop(t, nodes[1], "io")
	_, err := grow.Call(testCtx(t), refTo(t, nodes[0], "n2/io"), 1<<20)
	wantIs(t, err, ErrTooLarge)
	if errors.Is(err, ErrExpired) {
		t.Error("the caller waited for its deadline")
	}
}

// gatekeeper passes connections on to a server while it is open.
type gatekeeper struct {
	net.Listener
	to string

	mu    sync.Mutex
	open  bool
	conns []net.Conn
}

func newGatekeeper(t *testing.T, to string) *gatekeeper {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gatekeeper{Listener: l, to: to, open: true}
	var work sync.WaitGroup
	work.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			back, err := g.pass(c)
			if err != nil {
				_ = c.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(back, c); _ = back.Close() })
			work.Go(func() { _, _ = io.Copy(c, back); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); g.set(false); work.Wait() })
	return g
}

func (g *gatekeeper) pass(c net.Conn) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open {
		return nil, net.ErrClosed
	}
	back, err := net.Dial("tcp", g.to)
	if err == nil {
		g.conns = append(g.conns, c, back)
	}
	return back, err
}

func (g *gatekeeper) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	if !open {
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.conns = nil
	}
}

// TestCallsGivenUpEndWhenTheOtherNodeIsBackLater: both nodes lose NATS, and the one
// where the function runs comes back long after the caller.
func TestCallsGivenUpEndWhenTheOtherNodeIsBackLater(t *testing.T) {
	_, port := natsServer(t, 0)
	patient := func(c *Config) { c.Beside, c.Heartbeat, c.DeadAfter = nil, 100*time.Millisecond, time.Minute }
	gates := [2]*gatekeeper{newGatekeeper(t, fmt.Sprintf("127.0.0.1:%d", port)), newGatekeeper(t, fmt.Sprintf("127.0.0.1:%d", port))}
	var nodes [2]*Node
	for i := range nodes {
		cfg := Config{Name: fmt.Sprintf("n%d", i+1), URL: "nats://" + gates[i].Addr().String()}
		patient(&cfg)
		nodes[i] = start(t, cfg)
	}
	for _, n := range nodes {
		if err := n.WaitMembers(testCtx(t), 2); err != nil {
			t.Fatal(err)
		}
	}
	newLoop(t, nodes[1], "io")
	call := make(chan error, 1)
	far := refTo(t, nodes[0], "n2/io")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour) // its deadline must not end the task
	defer cancel()
	go func() {
		_, err := holdFunc.Call(ctx, far, struct{}{})
		call <- err
	}()
	receive(t, "the call", hold.began)
	gates[0].set(false)
	gates[1].set(false) // second: the caller must not take it for dead
	wantIs(t, receive(t, "the call under way", call), ErrDisconnected)
	gates[0].set(true)
	until(t, "the caller is back", func() bool { return nodes[0].Stats().Reconnects == 1 })
	sent := nodes[0].Stats().FramesOut
	until(t, "the caller has said so", func() bool { return nodes[0].Stats().FramesOut > sent+3 })
	gates[1].set(true)
	wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
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
		"Transport":   func() error { _, err := nodes[0].Transport(none, "n2/io/c1"); return err },
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
