package nodecmd

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

// The conditions of TestEachCodeIsProvoked that take more than a cluster that is well: each
// function makes one of them, and the commands and events that meet it tell its codes.

// closes ends its own loop while it runs.
var _ = cluster.Func("test.close", func(ctx context.Context, _ struct{}) (int, error) {
	l, err := loopnode.Running(ctx)
	if err == nil {
		err = l.Ref().Stop()
	}
	if err == nil {
		err = loopnode.Sleep(ctx, time.Hour)
	}
	return 0, err
})

// met are the codes that were seen.
type met map[string]bool

var codeForm = regexp.MustCompile(`LM\d{4}`)

// say runs a command.
func (m met) say(args ...string) said {
	s := loopmesh(args...)
	if found := codeForm.FindString(s.errs); found != "" {
		m[found] = true
	}
	return s
}

// want waits until the events of a node have these codes.
func (m met) want(t *testing.T, node string, codes ...string) {
	t.Helper()
	for _, code := range codes {
		soon(t, node+" has an event "+code, func() bool {
			list := loopmesh("events", "-o", "jsonl", "--node", node).out
			for _, found := range codeForm.FindAllString(list, -1) {
				m[found] = true
			}
			return strings.Contains(list, code)
		})
	}
}

// soon waits until ok.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(3*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("not in time:", what)
		}
	}
}

// served starts a node with a loop io-0 and an admin socket.
func served(t *testing.T, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Logger = hclog.NewNullLogger()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := cluster.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	serve(t, n)
	return n
}

func serve(t *testing.T, n *cluster.Node) {
	t.Helper()
	if _, err := n.NewLoop("io-0"); err != nil {
		t.Fatal(err)
	}
	s, err := admin.Serve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
}

// address is where a node takes others.
func address(n *cluster.Node) string {
	_, at, _ := strings.Cut(n.URL(), "://")
	return at
}

// withoutNode are the mistakes of who starts a node or makes keys.
func (m met) withoutNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	m.say("ls")
	m.say("ls", "extra")
	m.say("start", "--name", "x", "--voter", "--routes", "a:1,b:2")
	m.say("start", "--name", "x", "--loops", "0", "--admin-listen", "0.0.0.0:0")
	m.say("keys", "init", dir, "--voter", "a", "--voter", "b")
	m.say("keys", "ls", dir)
	m.say("keys", "init", dir, "--node", "a")
	m.say("keys", "init", dir)
	m.say("keys", "init", "/proc/none")
	if err := os.Chmod(filepath.Join(dir, "authority", "ca-key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.say("keys", "ls", dir)
	store := t.TempDir()
	if err := os.WriteFile(filepath.Join(store, "loopmesh.json"), []byte(`{"cluster":"loopmesh","node":"n9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	m.say("start", "--name", "x", "--store", store)
}

// stored is a node with a call for later and a dead letter.
func (m met) stored(t *testing.T) {
	shop(t)
	soon(t, "there is a dead letter", func() bool { return loopmesh("command", "dead", "-o", "name").out != "" })
	m.say("timer", "cancel", "shop/nothing")
	m.say("timer", "fire", "shop/remind")
	m.say("timer", "cancel", "a%2F%E2%80%AE/b%20c")
	m.say("command", "requeue", "mail/m1")
	m.want(t, "n1", "LM6106", "LM6107", "LM6108")
}

// leaving is a node that drains while a call runs on it.
func (m met) leaving(t *testing.T) {
	leavers(t)
	ctx, interrupt := context.WithCancel(context.Background())
	calling, drained := make(chan int, 1), make(chan said, 1)
	var errs lines
	go func() {
		calling <- run(ctx, []string{"func", "call", "demo.sleep", `"1h"`, "--on", "n2/io-0", "--node", "n1"}, io.Discard, &errs)
	}()
	soon(t, "the call runs", func() bool { return strings.Contains(loopmesh("ps", "--node", "n1").out, "demo.sleep") })
	go func() { drained <- loopmesh("drain", "n2", "--node", "n1", "--limit", "1m") }()
	m.want(t, "n1", "LM6109")
	soon(t, "n2 takes no calls", func() bool {
		return m.say("func", "call", "demo.add", "[1,2]", "--on", "n2/io-0", "--node", "n1").code != exitOK
	})
	interrupt() // Ctrl-C
	<-calling
	m[codeForm.FindString(errs.String())] = true
	<-drained
	m.want(t, "n1", "LM4105")
}

// apart are nodes of two servers.
func (m met) apart(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	a := served(t, cluster.Config{Name: "a", Listen: "127.0.0.1:0"})
	b := served(t, cluster.Config{Name: "b", Listen: "127.0.0.1:0", MaxInbound: 1})
	m.say("ls")
	m.say("start", "--name", "x", "--join", address(a)+","+address(b))
	m.say("start", "--name", "a", "--join", address(a), "--socket", filepath.Join(t.TempDir(), "other.sock"))
	served(t, cluster.Config{Name: "c", Join: []string{address(b)}})
	busy := make(chan said, 1)
	go func() { busy <- loopmesh("func", "call", "test.block", "null", "--on", "b/io-0", "--node", "c") }()
	soon(t, "the loop is busy", func() bool { return b.Stats().Inbound > 0 })
	m.say("func", "call", "demo.add", "[1,2]", "--on", "b/io-0", "--node", "c")
	m.want(t, "b", "LM3201")
	release <- struct{}{}
	<-busy
	m.say("func", "call", "demo.add", "[1,2]", "--on", "b@1/io-0", "--node", "c")
	m.say("func", "call", "test.close", "null", "--on", "b/io-0", "--node", "c")
}

// outages are nodes that die, are cut off, and come back.
func (m met) outages(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	c := clustertest.New(t, 3, func(_ string, cfg *cluster.Config) { cfg.DeadAfter = 3 * time.Second })
	for _, name := range []string{"n1", "n2"} {
		serve(t, c.Node(name))
	}
	if _, err := c.Node("n3").NewLoop("io-0"); err != nil {
		t.Fatal(err)
	}
	call := make(chan struct{})
	go func() {
		defer close(call)
		m.say("func", "call", "demo.sleep", `"1h"`, "--on", "n3/io-0", "--node", "n1", "--timeout", "1m")
	}()
	soon(t, "the call runs", func() bool { return c.Node("n3").Stats().Inbound > 0 })
	c.Crash("n3")
	<-call
	m.want(t, "n1", "LM4104")
	c.Unplug("n2")
	c.Eventually("n2 is off the server", func() bool { return c.Node("n2").Stats().Disconnects > 0 })
	m.say("func", "call", "demo.add", "[1,2]", "--on", "n1/io-0", "--node", "n2", "--timeout", "1s")
	m.want(t, "n2", "LM7102", "LM4106")
	c.Heal("n2")
	m.want(t, "n2", "LM7103", "LM4107")
	c.Together()
	suspect := func() bool {
		return slices.ContainsFunc(c.Node("n1").Members(), func(m events.Member) bool { return m.Name == "n2" && m.Suspect })
	}
	c.Cut("n2") // for less than what makes it dead
	c.Eventually("n2 is silent", suspect)
	c.Heal("n2")
	c.Eventually("n2 is back", func() bool { return !suspect() })
	m.want(t, "n1", "LM4102", "LM4103")
}

// closed is a cluster with keys.
func (m met) closed(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ours, theirs := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "theirs")
	for _, dir := range []string{ours, theirs} {
		if err := keys.Init(dir, "shop", keys.Node{Name: "n1", Voter: true, Hosts: []string{"127.0.0.1"}}, keys.Node{Name: "n2", Grants: []string{"none"}}); err != nil {
			t.Fatal(err)
		}
	}
	n1 := served(t, cluster.Config{Name: "n1", Keys: ours, Listen: "127.0.0.1:0"})
	m.say("start", "--name", "n2", "--keys", theirs, "--join", address(n1))
	served(t, cluster.Config{Name: "n2", Keys: ours, Join: []string{address(n1)}})
	m.say("func", "call", "demo.add", "[1,2]", "--on", "n1/io-0", "--node", "n2")
	m.say("server", "close", "n1/io-0/servers/1", "--node", "n2")
	m.want(t, "n1", "LM3203")
}

// alone is one voter of three.
func (m met) alone(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	own := testport.Address(t)
	served(t, cluster.Config{Name: "n1", Voter: true, Routes: []string{own, "127.0.0.2:1", "127.0.0.3:1"}, RouteListen: own, Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	m.say("timer", "ls", "--timeout", "30s")
}
