package cluster

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// keyFolder makes keys of cluster "loopmesh" for those nodes.
func keyFolder(t testing.TB, nodes ...keys.Node) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "loopmesh", nodes...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// closedGroup starts n1 with a server, and the others as its clients, with keys.
func closedGroup(t testing.TB, dir string, names ...string) []*Node {
	t.Helper()
	nodes := make([]*Node, len(names))
	for i, name := range names {
		cfg := Config{Name: name, Keys: dir, Heartbeat: 100 * time.Millisecond, DeadAfter: 5 * time.Second}
		if i == 0 {
			cfg.Listen = "127.0.0.1:0"
		} else {
			cfg.Join = []string{hostOf(t, nodes[0])}
		}
		nodes[i] = start(t, cfg)
	}
	for _, n := range nodes {
		if err := n.WaitMembers(testCtx(t), len(nodes)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func hostOf(t testing.TB, n *Node) string {
	t.Helper()
	u, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestRightsOfANodeCountOnTheOthers(t *testing.T) {
	dir := keyFolder(t, keys.Node{Name: "n1", Grants: []string{"call:*", "timer:*", "write", "admin"}}, keys.Node{Name: "n2", Grants: []string{"call:test.add"}}, keys.Node{Name: "n3"})
	nodes := closedGroup(t, dir, "n1", "n2", "n3")
	for _, n := range nodes {
		newLoop(t, n, "io-0")
	}
	ctx := testCtx(t)
	n1, n2, n3 := nodes[0], nodes[1], nodes[2]
	if got, err := add.Via(n2).Call(ctx, refTo(t, n2, "n1/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Errorf("what n2 may do: %v, %v", got, err)
	}
	_, err := where.Via(n2).Call(ctx, refTo(t, n2, "n1/io-0"), struct{}{})
	wantIs(t, err, ErrRefused)
	for _, word := range []string{"n2", "call:test.where", "its rights are call:test.add"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
	_, err = n2.Transport(ctx, "n1/io-0/transports/1")
	wantIs(t, err, ErrRefused)
	refused := n1.Stats().NoRight
	if err := add.Via(n2).CallLater(ctx, refTo(t, n2, "n1/io-0"), 0, sum{}); err != nil {
		t.Error(err)
	}
	until(t, "a timer without a right is refused", func() bool { return n1.Stats().NoRight == refused+1 })
	// Stopping a loop is for admins: n3 has the default rights, n1 is one.
	stop := func(n *Node, to string) {
		a, err := actors.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		n.Actors().Stop(actors.RefOf(a))
	}
	refused = n2.Stats().NoRight
	stop(n3, "n2/io-0")
	until(t, "stopping without a right is refused", func() bool { return n2.Stats().NoRight == refused+1 })
	if got, err := add.Via(n3).Call(ctx, refTo(t, n3, "n2/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Errorf("the loop has been stopped: %v, %v", got, err)
	}
	ended := watchInto(t, n3, "n2/io-0")
	until(t, "the watch stands", acked(n3))
	stop(n1, "n2/io-0")
	wantIs(t, receive(t, "the end of the loop", ended).Reason, ErrStopped)
}

// TestANodeCannotActAsAnother: somebody took over node n3 and speaks to the server
// with its keys and with code of his own.
func TestANodeCannotActAsAnother(t *testing.T) {
	dir := keyFolder(t, keys.Node{Name: "n1"}, keys.Node{Name: "n2"}, keys.Node{Name: "n3", Grants: []string{"none"}})
	nodes := closedGroup(t, dir, "n1", "n2")
	newLoop(t, nodes[0], "io-0")
	newLoop(t, nodes[1], "io-0")
	id, err := keys.Load(dir, "n3")
	if err != nil {
		t.Fatal(err)
	}
	refusals := make(chan error, 1<<15)
	nc, err := nats.Connect(hostOf(t, nodes[0]), nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign),
		nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })), nats.CustomInboxPrefix("loopmesh.inbox.n3"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refusals <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	n1, self := nodes[0], subject.New("loopmesh", "n3", 33, id.Grants.Token())
	before := hold.ran.Load()
	call := &wire.Frame{Kind: wire.Call, ID: 1, From: "n2", FromNumber: nodes[1].number, Path: "io-0", Function: "test.hold", Codec: wire.JSON, Payload: []byte("{}")}

	t.Run("in the name of another, the server refuses it", func(t *testing.T) {
		other := nodes[1].engine.Subjects
		goodbye := &wire.Frame{Kind: wire.Goodbye, From: "n2", FromNumber: nodes[1].number}
		stop := &wire.Frame{Kind: wire.Tell, From: "n2", FromNumber: nodes[1].number, Path: "io-0", Function: "$stop"}
		for range 5 { // a call and its replays
			publish(t, nc, other.To("n1", n1.number), call)
		}
		publish(t, nc, other.To("n1", n1.number), goodbye)
		publish(t, nc, other.To("n1", n1.number), stop)
		publish(t, nc, other.Alive, &wire.Frame{Kind: wire.Ping, From: "n2", FromNumber: 99})
		const names = 12_000
		for i := range names {
			name := fmt.Sprintf("x%d", i)
			publish(t, nc, "loopmesh.members."+name, &wire.Frame{Kind: wire.Ping, From: name, FromNumber: 1})
		}
		until(t, "all are refused", func() bool { return len(refusals) == names+8 })
	})
	t.Run("under its own name with the name of another inside, the node refuses it", func(t *testing.T) {
		malformed := n1.Stats().Malformed
		publish(t, nc, self.To("n1", n1.number), call)
		publish(t, nc, self.To("n1", n1.number), &wire.Frame{Kind: wire.Goodbye, From: "n2", FromNumber: nodes[1].number})
		publish(t, nc, self.To("n1", n1.number), &wire.Frame{Kind: wire.Terminated, ID: 1, From: "n2", FromNumber: nodes[1].number, Code: wire.Stopped})
		publish(t, nc, self.Alive, &wire.Frame{Kind: wire.Ping, From: "x1", FromNumber: 1})
		until(t, "all are counted", func() bool { return n1.Stats().Malformed == malformed+4 })
	})
	t.Run("what it has no right to is refused", func(t *testing.T) {
		refused := n1.Stats().NoRight
		publish(t, nc, self.To("n1", n1.number), &wire.Frame{Kind: wire.Call, ID: 1, From: "n3", FromNumber: 33, Path: "io-0", Function: "test.hold", Codec: wire.JSON, Payload: []byte("{}")})
		publish(t, nc, self.To("n1", n1.number), &wire.Frame{Kind: wire.Tell, From: "n3", FromNumber: 33, Path: "io-0", Function: "$stop"})
		until(t, "both are counted", func() bool { return n1.Stats().NoRight == refused+2 })
	})
	t.Run("its answer to a question for another does not count", func(t *testing.T) {
		answer := make(chan error, 1)
		go func() {
			_, err := holdFunc.Via(n1).Call(testCtx(t), refTo(t, n1, "n2/io-0"), struct{}{})
			answer <- err
		}()
		receive(t, "the call", hold.began)
		late := n1.Stats().Late
		newest := n1.link.LastID()
		for id := newest - 8; id <= newest; id++ {
			publish(t, nc, self.To("n1", n1.number), &wire.Frame{Kind: wire.Result, ID: id, Codec: wire.JSON, Payload: []byte("{}")})
		}
		until(t, "the answers are there", func() bool { return n1.Stats().Late == late+9 })
		select {
		case err := <-answer:
			t.Error("the caller got the forged answer:", err)
		default:
		}
		nodes[1].Close()
		receive(t, "the callee's end", hold.ended)
		receive(t, "the caller's end", answer)
	})
	if ran := hold.ran.Load() - before; ran != 1 {
		t.Errorf("forged calls ran %d times", ran-1)
	}
	if got, err := add.Via(n1).Call(testCtx(t), refTo(t, n1, "n1/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Error("the loop has been stopped:", got, err)
	}
}

// TestKeysChangeUnderLoadWithoutAFailedCall adds, changes and takes back keys while
// two nodes call each other.
func TestKeysChangeUnderLoadWithoutAFailedCall(t *testing.T) {
	dir := keyFolder(t, keys.Node{Name: "n1"}, keys.Node{Name: "n2"}, keys.Node{Name: "bad"})
	nodes := closedGroup(t, dir, "n1", "n2", "bad")
	for _, n := range nodes[:2] {
		newLoop(t, n, "io-0")
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	type outcome struct {
		calls int
		err   error
	}
	ended := make(chan outcome, 2)
	load := func(from *Node, to string) {
		ref, n := refTo(t, from, to), 0
		for ; ctx.Err() == nil; n++ {
			if got, err := add.Via(from).Call(testCtx(t), ref, sum{n, 1}); got != n+1 || err != nil {
				ended <- outcome{n, fmt.Errorf("call %d: %v, %w", n, got, err)}
				return
			}
		}
		ended <- outcome{n, nil}
	}
	go load(nodes[0], "n2/io-0")
	go load(nodes[1], "n1/io-0")
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(what, err)
		}
	}
	step("add", keys.Add(dir, keys.Node{Name: "n4"}))
	n4 := start(t, Config{Name: "n4", Keys: dir, Join: []string{hostOf(t, nodes[0])}})
	step("add", n4.WaitMembers(testCtx(t), 4))
	links := []int{}
	for _, n := range nodes[:2] {
		links = append(links, n.engine.Control().Replaced())
		step("rotate", keys.Rotate(dir, n.name))
	}
	for i, n := range nodes[:2] {
		until(t, n.name+" has moved to its new keys", func() bool { return n.engine.Control().Replaced() != links[i] })
	}
	for _, n := range nodes[:2] {
		_, err := keys.Revoke(dir, n.name, true)
		step("revoke the old", err)
	}
	_, err := keys.Revoke(dir, "bad", false)
	step("revoke", err)
	until(t, "the revoked node is cut off", func() bool { return !nodes[2].engine.Control().Connected() })
	if got, err := add.Via(n4).Call(testCtx(t), refTo(t, n4, "n1/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Error("the new node:", got, err)
	}
	cancel()
	for range 2 {
		o := receive(t, "the callers", ended)
		if o.err != nil {
			t.Error(o.err)
		}
		t.Log(o.calls, "calls")
	}
	for _, n := range nodes[:2] {
		if s := n.Stats(); s.Disconnects != 0 || s.Dropped != 0 {
			t.Errorf("%s: %d disconnects, %d dropped", n.name, s.Disconnects, s.Dropped)
		}
	}
}
