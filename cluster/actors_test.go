package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

type hail struct{ Text string }

type unregistered struct{}

var (
	_       = RegisterMessage[hail]("test.hail")
	_       = RegisterMessage[[]byte]("test.bytes")
	errShut = RegisterError("test.shut", errors.New("shop is shut"))
)

// parrot answers hails, and ends or fails when asked to.
func parrot(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case hail:
		switch m.Text {
		case "panic":
			panic("feathers everywhere")
		case "refuse":
			_ = ctx.ReplyError(errShut)
		case "end":
			ctx.End(errShut)
		default:
			_ = ctx.Reply(hail{m.Text + " " + m.Text})
		}
	case []byte:
		_ = ctx.Reply(m)
	}
}

// spawnOn starts an actor on a loop of a node and gives its address for others.
func spawnOn(t testing.TB, n *Node, ref loopnode.Ref, name string, receive actors.Func, opts ...actors.SpawnOption) actors.Ref {
	t.Helper()
	loop, _ := ref.Local()
	r, err := n.Actors().Spawn(loop, name, func() actors.Actor { return receive }, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return actors.RefOf(n.Actors().Export(r))
}

func TestActorsOfTwoNodesTalk(t *testing.T) {
	nodes := group(t, 2)
	far := spawnOn(t, nodes[1], newLoop(t, nodes[1], "io"), "parrot", parrot)
	ask := func(msg any) (any, error) { return nodes[0].Actors().Ask(testCtx(t), far, msg) }
	if v, err := ask(hail{"hello"}); err != nil || v != any(hail{"hello hello"}) {
		t.Fatal(v, err)
	}
	if v, err := ask([]byte{0, 255}); err != nil || string(v.([]byte)) != "\x00\xff" {
		t.Fatal(v, err)
	}
	_, err := ask(hail{"refuse"})
	wantIs(t, err, errShut)
	ends := make(chan actors.Terminated, 1)
	nodes[0].Actors().Watch(far, func(e actors.Terminated) { ends <- e })
	_, err = ask(hail{"panic"})
	wantIs(t, err, ErrPanic)
	// Whoever asked is told before the actor has ended; until then, why it ends is
	// the answer to everybody.
	wantIs(t, receive(t, "the end of the first one", ends).Reason, ErrPanic)
	_, err = nodes[0].Actors().Ask(testCtx(t), far, hail{"the first one is gone"})
	wantIs(t, err, actors.ErrUnknown)
	_, err = ask(unregistered{})
	wantIs(t, err, ErrUnknownMessage)
	_, err = nodes[0].Actors().Ask(testCtx(t), actors.RefOf(actors.Address{Node: "nowhere", Path: "x"}), hail{})
	wantIs(t, err, ErrUnknownNode)
	old := actors.Address{Node: "n2", Incarnation: nodes[1].Incarnation() - 1, Path: "parrot"}
	_, err = nodes[0].Actors().Ask(testCtx(t), actors.RefOf(old), hail{})
	wantIs(t, err, ErrDeadIncarnation)
}

func TestALoopOfAnotherNodeIsAnActor(t *testing.T) {
	nodes := group(t, 2)
	loop := newLoop(t, nodes[1], "io")
	far := actors.RefOf(actors.Address{Node: "n2", Path: "io"})
	ends := make(chan actors.Terminated, 2)
	nodes[0].Actors().Watch(far, func(e actors.Terminated) { ends <- e })
	if _, err := nodes[0].Actors().Ask(testCtx(t), far, func() {}); !errors.Is(err, ErrUnknownMessage) {
		t.Fatalf("a closure travelled: %v", err)
	}
	other := spawnOn(t, nodes[1], newLoop(t, nodes[1], "other"), "parrot", parrot)
	if _, err := nodes[0].Actors().Ask(testCtx(t), other, hail{"is the watch there?"}); err != nil {
		t.Fatal(err) // one node's frames to another keep their order
	}
	if err := loop.CallSoonThreadsafe(func() { panic(loopnode.Fatal(errShut)) }); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, "the death of the loop", ends); e.Who != far || !errors.Is(e.Reason, ErrLoopDied) {
		t.Fatal(e)
	}
}

func TestAnActorAnswersThroughAThirdNode(t *testing.T) {
	nodes := group(t, 3)
	back := spawnOn(t, nodes[2], newLoop(t, nodes[2], "io"), "parrot", parrot)
	front := spawnOn(t, nodes[1], newLoop(t, nodes[1], "io"), "front", func(ctx *actors.Context) {
		if _, ok := ctx.Message().(hail); ok {
			_ = ctx.Forward(back)
		}
	})
	v, err := nodes[0].Actors().Ask(testCtx(t), front, hail{"ping"})
	if err != nil || v != any(hail{"ping ping"}) {
		t.Fatal(v, err)
	}
}

func TestWatchingAnActorOfAnotherNode(t *testing.T) {
	nodes := group(t, 3)
	for i := 1; i < 3; i++ {
		spawnOn(t, nodes[i], newLoop(t, nodes[i], "io"), "parrot", parrot)
	}
	ends := make(chan actors.Terminated, 8)
	watch := func(node, path string) actors.Ref {
		r := actors.RefOf(actors.Address{Node: node, Path: path})
		nodes[0].Actors().Watch(r, func(e actors.Terminated) { ends <- e })
		return r
	}
	absent := watch("n2", "nobody")
	if e := receive(t, "the one who never was", ends); e.Who != absent || !errors.Is(e.Reason, actors.ErrUnknown) {
		t.Fatal(e)
	}
	leaving := watch("n2", "parrot")
	if err := nodes[0].Actors().Send(leaving, hail{"end"}); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, "an end with a reason", ends); e.Who != leaving || !errors.Is(e.Reason, errShut) {
		t.Fatal(e)
	}
	dying := watch("n3", "parrot")
	if _, err := nodes[0].Actors().Ask(testCtx(t), dying, hail{"still there?"}); err != nil {
		t.Fatal(err) // the watch went before it: it is known there
	}
	die(nodes[2])
	if e := receive(t, "the death of the node", ends); e.Who != dying || !errors.Is(e.Reason, ErrNodeDown) {
		t.Fatal(e)
	}
	select {
	case e := <-ends:
		t.Fatalf("told twice: %v", e)
	default:
	}
}

// keeper is the server's side of a connection: it says where it is.
type keeper struct{ at chan<- string }

func (k *keeper) ConnectionMade(t transportactors.Transport) { k.at <- t.Ref().Address().Path }
func (k *keeper) DataReceived([]byte)                        {}
func (k *keeper) ConnectionLost(error)                       {}

var listen = Func("test.listen", func(ctx context.Context, _ struct{}) (string, error) {
	s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &keeper{made} }, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return s.Addrs()[0].String(), nil
})

var made = make(chan string, 1)

func TestAConnectionOfAnotherNodeIsAnActor(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io")
	at, err := listen.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io"), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far := actors.RefOf(actors.Address{Node: "n2", Path: receive(t, "the connection", made)})
	ends := make(chan actors.Terminated, 1)
	sys := nodes[0].Actors()
	sys.Watch(far, func(e actors.Terminated) { ends <- e })
	if _, err := sys.Ask(testCtx(t), far, transportactors.WriteRequest{Data: []byte("from afar")}); err != nil {
		t.Fatal(err)
	}
	if err := sys.Send(far, transportactors.CloseRequest{}); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "from afar" {
		t.Fatalf("%q, %v", b, err)
	}
	if e := receive(t, "the end of the connection", ends); e.Who != far || !errors.Is(e.Reason, ErrStopped) {
		t.Fatal(e)
	}
}

func TestStoppingAnActorOfAnotherNode(t *testing.T) {
	nodes := group(t, 2)
	far := spawnOn(t, nodes[1], newLoop(t, nodes[1], "io"), "parrot", parrot)
	ends := make(chan actors.Terminated, 1)
	nodes[0].Actors().Watch(far, func(e actors.Terminated) { ends <- e })
	nodes[0].Actors().Stop(far)
	if e := receive(t, "the end", ends); !errors.Is(e.Reason, ErrStopped) {
		t.Fatal(e)
	}
}

func TestAMessageNobodyHereKnowsIsRefusedToWhoAsked(t *testing.T) {
	nodes := group(t, 2)
	far := spawnOn(t, nodes[1], newLoop(t, nodes[1], "io"), "parrot", parrot)
	got := make(chan error, 1)
	loop := newLoop(t, nodes[0], "io")
	spawnOn(t, nodes[0], loop, "asker", func(ctx *actors.Context) {
		if _, ok := ctx.Message().(actors.Started); ok {
			ctx.Ask(far, hail{"lost in translation"}, 0, func(_ any, err error) { got <- err })
		}
	})
	if err := receive(t, "an answer", got); err != nil {
		t.Fatal(err)
	}
	// The same question in a word that only the sender knows.
	f := &wire.Frame{Kind: wire.Tell, Function: "test.future", Codec: wire.JSON, Path: "parrot", From: "n1", FromNumber: nodes[0].Incarnation()}
	for _, sender := range []string{"", "n1@1/$reply/1", "no address", "/local"} {
		f.Sender = sender
		nodes[1].tells.Told(f)
	}
	if s := nodes[1].Stats(); s.TellsFailed != 4 {
		t.Fatalf("%d of 4 bad messages were counted", s.TellsFailed)
	}
	if _, err := nodes[0].Actors().Ask(testCtx(t), far, hail{"still well"}); err != nil {
		t.Fatal(err)
	}
}

func TestASystemIsOfOneNode(t *testing.T) {
	sys, err := actors.New(actors.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, Config{Name: "first", Actors: sys})
	if n.Actors() != sys {
		t.Fatal("another system")
	}
	_, err = Start(testCtx(t), Config{Name: "second", Actors: sys, Beside: n, Logger: quiet()})
	wantIs(t, err, ErrConfig)
	n.Close()
	if _, _, ok := sys.Identity(); ok {
		t.Fatal("a closed node keeps its system")
	}
	again := start(t, Config{Name: "third", Actors: sys})
	again.Close()
	if err := sys.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestBadRegistrationsOfMessages(t *testing.T) {
	for name, register := range map[string]func(){
		"empty":    func() { RegisterMessage[struct{ A int }]("") },
		"reserved": func() { RegisterMessage[struct{ B int }]("$stop") },
		"name":     func() { RegisterMessage[struct{ C int }]("test.hail") },
		"type":     func() { RegisterMessage[hail]("test.other") },
	} {
		t.Run(name, func(t *testing.T) {
			if guard.Call(register) == nil {
				t.Fatal("accepted")
			}
		})
	}
}
