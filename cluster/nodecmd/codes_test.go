package nodecmd

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Functions of a program that misbehaves.
var (
	release = make(chan struct{})
	_       = cluster.Func("test.block", func(context.Context, struct{}) (int, error) { <-release; return 0, nil })
	_       = cluster.Func("test.panic", func(context.Context, struct{}) (int, error) { panic("on purpose") })
	_       = cluster.Func("test.loop", func(ctx context.Context, _ struct{}) (int, error) {
		node, _ := cluster.NodeOf(ctx)
		ref, err := node.NewLoop("extra")
		if err != nil {
			return 0, err
		}
		loopnode.Go(ctx, "end it", func(ctx context.Context) error {
			if err := loopnode.Sleep(ctx, 2500*time.Millisecond); err != nil { // behind two looks of its node
				return err
			}
			return ref.Stop()
		})
		return 0, nil
	})
	_ = cluster.Func("test.actor", func(ctx context.Context, _ struct{}) (int, error) {
		node, _ := cluster.NodeOf(ctx)
		l, err := loopnode.Running(ctx)
		if err != nil {
			return 0, err
		}
		who, err := node.Actors().Spawn(l, "bad", func() actors.Actor {
			return actors.Func(func(ctx *actors.Context) {
				if ctx.Message() == "fail" {
					ctx.Exit(errors.New("on purpose"))
				}
			})
		})
		if err != nil {
			return 0, err
		}
		return 0, node.Actors().Send(who, "fail")
	})
)

// elsewhere are the codes whose conditions take more than one process, a fault of the
// network or keys: their errors and events are provoked by tests of the packages that
// are named.
var elsewhere = map[string]string{
	"LM1003": "two clusters", "LM1010": "Ctrl-C", "LM1802": "cluster: store folders", "LM1803": "cluster/keys, tests/multinode", "LM1804": "cluster, examples/service",
	"LM1805": "cluster: separate servers", "LM2105": "cluster: closed loops", "LM3109": "cluster: ErrBusy", "LM3110": "cluster/admin", "LM3111": "cluster: deaths",
	"LM3112": "cluster: stale addresses", "LM3201": "cluster: ErrBusy", "LM3202": "cluster: deaths", "LM3203": "cluster/admin", "LM4102": "cluster: membership",
	"LM4103": "cluster: membership", "LM4104": "cluster/admin", "LM4105": "cluster/admin", "LM4106": "cluster: fenced", "LM4107": "cluster: fenced", "LM4108": "cluster: fenced",
	"LM1012": "TestWhatIsStored", "LM6104": "needs a child", "LM6106": "cluster/admin", "LM6107": "cluster/admin", "LM6108": "cluster/admin", "LM7105": "cluster: JetStream",
	"LM7106": "cluster/internal/records", "LM7101": "cluster: outages", "LM7102": "cluster: outages", "LM7103": "cluster: outages", "LM7104": "cluster: slow consumers",
}

func TestEachCodeIsProvoked(t *testing.T) {
	met := map[string]bool{}
	code := regexp.MustCompile(`LM\d{4}`)
	say := func(args ...string) said {
		s := loopmesh(args...)
		if found := code.FindString(s.errs); found != "" {
			met[found] = true
		}
		return s
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	say("ls")
	say("ls", "extra")
	say("start", "--name", "x", "--voter", "--routes", "a:1,b:2")
	say("start", "--name", "x", "--loops", "0", "--admin-listen", "0.0.0.0:0")
	if err := os.MkdirAll(admin.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(admin.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(admin.Dir(), "n1.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	say("ls", "--node", "n1")
	rooms := village(t)
	say("start", "--name", "n1")
	say("events", "--kind", "rumour")
	say("status", "n9")
	say("name", "ls")
	for _, args := range [][]string{
		{"demo.sleep", `"1h"`, "--on", "n2/io-0", "--timeout", "100ms"}, {"demo.add", "[1]", "--on", "n9/io-0"}, {"demo.ad", "[1]", "--on", "n2/io-0"},
		{"demo.add", "[1]", "--on", "n2/io-9"}, {"demo.add", "[1]", "--on", "io-0"}, {"demo.add", `"x"`, "--on", "n2/io-0"}, {"demo.sleep", `"soon"`, "--on", "n2/io-0"},
		{"demo.sleep", `"` + strings.Repeat("x", 2<<20) + `"`, "--on", "n2/io-0"}, {"test.panic", "null", "--on", "n2/io-0"},
		{"test.loop", "null", "--on", "n2/io-0"}, {"test.actor", "null", "--on", "n2/io-0"},
	} {
		say(append([]string{"func", "call"}, args...)...)
	}
	say("conn", "write", "n1/chat/transports/999", "x")
	dial(t, rooms[2])
	say("conn", "close", strings.TrimSpace(loopmesh("conn", "ls", "-o", "name").out))
	say("server", "close", "n3/chat/servers/1")
	say("actor", "stop", "n2/bad")
	if s := say("func", "call", "test.evil", "null", "--on", "n2/io-0"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	say("task", "cancel", strings.TrimSpace(loopmesh("ps", "-o", "name", "--filter", "name~evil").out))
	done := make(chan said, 1)
	go func() { done <- loopmesh("func", "call", "test.block", "null", "--on", "n3/io-0", "--timeout", "1m") }()
	events := func() string { return loopmesh("events", "-o", "jsonl").out }
	wait := func(what string) {
		t.Helper()
		for end := time.Now().Add(patience); !strings.Contains(events(), what); {
			if time.Now().After(end) {
				t.Fatal(what, "did not come")
			}
		}
	}
	wait("LM2101")
	say("loop", "ls", "--timeout", "600ms")
	say("status", "--timeout", "600ms")
	release <- struct{}{}
	if s := <-done; s.code != exitOK {
		t.Errorf("%+v", s)
	}
	wait("LM2102")
	wait("LM2104")
	for _, found := range code.FindAllString(events(), -1) {
		met[found] = true
	}
	for _, c := range admin.Codes() {
		if why, ok := elsewhere[c.Code]; !met[c.Code] && !ok {
			t.Errorf("nothing provoked %s, %s", c.Code, c.Title)
		} else if met[c.Code] && ok && strings.HasPrefix(why, "needs") {
			t.Errorf("%s is provoked here", c.Code)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(met)) {
		if _, ok := admin.Explain(c); !ok {
			t.Errorf("%s has no explanation", c)
		}
	}
}
