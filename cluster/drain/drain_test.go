package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		live(role)
		return
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// group starts store, which has JetStream, and nodes that are its clients.
func group(t *testing.T, others ...string) (store *cluster.Node, nodes map[string]*cluster.Node) {
	t.Helper()
	// Nobody dies here, so nobody has to be taken for dead soon.
	cfg := cluster.Config{Logger: hclog.NewNullLogger(), Heartbeat: 50 * time.Millisecond, DeadAfter: 5 * time.Second}
	start := func(cfg cluster.Config) *cluster.Node {
		n, err := cluster.Start(testCtx(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		if _, err := n.NewLoop("io"); err != nil {
			t.Fatal(err)
		}
		return n
	}
	cfg.Name, cfg.Listen, cfg.StoreDir = "store", "127.0.0.1:0", t.TempDir()
	store, nodes = start(cfg), map[string]*cluster.Node{}
	cfg.Listen, cfg.StoreDir, cfg.Join = "", "", []string{strings.TrimPrefix(store.URL(), "nats://")}
	for _, cfg.Name = range others {
		nodes[cfg.Name] = start(cfg)
	}
	must(t, store.WaitMembers(testCtx(t), 1+len(others)))
	for _, n := range nodes { // they call each other, too
		must(t, n.WaitMembers(testCtx(t), 1+len(others)))
	}
	return store, nodes
}

func loopOf(t testing.TB, n *cluster.Node) loopnode.Ref {
	t.Helper()
	ref, ok := n.Loop("io")
	if !ok {
		t.Fatal("no loop")
	}
	return ref
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			t.Fatal("not within a minute:", what)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPlacedSingletonMovesWithinASecond(t *testing.T) {
	_, nodes := group(t, "n1", "n2")
	runs := make(chan string, 8)
	place := func(n *cluster.Node) {
		_, err := names.Place(n, "janitor", loopOf(t, n), func(ctx context.Context, o *names.Ownership) error {
			runs <- n.Name()
			err := loopnode.WaitDone(ctx)
			return err
		})
		must(t, err)
	}
	place(nodes["n1"])
	if got := <-runs; got != "n1" {
		t.Fatal("it runs on", got)
	}
	place(nodes["n2"])
	release := occupy(t, nodes["n2"], nodes["n1"]) // n1 takes long to drain; the singleton does not wait for that
	ended := make(chan error, 1)
	go func() { ended <- Node(testCtx(t), nodes["n1"]) }()
	// Counted in looks, one in ten milliseconds: on a machine that is busy they are as late as
	// everything else.
	const look = 10 * time.Millisecond
	took := time.Duration(0)
	until(t, "it runs elsewhere", func() bool {
		select {
		case got := <-runs:
			if got != "n2" {
				t.Error("it runs on", got)
			}
			return true
		case <-time.After(look):
			took += look
			return false
		}
	})
	if took > time.Second {
		t.Errorf("it took %v to move", took)
	}
	t.Logf("it moved in %v", took)
	if _, err := names.Claim(testCtx(t), nodes["n1"], "other", loopnode.Ref{}); !errors.Is(err, cluster.ErrClosed) {
		t.Error("a node that drains claims a name:", err)
	}
	release()
	must(t, <-ended)
}

// gates keep calls of wait running: one for each name.
var gates sync.Map

func gate(name string) chan struct{} {
	c, _ := gates.LoadOrStore(name, make(chan struct{}))
	return c.(chan struct{})
}

var (
	begun = make(chan string, 1000)
	wait  = cluster.Func("drain.wait", func(ctx context.Context, name string) (string, error) {
		n, _ := cluster.NodeOf(ctx)
		begun <- n.Name()
		_, _, err := loopnode.Recv(ctx, gate(name))
		return n.Name(), err
	})
	whoami = cluster.Func("drain.whoami", func(ctx context.Context, _ string) (string, error) {
		n, _ := cluster.NodeOf(ctx)
		return n.Name(), nil
	})
)

// occupy has a call of from run on to until release is called.
func occupy(t *testing.T, from, to *cluster.Node) (release func()) {
	t.Helper()
	ref, err := from.Ref(to.Name() + "/io")
	must(t, err)
	ended := make(chan error, 1)
	name := t.Name() + to.Name()
	go func() { _, err := wait.Via(from).Call(testCtx(t), ref, name); ended <- err }()
	<-begun
	return func() {
		t.Helper()
		close(gate(name))
		must(t, <-ended)
	}
}

func TestCallsUnderWayEndAndNewOnesGoElsewhere(t *testing.T) {
	store, nodes := group(t, "n1", "n2")
	for _, n := range nodes {
		_, err := groups.Join(n, "io", loopOf(t, n))
		must(t, err)
	}
	until(t, "both are in the group", func() bool { return len(groups.Members(store, "io")) == 2 })
	release := occupy(t, store, nodes["n1"])
	ended := make(chan error, 1)
	var told []string
	go func() {
		ended <- Node(testCtx(t), nodes["n1"], OnProgress(func(p Progress) { told = append(told, p.String()) }))
	}()
	direct, err := store.Ref("n1/io")
	must(t, err)
	until(t, "n1 refuses calls", func() bool {
		_, err := whoami.Via(store).Call(testCtx(t), direct, "")
		return errors.Is(err, groups.ErrLeaving)
	})
	for range 50 {
		got, err := groups.Call(testCtx(t), store, "io", whoami, "")
		if err != nil || got != "n2" {
			t.Fatal(got, err)
		}
	}
	if _, err := groups.Join(nodes["n1"], "io", loopOf(t, nodes["n1"])); !errors.Is(err, cluster.ErrClosed) {
		t.Error("a loop joins a group of a node that drains:", err)
	}
	until(t, "the drain waits for the call", func() bool {
		all := Status(nodes["n1"])
		return len(all) > 0 && all[len(all)-1].Step == Calls && slices.Equal(all[len(all)-1].Waits, []string{"1 calls"})
	})
	again := make(chan error, 1)
	go func() { again <- Node(testCtx(t), nodes["n1"]) }()
	release()
	must(t, <-ended)
	must(t, <-again)
	if text := strings.Join(told, "\n"); !strings.Contains(text, "calls: waits for 1 calls") || !strings.Contains(text, "leave: done in") {
		t.Error(text)
	}
	<-nodes["n1"].Done()
	until(t, "n1 has left", func() bool { return len(store.Members()) == 2 })
}

var (
	ran   sync.Map // id of a command → *atomic.Int64
	slow  = make(chan struct{})
	count = func(id string) *atomic.Int64 {
		c, _ := ran.LoadOrStore(id, &atomic.Int64{})
		return c.(*atomic.Int64)
	}
	work = cluster.Func("drain.work", func(ctx context.Context, id string) (struct{}, error) {
		n, _ := cluster.NodeOf(ctx)
		if id == "slow" {
			begun <- n.Name()
			if _, _, err := loopnode.Recv(ctx, slow); err != nil {
				return struct{}{}, err
			}
		}
		count(id + "@" + n.Name()).Add(1)
		count(id).Add(1)
		return struct{}{}, nil
	})
)

// TestCommandsUnderWayEndAndTheOthersMove: n1 owns a queue and runs a slow command, behind
// which others of its key wait. It drains: the slow one ends there, the others run on n2.
func TestCommandsUnderWayEndAndTheOthersMove(t *testing.T) {
	store, nodes := group(t, "n1", "n2")
	one, err := durable.Work(nodes["n1"], "q", loopOf(t, nodes["n1"]))
	must(t, err)
	until(t, "n1 owns the queue", func() bool { return one.Stats().Owner })
	two, err := durable.Work(nodes["n2"], "q", loopOf(t, nodes["n2"]))
	must(t, err)
	must(t, durable.Send(testCtx(t), store, "q", "slow", work, "slow", durable.Key("k")))
	if at := <-begun; at != "n1" {
		t.Fatal("it runs on", at)
	}
	const others = 20
	for i := range others {
		must(t, durable.Send(testCtx(t), store, "q", fmt.Sprint(i), work, fmt.Sprint(i), durable.Key("k")))
	}
	ended := make(chan error, 1)
	go func() { ended <- Node(testCtx(t), nodes["n1"]) }()
	until(t, "the drain waits for the command", func() bool {
		all := Status(nodes["n1"])
		return len(all) > 0 && slices.Equal(all[len(all)-1].Waits, []string{"1 of queue/q"})
	})
	if one.Stats().Ran != 0 || two.Stats().Owner {
		t.Error("the next owner is there before the command has ended")
	}
	close(slow)
	must(t, <-ended)
	until(t, "n2 has run the others", func() bool { return two.Stats().Ran == others })
	for i := range others {
		if id := fmt.Sprint(i); count(id).Load() != 1 || count(id+"@n2").Load() != 1 {
			t.Errorf("%s ran %d times, %d on n2", id, count(id).Load(), count(id+"@n2").Load())
		}
	}
	if count("slow@n1").Load() != 1 || count("slow").Load() != 1 {
		t.Error("the command that ran did not end there once:", count("slow").Load())
	}
	until(t, "none is left", func() bool { list, err := durable.Commands(testCtx(t), store, ""); return err == nil && len(list) == 0 })
}

// polite says bye when its node goes, and closes when its peer has answered.
type polite struct {
	transportactors.Transport
	got strings.Builder
}

func (p *polite) ConnectionMade(t transportactors.Transport) { p.Transport = t }
func (p *polite) ConnectionLost(error)                       {}
func (p *polite) GoingAway(time.Time)                        { _ = p.Write([]byte("bye\n")) }
func (p *polite) DataReceived(b []byte) {
	if p.got.Write(b); strings.HasSuffix(p.got.String(), "ok\n") {
		p.Close()
	}
}

// rude has no GoingAway.
type rude struct{ transportactors.Transport }

func (p *rude) ConnectionMade(t transportactors.Transport) {
	p.Transport = t
	_ = t.Write([]byte("hello\n"))
}
func (p *rude) ConnectionLost(error) {}
func (p *rude) DataReceived([]byte)  {}

// listen starts a server on the loop of a node.
func listen(t *testing.T, n *cluster.Node, made func() transportactors.Protocol) string {
	t.Helper()
	loop, _ := loopOf(t, n).Local()
	at := make(chan string, 1)
	must(t, loop.Ref().CallSoonThreadsafe(func() {
		loopnode.CreateTask(loop.Context(context.Background()), "listen", func(ctx context.Context) (struct{}, error) {
			s, err := transportactors.CreateServer(ctx, made, "tcp", "127.0.0.1:0")
			if err != nil {
				t.Error(err)
				close(at)
				return struct{}{}, err
			}
			at <- s.Addrs()[0].String()
			return struct{}{}, nil
		})
	}))
	return <-at
}

func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	return c
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b, err, want)
	}
}

func TestConnectionsAreToldAndListenersClosed(t *testing.T) {
	_, nodes := group(t, "n1")
	at := listen(t, nodes["n1"], func() transportactors.Protocol { return &polite{} })
	mute := listen(t, nodes["n1"], func() transportactors.Protocol { return &rude{} })
	c, d := dial(t, at), dial(t, mute)
	read(t, d, "hello\n")
	_, err := c.Write([]byte("x\n"))
	must(t, err)
	loop, _ := loopOf(t, nodes["n1"]).Local()
	until(t, "both are connected", func() bool {
		n := make(chan int, 1)
		must(t, loop.Ref().CallSoonThreadsafe(func() { n <- len(transportactors.Transports(loop)) }))
		return <-n == 2
	})
	ended := make(chan error, 1)
	go func() { ended <- Node(testCtx(t), nodes["n1"]) }()
	read(t, c, "bye\n")
	if late, err := net.Dial("tcp", at); err == nil {
		_ = late.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := late.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is served by a node that drains")
		}
		_ = late.Close()
	}
	until(t, "the drain waits for one connection", func() bool {
		all := Status(nodes["n1"])
		return len(all) > 0 && slices.Equal(all[len(all)-1].Waits, []string{"1 connections"})
	})
	_, err = c.Write([]byte("ok\n"))
	must(t, err)
	must(t, <-ended)
	for _, c := range []net.Conn{c, d} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Error("the connection did not end in order:", n, err)
		}
	}
}

// deaf is told, and reads nothing.
type deaf struct{ polite }

func (p *deaf) ConnectionMade(t transportactors.Transport) {
	p.polite.ConnectionMade(t)
	_ = t.PauseReading()
}

// TestAConnectionThatIsClosingIsNotWaitedFor: its peer has sent something and is gone, which a
// write found out. Its protocol has paused reading, so its end is not told for half a minute.
func TestAConnectionThatIsClosingIsNotWaitedFor(t *testing.T) {
	_, nodes := group(t, "n1")
	c := dial(t, listen(t, nodes["n1"], func() transportactors.Protocol { return &deaf{} })).(*net.TCPConn)
	_, err := c.Write([]byte("x\n"))
	must(t, err)
	must(t, c.SetLinger(0)) // the close is a reset
	must(t, c.Close())
	loop, _ := loopOf(t, nodes["n1"]).Local()
	until(t, "a write finds out that the peer is gone", func() bool {
		closing := make(chan bool, 1)
		must(t, loop.Ref().CallSoonThreadsafe(func() {
			all := transportactors.Transports(loop)
			if len(all) == 1 {
				_ = all[0].Write([]byte("y\n"))
			}
			closing <- len(all) == 1 && all[0].IsClosing()
		}))
		return <-closing
	})
	must(t, Node(testCtx(t), nodes["n1"], OnProgress(func(p Progress) {
		if p.Step == Connections && len(p.Waits) > 0 {
			t.Error(p)
		}
	})))
}

func TestWhatDoesNotEndIsCutOff(t *testing.T) {
	store, nodes := group(t, "n1", "n2", "n3")
	ref, err := store.Ref("n1/io")
	must(t, err)
	call := make(chan error, 2)
	go func() { _, err := wait.Via(store).Call(testCtx(t), ref, t.Name()); call <- err }()
	<-begun
	at := time.Now()
	err = Node(testCtx(t), nodes["n1"], Limit(Calls, 50*time.Millisecond))
	if !errors.Is(err, cluster.ErrCutOff) || !strings.Contains(err.Error(), "1 calls") || time.Since(at) > 10*time.Second {
		t.Error(err, time.Since(at))
	}
	if err := <-call; err == nil {
		t.Error("a call that was cut off has a result")
	}
	// A ctx that ends, and calls for later that are lost.
	ref, err = store.Ref("n2/io")
	must(t, err)
	go func() { _, err := wait.Via(store).Call(testCtx(t), ref, t.Name()); call <- err }()
	<-begun
	ctx, cancel := context.WithTimeout(testCtx(t), 50*time.Millisecond)
	defer cancel()
	if err := Node(ctx, nodes["n2"]); !errors.Is(err, cluster.ErrCutOff) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-call
	ref, err = store.Ref("n3/io")
	must(t, err)
	must(t, whoami.Via(store).CallLater(testCtx(t), ref, time.Hour, ""))
	until(t, "n3 has the timer", func() bool { return nodes["n3"].Stats().Timers == 1 })
	if err := Node(testCtx(t), nodes["n3"]); !errors.Is(err, cluster.ErrCutOff) || !strings.Contains(err.Error(), "later") {
		t.Error(err)
	}
	var none context.Context
	for _, err := range []error{Node(none, store), Node(testCtx(t), nil)} {
		if !errors.Is(err, cluster.ErrConfig) {
			t.Error(err)
		}
	}
}
