package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/loopnode"
)

// stamp notes which life of a node ran a call.
var stamp = Func("test.stamp", func(ctx context.Context, id int) (uint64, error) {
	n, _ := NodeOf(ctx)
	stamps.mu.Lock()
	defer stamps.mu.Unlock()
	stamps.lives[id] = append(stamps.lives[id], n.Incarnation())
	return n.Incarnation(), nil
})

var stamps = struct {
	mu    sync.Mutex
	lives map[int][]uint64
}{lives: map[int][]uint64{}}

// proxy passes bytes between nodes and a server until a test stops them, without
// closing a connection.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	cut      chan struct{} // closed while it is whole; nil: never cut
	conns    []net.Conn
	work     sync.WaitGroup
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &proxy{listener: l, cut: make(chan struct{})}
	close(c.cut)
	c.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			c.work.Go(func() { c.carry(in, out) })
			c.work.Go(func() { c.carry(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.mend()
		c.mu.Lock()
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.work.Wait()
	})
	return c
}

func (c *proxy) carry(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		whole := c.cut
		c.mu.Unlock()
		<-whole
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *proxy) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = make(chan struct{})
}

func (c *proxy) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.cut:
	default:
		close(c.cut)
	}
}

// TestTwinsNeverRunTheSameCall cuts a node off, replaces it, and lets the old one
// come back, while calls to the name go on.
func TestTwinsNeverRunTheSameCall(t *testing.T) {
	stamps.mu.Lock()
	clear(stamps.lives) // of an earlier run: ids begin anew
	stamps.mu.Unlock()
	beats := func(c *Config) { c.Heartbeat, c.DeadAfter = 100*time.Millisecond, time.Second }
	hub := group(t, 1, beats, func(c *Config) { c.Listen = "127.0.0.1:0" })[0]
	wire := newProxy(t, hostOf(t, hub))
	withLoop := func(c *Config) {
		c.Prepare = func(_ context.Context, n *Node) error {
			_, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = quiet() })
			return err
		}
	}
	cfg := Config{Name: "n2", Join: []string{wire.listener.Addr().String()}}
	beats(&cfg)
	withLoop(&cfg)
	lost := make(chan error, 2)
	cfg.Lost = func(err error) { lost <- err }
	old := start(t, cfg)
	if err := hub.WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	var callers sync.WaitGroup
	var mu sync.Mutex
	good := map[int]uint64{}
	for k := range 4 {
		callers.Go(func() {
			for id := k * 1_000_000; ctx.Err() == nil; id++ {
				bounded, done := context.WithTimeout(ctx, time.Second)
				life, err := stamp.Via(hub).Call(bounded, refTo(t, hub, "n2/io-0"), id)
				done()
				if err == nil {
					mu.Lock()
					good[id] = life
					mu.Unlock()
				}
			}
		})
	}
	ranOn := func(life uint64) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for _, l := range good {
				if l == life {
					n++
				}
			}
			return n > 20
		}
	}
	until(t, "calls run on the old one", ranOn(old.number))
	wire.interrupt()
	until(t, "the old one is given up", func() bool { return len(hub.Members()) == 1 })
	again := cfg
	again.Join, again.Logger = []string{hostOf(t, hub)}, quiet()
	var replacement *Node
	until(t, "the replacement starts", func() bool {
		n, err := Start(testCtx(t), again)
		if err != nil && !errors.Is(err, ErrNameTaken) {
			t.Fatal(err)
		}
		replacement = n
		return err == nil
	})
	t.Cleanup(replacement.Close)
	until(t, "calls run on the replacement", ranOn(replacement.number))
	if old.members.Serving() {
		t.Error("the old one would serve although it is cut off")
	}
	wire.mend()
	wantIs(t, receive(t, "the old one has lost", lost), ErrNameTaken)
	cancel()
	callers.Wait()
	stamps.mu.Lock()
	defer stamps.mu.Unlock()
	for id, lives := range stamps.lives {
		if len(lives) > 1 {
			t.Errorf("call %d ran %d times, on %v", id, len(lives), lives)
		}
	}
	if m := hub.Members(); len(m) != 2 || m[1].Incarnation != replacement.number {
		t.Errorf("members %+v", m)
	}
	t.Logf("%d calls, %d answered", len(stamps.lives), len(good))
}

// TestMemberEventsKeepAServiceInStep follows nodes that come, leave and die.
func TestMemberEventsKeepAServiceInStep(t *testing.T) {
	nodes := group(t, 2)
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	seen := make(chan events.Event, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range nodes[0].Events(ctx) {
			seen <- e
		}
	}()
	onLoop := make(chan events.Event, 100)
	ref := newLoop(t, nodes[0], "io")
	loop, _ := ref.Local()
	stop, err := nodes[0].OnEvents(loop, func(e events.Event) { onLoop <- e })
	if err != nil {
		t.Fatal(err)
	}
	want := func(kind events.Kind, name string) {
		t.Helper()
		for _, ch := range []chan events.Event{seen, onLoop} {
			for { // suspicions come and go with the load of the machine
				e := receive(t, kind.String(), ch)
				if e.Kind == events.Suspect || e.Kind == events.Back {
					continue
				}
				if e.Kind != kind || e.Member.Name != name {
					t.Fatalf("got %v of %s (%s), want %v of %s", e.Kind, e.Member.Name, e.Why, kind, name)
				}
				break
			}
		}
	}
	want(events.Joined, "n2")
	third := start(t, Config{Name: "n3", Beside: nodes[0], Heartbeat: 100 * time.Millisecond, DeadAfter: time.Second})
	want(events.Joined, "n3")
	third.Close()
	want(events.Left, "n3")
	die(nodes[1])
	want(events.Dead, "n2")
	stop()
	if err := nodes[0].WaitMembersAtLeast(testCtx(t), 1); err != nil {
		t.Error(err)
	}
	var none context.Context
	wantIs(t, nodes[0].WaitMembersAtLeast(none, 1), ErrConfig)
	nodes[0].Close()
	receive(t, "the end of the stream", ended)
}

// TestANodeIsAnnouncedWhenItsLoopsAreThere restarts a node under calls: none of them
// meets a node without its loop.
func TestANodeIsAnnouncedWhenItsLoopsAreThere(t *testing.T) {
	hub := group(t, 1)[0]
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := add.Via(hub).Call(ctx, refTo(t, hub, "n2/io-0"), sum{1, 2}); errors.Is(err, ErrUnknownLoop) {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for i := range 10 {
		n := start(t, Config{Name: "n2", Beside: hub, Heartbeat: 100 * time.Millisecond, DeadAfter: time.Second,
			Prepare: func(_ context.Context, n *Node) error {
				_, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = quiet() })
				return err
			}})
		if got, err := add.Via(hub).Call(testCtx(t), refTo(t, hub, "n2/io-0"), sum{i, 1}); got != i+1 || err != nil {
			t.Errorf("restart %d: %v, %v", i, got, err)
		}
		die(n)
		n.Close()
	}
	cancel()
	if err := receive(t, "the caller", failed); err != nil {
		t.Error(err)
	}
	_, err := Start(testCtx(t), Config{Name: "n3", Beside: hub, Logger: quiet(), Prepare: func(context.Context, *Node) error { return io.ErrUnexpectedEOF }})
	wantIs(t, err, io.ErrUnexpectedEOF)
	_, err = Start(testCtx(t), Config{Name: "n3", Beside: hub, Logger: quiet(), Prepare: func(context.Context, *Node) error { panic("out of order") }})
	if err == nil {
		t.Error("a panic of Prepare is no error")
	}
	start(t, Config{Name: "n3", Beside: hub}).Close() // nothing is left of the failed ones
}

// TestAnEndWhileNATSIsAwayIsTold ends what is watched while nobody can be told.
func TestAnEndWhileNATSIsAwayIsTold(t *testing.T) {
	s, port := natsServer(t, 0)
	url := natsURL(port)
	nodes := group(t, 2, func(c *Config) { c.Beside, c.URL = nil, url })
	ref := newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	loop, actor := watchInto(t, nodes[0], "n2/io-0"), make(chan actors.Terminated, 2)
	nodes[0].Actors().Watch(actors.RefOf(actors.Address{Node: "n2", Path: "io-0"}), func(e actors.Terminated) { actor <- e })
	until(t, "the watches stand", acked(nodes[0]))
	s.Shutdown()
	s.WaitForShutdown()
	until(t, "both have noticed", func() bool { return nodes[0].Stats().Disconnects > 0 && nodes[1].Stats().Disconnects > 0 })
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "the loop has ended", func() bool { _, there := nodes[1].Loop("io-0"); return !there })
	newLoop(t, nodes[1], "io-0") // another one of that name changes nothing
	natsServer(t, port)
	wantIs(t, receive(t, "the end of the loop", loop).Reason, ErrStopped)
	if e := receive(t, "the end of the actor", actor); errors.Is(e.Reason, ErrNodeDown) {
		t.Errorf("the actor ended by %v", e.Reason)
	}
	// The other node may not be back yet: the call is sent again until it is.
	if got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{2, 2}); got != 4 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	onlyOnce(t, nodes[0], loop)
}
