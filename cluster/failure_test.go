package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// natsServer runs a NATS server of its own, on a port where it can be ended and started again.
func natsServer(t testing.TB, port int) (*server.Server, int) {
	t.Helper()
	if port == 0 {
		port = testport.Port(t)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s, s.Addr().(*net.TCPAddr).Port
}

// rawClient is a connection to a node's embedded server that is no node.
func rawClient(t testing.TB, n *Node) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(n.engine.InProcess()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func publish(t testing.TB, nc *nats.Conn, subject string, f *wire.Frame) {
	t.Helper()
	if err := nc.Publish(subject, f.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

// toNode is where a frame of from to a node goes.
func toNode(to *Node, from string) string { return toLife(to, to.name, to.number, from) }

// toLife is where a frame of from to a life of a node goes, in the cluster of n.
func toLife(n *Node, node string, number uint64, from string) string {
	return subject.New(n.cfg.Cluster, from, 0, keys.DefaultGrants().Token()).To(node, number)
}

// peerOf is a node as others send to it.
func peerOf(n *Node) link.Peer { return link.Peer{Name: n.name, Number: n.number} }

// die ends a node the way a killed process does: its connection is gone and it
// says nothing.
func die(n *Node) {
	n.link.Shut() // what it would log and fail is not of interest
	n.engine.Abort()
}

func watchInto(t testing.TB, n *Node, address string) chan Terminated {
	t.Helper()
	ended := make(chan Terminated, 10)
	if _, err := n.Watch(refTo(t, n, address), func(e Terminated) { ended <- e }); err != nil {
		t.Fatal(err)
	}
	return ended
}

func acked(n *Node) func() bool {
	return func() bool { return n.watches.Counters().Unanswered == 0 }
}

func onlyOnce(t testing.TB, n *Node, ended chan Terminated) {
	t.Helper()
	beats := n.Stats().FramesOut
	until(t, "time has passed", func() bool { return n.Stats().FramesOut > beats+5 })
	select {
	case e := <-ended:
		t.Errorf("a second notice: %v", e.Reason)
	default:
	}
}

func TestTheDeathOfANodeIsReportedOnce(t *testing.T) {
	nodes := group(t, 3)
	newLoop(t, nodes[1], "io-0")
	newLoop(t, nodes[1], "io-1")
	first, second := watchInto(t, nodes[0], "n2/io-0"), watchInto(t, nodes[0], "n2/io-1")
	third := watchInto(t, nodes[2], "n2/io-0")
	until(t, "the watches stand", func() bool { return acked(nodes[0])() && acked(nodes[2])() })
	call := make(chan error, 1)
	go func() {
		_, err := holdFunc.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
		call <- err
	}()
	receive(t, "the call", hold.began)
	begin := time.Now()
	die(nodes[1])
	for _, ended := range []chan Terminated{first, second, third} {
		e := receive(t, "the notice", ended)
		wantIs(t, e.Reason, ErrNodeDown)
		if e.Who.Address().Node != "n2" {
			t.Errorf("notice about %v", e.Who)
		}
	}
	t.Logf("reported after %v, heartbeat 100ms", time.Since(begin))
	wantIs(t, receive(t, "the call's end", call), ErrNodeDown)
	if err := nodes[0].WaitMembers(testCtx(t), 2); err != nil {
		t.Error(err)
	}
	onlyOnce(t, nodes[0], first)
	nodes[1].Close()
	receive(t, "the callee's end", hold.ended)
}

func TestTheCallsOfADeadNodeAreCancelled(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	go func() { _, _ = holdFunc.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{}) }()
	receive(t, "the call", hold.began)
	die(nodes[0])
	wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
}

func TestASilentNodeIsGivenUp(t *testing.T) {
	n := group(t, 1)[0]
	// A hung process still holds its connection: NATS takes the frames that are
	// sent to it, and it says nothing.
	hung := rawClient(t, n)
	asked := make(chan *nats.Msg, 1000)
	if _, err := hung.ChanSubscribe("loopmesh.to.hung.5.>", asked); err != nil {
		t.Fatal(err)
	}
	publish(t, hung, "loopmesh.members.hung", &wire.Frame{Kind: wire.Ping, From: "hung", FromNumber: 5, Standing: wire.Announced})
	var ask wire.Frame
	if err := wire.Decode(receive(t, "the question", asked).Data, &ask, nil); err != nil || ask.Kind != wire.Ask {
		t.Fatalf("got %+v, %v", ask, err)
	}
	publish(t, hung, toNode(n, "hung"), &wire.Frame{Kind: wire.Pong, ID: ask.ID, From: "hung", FromNumber: 5, Standing: wire.Announced})
	if err := n.WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the notice", watchInto(t, n, "hung/io-0")).Reason, ErrNodeDown)
}

func TestWatchTellsWhyALoopEnded(t *testing.T) {
	nodes := group(t, 2)
	t.Run("stopped", func(t *testing.T) {
		ref := newLoop(t, nodes[1], "io-0")
		far, near := watchInto(t, nodes[0], "n2/io-0"), watchInto(t, nodes[1], "n2/io-0")
		until(t, "the watch stands", acked(nodes[0]))
		if err := ref.Stop(); err != nil {
			t.Fatal(err)
		}
		wantIs(t, receive(t, "the far notice", far).Reason, ErrStopped)
		wantIs(t, receive(t, "the near notice", near).Reason, ErrStopped)
		onlyOnce(t, nodes[0], far)
		until(t, "the notice is acknowledged", func() bool {
			return nodes[1].watches.Counters().Incoming == 0
		})
	})
	t.Run("died", func(t *testing.T) {
		ref := newLoop(t, nodes[1], "io-1")
		far, near := watchInto(t, nodes[0], "n2/io-1"), watchInto(t, nodes[1], "n2/io-1")
		until(t, "the watch stands", acked(nodes[0]))
		if err := ref.CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("out of order"))) }); err != nil {
			t.Fatal(err)
		}
		e := receive(t, "the far notice", far)
		wantIs(t, e.Reason, ErrLoopDied)
		if !strings.Contains(e.Reason.Error(), "out of order") {
			t.Errorf("got %v", e.Reason)
		}
		wantIs(t, receive(t, "the near notice", near).Reason, ErrLoopDied)
	})
	t.Run("never was", func(t *testing.T) {
		wantIs(t, receive(t, "the notice", watchInto(t, nodes[0], "n2/io-9")).Reason, ErrUnknownLoop)
		wantIs(t, receive(t, "the notice", watchInto(t, nodes[0], "n9/io-0")).Reason, ErrUnknownNode)
		dead := fmt.Sprintf("n2@%d/io-9", nodes[1].Incarnation()-1)
		wantIs(t, receive(t, "the notice", watchInto(t, nodes[0], dead)).Reason, ErrDeadIncarnation)
	})
	t.Run("its node left", func(t *testing.T) {
		newLoop(t, nodes[1], "io-2")
		far := watchInto(t, nodes[0], "n2/io-2")
		until(t, "the watch stands", acked(nodes[0]))
		nodes[1].Close()
		wantIs(t, receive(t, "the notice", far).Reason, ErrStopped)
		if err := nodes[0].WaitMembers(testCtx(t), 1); err != nil {
			t.Error(err)
		}
	})
}

func TestAWatchThatWasStoppedStaysSilent(t *testing.T) {
	nodes := group(t, 2)
	ref := newLoop(t, nodes[1], "io-0")
	var told atomic.Int64
	for _, n := range nodes {
		stop, err := n.Watch(refTo(t, n, "n2/io-0"), func(Terminated) { told.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the watch stands", acked(nodes[0]))
		stop()
	}
	far := watchInto(t, nodes[0], "n2/io-0")
	until(t, "the watch stands", acked(nodes[0]))
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	receive(t, "the notice of the other watch", far)
	if told.Load() != 0 {
		t.Errorf("told %d times", told.Load())
	}
}

func TestAPanicInAWatchFunctionHurtsNobody(t *testing.T) {
	n := group(t, 1)[0]
	if _, err := n.Watch(refTo(t, n, "n9/x"), func(Terminated) { panic("oops") }); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the next notice", watchInto(t, n, "n9/y")).Reason, ErrUnknownNode)
}

func TestALoopThatClosesAnswersItsCalls(t *testing.T) {
	nodes := group(t, 2)
	ref := newLoop(t, nodes[1], "io-0")
	call := make(chan error, 1)
	go func() {
		_, err := holdFunc.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
		call <- err
	}()
	receive(t, "the call", hold.began)
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the call's end", call), ErrClosed)
	receive(t, "the callee's end", hold.ended)
	_, err := add.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), sum{})
	if !errors.Is(err, ErrUnknownLoop) && !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestALocalCallEndsWhenItsLoopIsClosed(t *testing.T) {
	loop, err := loopnode.New(loopnode.Config{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	call := make(chan error, 1)
	go func() { _, err := add.Call(testCtx(t), loop.Ref(), sum{}); call <- err }() // it never runs
	until(t, "the call is under way or refused", func() bool {
		_ = loop.Close()
		return len(call) == 1
	})
	wantIs(t, <-call, ErrClosed)
}

func TestAHostedLoopStaysItsOwners(t *testing.T) {
	nodes := group(t, 2)
	loop, err := loopnode.New(loopnode.Config{Name: "mine", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := nodes[1].Host(loop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Host(loop); !errors.Is(err, ErrNameTaken) {
		t.Errorf("twice: %v", err)
	}
	ran := make(chan error, 1)
	go func() { ran <- loop.RunForever() }()
	if got, err := where.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/mine"), struct{}{}); got != "n2/mine" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	nodes[1].Close()
	if got, err := add.Call(testCtx(t), loop.Ref(), sum{1, 1}); got != 2 || err != nil {
		t.Errorf("after its node was closed: %v, %v", got, err)
	}
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the loop's end", ran); err != nil {
		t.Error(err)
	}
	if err := loop.Close(); err != nil {
		t.Error(err)
	}
}

func TestMalformedFramesAreCountedAndHurtNobody(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	nc := rawClient(t, nodes[0])
	call := wire.Frame{Kind: wire.Call, ID: 1, From: "n1", FromNumber: 5, Path: "io-0", Function: "test.add", Codec: wire.JSON, Payload: []byte("{}")}
	good := call.Append(nil)
	bad := [][]byte{
		nil, {0}, {wire.Version}, append([]byte{99}, good[1:]...), {wire.Version, 200, 1}, good[:len(good)-1], append(good, 1),
		[]byte("GET / HTTP/1.1\r\n\r\n"), make([]byte, 100<<10),
		(&wire.Frame{Kind: wire.Call, From: "a.b", FromNumber: 1}).Append(nil),
		(&wire.Frame{Kind: wire.Cancel, From: "n1"}).Append(nil),
		(&wire.Frame{Kind: wire.Ping, From: "n7", FromNumber: 1}).Append(nil),
	}
	for _, b := range bad {
		for _, subject := range []string{toNode(nodes[1], "n1"), nodes[1].engine.Subjects.Reply + "7", "loopmesh.members.n7"} {
			if err := nc.Publish(subject, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Answers nobody asked for, and a call that cannot be answered, are no faults.
	for _, f := range []*wire.Frame{
		{Kind: wire.Result, ID: 77}, {Kind: wire.Error, ID: 78, Code: 999}, {Kind: wire.Terminated, ID: 5, From: "n1", FromNumber: 9},
		{Kind: wire.Unwatch, ID: 5, From: "n1", FromNumber: 9}, {Kind: wire.Watching, ID: 5, From: "n1", FromNumber: 9}, {Kind: wire.Refuse, ID: 1, From: "n1", FromNumber: 9},
	} {
		if err := nc.Publish(toNode(nodes[1], "n1"), f.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	// A well-formed Ping on the members' subject is a member: one fewer there.
	want := uint64(3*len(bad) - 1)
	until(t, "all are counted", func() bool { return nodes[1].Stats().Malformed >= want })
	if got, err := add.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if got := nodes[1].Stats().Malformed; got != want {
		t.Errorf("counted %d, want %d", got, want)
	}
}

func TestACallThatArrivesTwiceRunsOnce(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	before := hold.ran.Load()
	f := &wire.Frame{Kind: wire.Call, ID: 1, From: "n1", FromNumber: 5, Path: "io-0", Function: "test.hold", Codec: wire.JSON, Payload: []byte("{}")}
	for range 2 {
		if err := nodes[0].link.Send(peerOf(nodes[1]), f); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, "the call", hold.began)
	if got, err := add.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if ran := hold.ran.Load() - before; ran != 1 {
		t.Errorf("ran %d times", ran)
	}
	if err := nodes[0].link.Send(peerOf(nodes[1]), &wire.Frame{Kind: wire.Cancel, ID: 1, From: "n1", FromNumber: 5}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the callee's end", hold.ended)
}

func TestNodesSurviveARestartOfNATS(t *testing.T) {
	s, port := natsServer(t, 0)
	url := natsURL(port)
	nodes := group(t, 2, func(c *Config) { c.Beside, c.URL = nil, url })
	ref := newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	ended := watchInto(t, nodes[0], "n2/io-0")
	until(t, "the watch stands", acked(nodes[0]))
	call := make(chan error, 1)
	go func() { _, err := holdFunc.Via(nodes[0]).Call(testCtx(t), far, struct{}{}); call <- err }()
	receive(t, "the call", hold.began)
	s.Shutdown()
	s.WaitForShutdown()
	wantIs(t, receive(t, "the call under way", call), ErrDisconnected)
	_, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{})
	wantIs(t, err, ErrDisconnected)
	wantIs(t, add.Via(nodes[0]).CallSoon(testCtx(t), far, sum{}), ErrDisconnected)

	natsServer(t, port)
	until(t, "both are back", func() bool { return nodes[0].Stats().Reconnects == 1 && nodes[1].Stats().Reconnects == 1 })
	until(t, "calls work again", func() bool {
		got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{2, 2})
		return got == 4 && err == nil
	})
	select {
	case e := <-ended:
		t.Errorf("an outage of NATS was taken for a death: %v", e.Reason)
	default:
	}
	until(t, "the watch stands again", acked(nodes[0]))
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the notice", ended).Reason, ErrStopped)
	receive(t, "the callee's end", hold.ended)
}

// TestNATSGoesAndComesBackOverAndOver restarts NATS five times. Each time calls fail at
// once while it is away, and work again when it is back; nobody is taken for dead.
func TestNATSGoesAndComesBackOverAndOver(t *testing.T) {
	s, port := natsServer(t, 0)
	nodes := group(t, 2, func(c *Config) { c.Beside, c.URL = nil, natsURL(port) })
	newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	ended := watchInto(t, nodes[0], "n2/io-0")
	until(t, "the watch stands", acked(nodes[0]))
	for round := range 5 {
		s.Shutdown()
		s.WaitForShutdown()
		until(t, "calls fail at once", func() bool {
			begin := time.Now()
			_, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{1, 1})
			return errors.Is(err, ErrDisconnected) && time.Since(begin) < 100*time.Millisecond
		})
		s, _ = natsServer(t, port)
		until(t, "calls work again", func() bool {
			got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{round, 2})
			return got == round+2 && err == nil
		})
		until(t, "the watch stands again", acked(nodes[0]))
	}
	if len(ended) != 0 {
		t.Error("an outage was taken for a death:", (<-ended).Reason)
	}
}

func TestANodeThatStartsAgainIsSomebodyElse(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	old := loopnode.RemoteRef(actors.Address{Node: "n2", Incarnation: nodes[1].Incarnation(), Path: "io-0"})
	ended := watchInto(t, nodes[0], "n2/io-0")
	until(t, "the watch stands", acked(nodes[0]))
	die(nodes[1])
	again := start(t, Config{Name: "n2", Beside: nodes[0], Heartbeat: 100 * time.Millisecond, DeadAfter: time.Second})
	newLoop(t, again, "io-0")
	wantIs(t, receive(t, "the notice", ended).Reason, ErrNodeDown)
	_, err := add.Via(nodes[0]).Call(testCtx(t), old, sum{})
	wantIs(t, err, ErrDeadIncarnation)
	until(t, "the new one is known", func() bool {
		number, ok := nodes[0].members.Number("n2")
		return ok && number == again.Incarnation()
	})
	wantIs(t, add.Via(nodes[0]).CallSoon(testCtx(t), old, sum{}), ErrDeadIncarnation)
	if got, err := add.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), sum{1, 1}); got != 2 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestStopLetsCallsEnd(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	open := &atomic.Bool{}
	gate.Store(open)
	call := make(chan error, 1)
	go func() {
		_, err := gated.Via(nodes[0]).Call(testCtx(t), far, 1)
		call <- err
	}()
	until(t, "the call is there", func() bool { return nodes[1].Stats().Inbound == 1 })
	time.AfterFunc(100*time.Millisecond, func() { open.Store(true) }) // when Stop waits
	if err := nodes[1].Stop(testCtx(t)); err != nil {
		t.Error(err)
	}
	if err := receive(t, "the call", call); err != nil {
		t.Error(err)
	}
	// NATS may still deliver to the connection that has just been closed.
	_, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{})
	if !errors.Is(err, ErrUnknownNode) && !errors.Is(err, ErrNodeDown) {
		t.Errorf("got %v", err)
	}
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	call := make(chan error, 1)
	go func() {
		_, err := holdFunc.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
		call <- err
	}()
	receive(t, "the call", hold.began)
	ctx, cancel := context.WithCancel(testCtx(t))
	cancel()
	wantIs(t, nodes[1].Stop(ctx), context.Canceled)
	if err := receive(t, "the call's end", call); err == nil {
		t.Error("the call has a result")
	}
	receive(t, "the callee's end", hold.ended)
	nodes[1].Close() // twice is harmless
}

func natsURL(port int) string { return fmt.Sprintf("nats://127.0.0.1:%d", port) }

func TestACallToANodeThatLeftUnseenEnds(t *testing.T) {
	n := group(t, 1)[0]
	nc := rawClient(t, n)
	arrived := make(chan struct{}, 1)
	if _, err := nc.Subscribe("loopmesh.to.ghost.7.>", func(*nats.Msg) { arrived <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	call := make(chan error, 1)
	go func() {
		_, err := add.Via(n).Call(testCtx(t), refTo(t, n, "ghost@7/io-0"), sum{})
		call <- err
	}()
	receive(t, "the call", arrived)
	nc.Close()
	wantIs(t, receive(t, "the call's end", call), ErrNodeDown)
}

// TestStopSaysWhatItCutsOff: what has begun is waited for, what is for later is not.
func TestStopSaysWhatItCutsOff(t *testing.T) {
	t.Run("what runs is waited for", func(t *testing.T) {
		nodes := group(t, 2)
		newLoop(t, nodes[1], "io-0")
		have, far := newTally(), refTo(t, nodes[0], "n2/io-0")
		for range 3 {
			if err := napAndCount.Via(nodes[0]).CallSoon(testCtx(t), far, 300*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if err := napAndCount.Via(nodes[0]).CallLater(testCtx(t), far, 50*time.Millisecond, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		until(t, "all four have begun", func() bool { return have.wrong.Load() == 4 })
		if err := nodes[1].Stop(testCtx(t)); err != nil || have.ran.Load() != 4 {
			t.Errorf("%v, %d of 4 have ended", err, have.ran.Load())
		}
	})
	t.Run("what is for later", func(t *testing.T) {
		nodes := group(t, 2)
		newLoop(t, nodes[1], "io-0")
		far := refTo(t, nodes[0], "n2/io-0")
		for range 2 {
			if err := napAndCount.Via(nodes[0]).CallLater(testCtx(t), far, time.Hour, 0); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "the timers are there", func() bool { return nodes[1].Stats().Timers == 2 })
		err := nodes[1].Stop(testCtx(t))
		wantIs(t, err, ErrCutOff)
		if !strings.Contains(err.Error(), "2 calls for later") {
			t.Error(err)
		}
	})
	t.Run("what still runs when ctx ends", func(t *testing.T) {
		nodes := group(t, 2)
		newLoop(t, nodes[1], "io-0")
		have, far := newTally(), refTo(t, nodes[0], "n2/io-0")
		if err := napAndCount.Via(nodes[0]).CallSoon(testCtx(t), far, time.Hour); err != nil {
			t.Fatal(err)
		}
		until(t, "it has begun", func() bool { return have.wrong.Load() == 1 })
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		err := nodes[1].Stop(ctx)
		wantIs(t, err, ErrCutOff, context.DeadlineExceeded)
		if !strings.Contains(err.Error(), "1 calls without an answer") || have.ran.Load() != 0 {
			t.Error(err, have.ran.Load())
		}
	})
}

// napAndCount counts beginnings and ends.
var napAndCount = Func("test.napAndCount", func(ctx context.Context, d time.Duration) (struct{}, error) {
	t := tallies.Load()
	t.wrong.Add(1)
	err := loopnode.Sleep(ctx, d)
	if err == nil {
		t.ran.Add(1)
	}
	return struct{}{}, err
})
