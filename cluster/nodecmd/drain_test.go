package nodecmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/loopnode"
)

var (
	heldBegun = make(chan string, 8)
	heldEnd   = make(chan struct{})
	held      = cluster.Func("test.held", func(ctx context.Context, forEver bool) (string, error) {
		heldBegun <- "begun"
		if forEver {
			return "", loopnode.Sleep(ctx, time.Hour)
		}
		_, _, err := loopnode.Recv(ctx, heldEnd)
		return "ended", err
	})
)

// lines are what a command prints while it runs. Any goroutine.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// leavers are three nodes with admin sockets.
func leavers(t *testing.T) (nodes []*cluster.Node) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cfg := cluster.Config{Logger: hclog.NewNullLogger()}
	for i := range 3 {
		cfg.Name = fmt.Sprintf("n%d", i+1)
		n, err := cluster.Start(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		if cfg.Beside == nil {
			cfg.Beside = n
		}
		if _, err := n.NewLoop("io-0"); err != nil {
			t.Fatal(err)
		}
		s, err := admin.Serve(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.WaitMembers(ctx, 3); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// hold has a call from n1 run on n2.
func hold(t *testing.T, nodes []*cluster.Node, forEver bool) (ended chan string) {
	t.Helper()
	ref, err := nodes[0].Ref("n2/io-0")
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan string, 1)
	go func() {
		out, err := held.Via(nodes[0]).Call(context.Background(), ref, forEver)
		ended <- fmt.Sprint(out, err)
	}()
	<-heldBegun
	return ended
}

func TestDrainFollowsANode(t *testing.T) {
	nodes := leavers(t)
	call := hold(t, nodes, false)
	var errs lines
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(context.Background(), []string{"drain", "n2", "--node", "n1"}, &out, &errs) }()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); {
			if time.Now().After(end) {
				t.Fatal("not in time:", what)
			}
		}
	}
	eventually("it says what it waits for", func() bool { return strings.Contains(errs.String(), "calls: waits for 1 calls\n") })
	if s := loopmesh("func", "call", "demo.add", "[1,2]", "--on", "n2/io-0", "--node", "n1"); s.code != exitUnreachable || !strings.Contains(s.errs, "LM3114") {
		t.Errorf("a call of a node that drains: %+v", s)
	}
	if s := loopmesh("events", "--node", "n1"); !strings.Contains(s.out, "LM6109") || !strings.Contains(s.out, "placement: done") {
		t.Errorf("events: %+v", s)
	}
	heldEnd <- struct{}{}
	if got := <-code; got != exitOK || out.String() != "n2 has left\n" {
		t.Errorf("exit code %d, %q, %q", got, out.String(), errs.String())
	}
	if got := <-call; got != "ended<nil>" {
		t.Error("the call ended with", got)
	}
	<-nodes[1].Done()
	// The node that is asked is the one that leaves.
	if s := loopmesh("drain", "--node", "n3"); s.code != exitOK || s.out != "n3 has left\n" {
		t.Errorf("%+v", s)
	}
	<-nodes[2].Done()
}

func TestDrainCutsOffAtItsLimit(t *testing.T) {
	nodes := leavers(t)
	call := hold(t, nodes, true)
	if s := loopmesh("drain", "n2", "--node", "n1", "--limit", "200ms"); s.code != exitTimedOut || !strings.Contains(s.errs, "did not wait for 1 calls") || s.out != "" {
		t.Errorf("%+v", s)
	}
	if got := <-call; got == "<nil>" {
		t.Error("a call that was cut off has a result")
	}
	for args, want := range map[string]int{"drain n9 --node n1": exitNotFound, "drain n1 --limit 2h --node n1": exitUsage, "drain n1 --limit -1s --node n1": exitUsage} {
		if s := loopmesh(strings.Fields(args)...); s.code != want || s.out != "" {
			t.Errorf("%s: %+v", args, s)
		}
	}
	if s := loopmesh("start", "--name", "x", "--drain", "2h"); s.code != exitUsage || !strings.Contains(s.errs, "--drain is 2h0m0s") {
		t.Errorf("%+v", s)
	}
}

// readyz is what a probe of a node's admin socket is told.
func readyz(t *testing.T, node string) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", admin.Path(node))
	}}}
	r, err := client.Get("http://localhost/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode
}

func TestADrainIsTakenBack(t *testing.T) {
	nodes := leavers(t)
	if s := loopmesh("resume", "n2"); s.code != exitNotFound || !strings.Contains(s.errs, "not being drained") {
		t.Errorf("%+v", s)
	}
	if code := readyz(t, "n2"); code != http.StatusOK {
		t.Errorf("readyz says %d", code)
	}
	told, ended := &lines{}, make(chan int, 1)
	go func() {
		ended <- run(context.Background(), []string{"drain", "n2", "--notice", "30m", "--node", "n1"}, told, told)
	}()
	soon(t, "the drain waits for its notice", func() bool { return strings.Contains(told.String(), "notice: waits for its notice") })
	if s := loopmesh("ls", "--filter", "draining=true", "-o", "name"); s.out != "n2\n" {
		t.Errorf("%+v", s)
	}
	if code := readyz(t, "n2"); code != http.StatusServiceUnavailable {
		t.Errorf("readyz says %d while it is drained", code)
	}
	if s := loopmesh("resume", "n2", "-o", "name", "--node", "n1"); s.code != exitOK || s.out != "n2\n" {
		t.Errorf("%+v", s)
	}
	if code := <-ended; code != exitFailed || !strings.Contains(told.String(), "LM3196") {
		t.Errorf("the drain ends with %d: %s", code, told)
	}
	if code := readyz(t, "n2"); code != http.StatusOK {
		t.Errorf("readyz says %d", code)
	}
	if s := loopmesh("events", "--kind", "LM3196", "-o", "jsonl"); !strings.Contains(s.out, `"subject":"n2"`) {
		t.Errorf("%+v", s)
	}
	answered := hold(t, nodes, false) // n2 takes calls as before
	go func() {
		ended <- run(context.Background(), []string{"drain", "n2", "--notice", "30m", "--node", "n1"}, io.Discard, io.Discard)
	}()
	soon(t, "it is drained again", func() bool { return readyz(t, "n2") == http.StatusServiceUnavailable })
	second := make(chan int, 1)
	go func() { second <- run(context.Background(), []string{"drain", "n2", "--node", "n1"}, told, told) }()
	soon(t, "it waits for a call, at once", func() bool { return strings.Contains(told.String(), "1 calls") })
	if s := loopmesh("resume", "n2", "--node", "n1"); s.code != exitRefused || !strings.Contains(s.errs, "LM3195") {
		t.Errorf("too late: %+v", s)
	}
	heldEnd <- struct{}{}
	if got := <-answered; got != "ended<nil>" {
		t.Errorf("the call %s", got)
	}
	for _, who := range []chan int{ended, second} {
		if code := <-who; code != exitOK {
			t.Errorf("the drain ends with %d: %s", code, told)
		}
	}
}
