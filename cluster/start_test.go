package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestAZeroConfigIsANode(t *testing.T) {
	n, err := Start(testCtx(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if !wire.ValidName(n.Name()) || n.Incarnation() == 0 || n.URL() != "" {
		t.Errorf("name %q, incarnation %d, url %q", n.Name(), n.Incarnation(), n.URL())
	}
	if m := n.Members(); len(m) != 1 || !m[0].Self || m[0].Name != n.Name() {
		t.Errorf("members %+v", m)
	}
}

func TestNodesJoinOverLoopback(t *testing.T) {
	a := start(t, Config{Name: "a", Listen: "127.0.0.1:0"})
	if !strings.HasPrefix(a.URL(), "nats://127.0.0.1:") {
		t.Fatalf("url %q", a.URL())
	}
	b := start(t, Config{Name: "b", Join: []string{strings.TrimPrefix(a.URL(), "nats://")}})
	c := start(t, Config{Name: "c", URL: a.URL()})
	for _, n := range []*Node{a, b, c} {
		if err := n.WaitMembers(testCtx(t), 3); err != nil {
			t.Error(err)
		}
	}
	newLoop(t, b, "io-0")
	if got, err := where.Via(c).Call(testCtx(t), refTo(t, c, "b/io-0"), struct{}{}); got != "b/io-0" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestClustersOnOneNATSDoNotMeet(t *testing.T) {
	a := start(t, Config{Name: "a"})
	other := start(t, Config{Name: "a", Cluster: "other", Beside: a})
	if len(a.Members()) != 1 || len(other.Members()) != 1 {
		t.Errorf("%v and %v", a.Members(), other.Members())
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	a := start(t, Config{Name: "a"})
	_, err := Start(testCtx(t), Config{Name: "a", Beside: a, Logger: quiet()})
	wantIs(t, err, ErrNameTaken)
	if !strings.Contains(err.Error(), "choose another Config.Name") {
		t.Errorf("%v does not say what to do", err)
	}
	newLoop(t, a, "io-0")
	_, err = a.NewLoop("io-0")
	wantIs(t, err, ErrNameTaken)
}

func TestOfNodesThatStartTogetherUnderOneNameOneStays(t *testing.T) {
	base := start(t, Config{Name: "base"})
	const count = 8
	var wg sync.WaitGroup
	nodes := make([]*Node, count)
	errs := make([]error, count)
	for i := range count {
		wg.Go(func() {
			nodes[i], errs[i] = Start(testCtx(t), Config{Name: "same", Beside: base, Logger: quiet()})
		})
	}
	wg.Wait()
	alive := 0
	for i, n := range nodes {
		if n == nil {
			wantIs(t, errs[i], ErrNameTaken)
			continue
		}
		alive++
		n.Close()
	}
	if alive != 1 {
		t.Errorf("%d nodes hold the name", alive)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	a := start(t, Config{Name: "a"})
	cases := map[string]Config{
		"Name":      {Name: "a.b"},
		"Cluster":   {Cluster: "x y"},
		"URL, Join": {URL: "nats://127.0.0.1:1", Beside: a},
		"Listen":    {Listen: "4222"},
		"StoreDir":  {StoreDir: "x", Beside: a},
		"negative":  {Heartbeat: -1},
		"DeadAfter": {Heartbeat: time.Second, DeadAfter: time.Second},
		"MaxPay":    {MaxPayload: 9 << 20},
	}
	for word, cfg := range cases {
		_, err := Start(testCtx(t), cfg)
		if !errors.Is(err, ErrConfig) || !strings.Contains(fmt.Sprint(err), word) {
			t.Errorf("%s: got %v", word, err)
		}
	}
	if _, err := a.NewLoop("a/b"); !errors.Is(err, ErrConfig) {
		t.Errorf("got %v", err)
	}
}

func TestStartFailsWithoutNATS(t *testing.T) {
	s, port := natsServer(t, 0)
	s.Shutdown()
	s.WaitForShutdown()
	_, err := Start(testCtx(t), Config{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "is it running") {
		t.Errorf("got %v", err)
	}
	done, cancel := context.WithCancel(testCtx(t))
	cancel()
	if _, err := Start(done, Config{Logger: quiet()}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a ctx that has ended: %v", err)
	}
}

// TestANodeWaitsForNATS starts a node before its NATS. Its loop runs meanwhile, and is
// the node's when it is there.
func TestANodeWaitsForNATS(t *testing.T) {
	s, port := natsServer(t, 0)
	s.Shutdown()
	s.WaitForShutdown()
	log := &lockedText{}
	loop, err := loopnode.New(loopnode.Config{Name: "io-0", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	turned := make(chan error, 1)
	go func() { turned <- loop.RunForever() }()
	defer func() {
		_ = loop.Ref().CallSoonThreadsafe(loop.Stop) // it may have ended with its node
		<-turned
		_ = loop.Close()
	}()
	cfg := Config{
		Name: "n1", URL: natsURL(port), AwaitNATS: true, Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn}),
		Prepare: func(_ context.Context, n *Node) error { _, err := n.Host(loop); return err },
	}
	short, cancel := context.WithTimeout(testCtx(t), time.Second)
	defer cancel()
	_, err = Start(short, cfg)
	wantIs(t, err, ErrDisconnected, context.DeadlineExceeded)
	said, started := log.count("cannot be reached"), make(chan *Node, 1)
	go func() {
		n, err := Start(testCtx(t), cfg)
		if err != nil {
			t.Error(err)
		}
		started <- n
	}()
	until(t, "it says that it waits", func() bool { return log.count("cannot be reached") > said })
	ran := make(chan struct{})
	if err := loop.Ref().CallSoonThreadsafe(func() { close(ran) }); err != nil {
		t.Fatal(err)
	}
	receive(t, "a callback of the loop", ran)
	natsServer(t, port)
	n1 := receive(t, "the node", started)
	if n1 == nil {
		return
	}
	t.Cleanup(n1.Close)
	n2 := start(t, Config{Name: "n2", URL: natsURL(port)})
	if got, err := add.Via(n2).Call(testCtx(t), refTo(t, n2, "n1/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Error(got, err)
	}

	t.Run("what another attempt does not change is an error at once", func(t *testing.T) {
		denied, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "u", Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		denied.Start()
		t.Cleanup(func() { denied.Shutdown(); denied.WaitForShutdown() })
		if !denied.ReadyForConnections(patience) {
			t.Fatal("the server does not start")
		}
		for _, c := range []Config{{User: "u", Password: "wrong"}, {TLS: &tls.Config{ServerName: "x"}, User: "u", Password: "p"}} {
			c.URL, c.AwaitNATS, c.Logger = denied.ClientURL(), true, quiet()
			_, err := Start(testCtx(t), c)
			wantIs(t, err, ErrDenied)
		}
		_, err = Start(testCtx(t), Config{AwaitNATS: true, Logger: quiet()})
		wantIs(t, err, ErrConfig)
	})
}

func TestAPortThatIsTakenIsSaidSo(t *testing.T) {
	_, port := natsServer(t, 0)
	_, err := Start(testCtx(t), Config{Listen: fmt.Sprintf("127.0.0.1:%d", port), Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestAStoreFolderBelongsToOneNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	a := start(t, Config{Name: "a", StoreDir: dir})
	if _, err := Start(testCtx(t), Config{Name: "b", StoreDir: dir, Logger: quiet()}); err == nil || !strings.Contains(err.Error(), "own StoreDir") {
		t.Errorf("got %v", err)
	}
	a.Close()
	b := start(t, Config{Name: "a", StoreDir: dir})
	b.Close()
}

func TestWhatAClosedNodeAnswers(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	nodes[0].Close()
	_, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{})
	wantIs(t, err, ErrClosed)
	wantIs(t, add.Via(nodes[0]).CallSoon(testCtx(t), far, sum{}), ErrClosed)
	_, err = nodes[0].NewLoop("io-0")
	wantIs(t, err, ErrClosed)
	_, err = nodes[0].Watch(far, func(Terminated) {})
	wantIs(t, err, ErrClosed)
	wantIs(t, nodes[0].WaitMembers(testCtx(t), 5), ErrClosed)
}

func TestAddressesArePeoplesText(t *testing.T) {
	n := group(t, 1)[0]
	own := newLoop(t, n, "io-0")
	for _, text := range []string{"n1/io-0", "/io-0", own.String()} {
		if ref := refTo(t, n, text); ref != own {
			t.Errorf("%q is %v, want %v", text, ref, own)
		}
	}
	if ref, ok := n.Loop("io-0"); !ok || ref != own {
		t.Errorf("got %v, %v", ref, ok)
	}
	for _, text := range []string{"", "io-0", "a.b/io-0", "n2@0/io-0", "n2/", "n1@5x/io-0"} {
		if _, err := n.Ref(text); !errors.Is(err, actors.ErrBadAddress) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
