package nodecmd

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
	blocks  atomic.Int64 // loops that have come to stand still
	_       = cluster.Func("test.block", func(context.Context, struct{}) (int, error) { blocks.Add(1); <-release; return 0, nil })
	_       = cluster.Func("test.panic", func(context.Context, struct{}) (int, error) { panic("on purpose") })
	_       = cluster.Func("test.loop", func(ctx context.Context, _ struct{}) (int, error) {
		node, _ := cluster.NodeOf(ctx)
		ref, err := node.NewLoop("extra")
		if err != nil {
			return 0, err
		}
		loopnode.Go(ctx, "end it", func(ctx context.Context) error {
			if err := loopnode.Sleep(ctx, 5*time.Second); err != nil { // behind two looks of its node
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

// elsewhere are the codes that take what no test of this package can make: a child, a newer
// process of the same name, a subscription that overflows, a store with a limit, a call
// without an answer to a node that dies.
var elsewhere = map[string]string{
	"LM3202": "cluster: deaths", "LM4108": "cluster: fenced", "LM6104": "cluster/admin: children", "LM7104": "cluster: slow consumers", "LM7106": "cluster/durable: full stores",
	"LM1812": "TestEachFaultIsFound", "LM1813": "TestEachFaultIsFound", "LM2106": "TestEachFaultIsFound", "LM2107": "TestEachFaultIsFound", "LM4109": "TestEachFaultIsFound",
	"LM4110": "TestEachFaultIsFound", "LM4111": "TestEachFaultIsFound", "LM7107": "TestEachFaultIsFound", "LM7108": "TestEachFaultIsFound", "LM7109": "TestEachFaultIsFound",
	"LM3115": "TestProcRun", "LM3116": "TestProcRun", "LM3117": "TestProcRun", "LM3118": "TestProcRun", "LM3119": "cluster/process", "LM3171": "cluster/process", "LM3172": "TestEachFaultIsFound", "LM3120": "TestProcRun",
	"LM3195": "TestADrainIsTakenBack", "LM3196": "TestADrainIsTakenBack", "LM3190": "TestBenchNATSAndTopics", "LM3192": "TestContexts", "LM3193": "TestContexts", "LM3194": "TestContextsAtOnce", "LM3191": "TestBenchNATSAndTopics",
	"LM3180": "TestReload", "LM3181": "TestAWrongConfigurationIsNotTaken", "LM3182": "TestTraceRefusesOlderNodes", "LM3183": "TestTrace",
	"LM6110": "TestLogsOfANode", "LM6111": "TestPprof",
}

func TestEachCodeIsProvoked(t *testing.T) {
	met := met{}
	say := met.say
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	met.withoutNode(t)
	for name, condition := range map[string]func(*testing.T){
		"stored": met.stored, "leaving": met.leaving, "apart": met.apart, "outages": met.outages, "closed": met.closed, "alone": met.alone,
	} {
		t.Run(name, condition)
	}
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
		{"demo.sleep", `"1h"`, "--on", "n2/io-0", "--timeout", "1s"}, {"demo.add", "[1]", "--on", "n9/io-0"}, {"demo.ad", "[1]", "--on", "n2/io-0"},
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
	say("loop", "ls", "--timeout", "3s")
	say("status", "--timeout", "3s")
	release <- struct{}{}
	if s := <-done; s.code != exitOK {
		t.Errorf("%+v", s)
	}
	wait("LM2102")
	wait("LM2104")
	for _, found := range codeForm.FindAllString(events(), -1) {
		met[found] = true
	}
	for _, c := range admin.Codes() {
		if _, ok := elsewhere[c.Code]; !met[c.Code] && !ok {
			t.Errorf("nothing provoked %s, %s", c.Code, c.Title)
		}
	}
	delete(met, "")
	for _, c := range slices.Sorted(maps.Keys(met)) {
		if _, ok := admin.Explain(c); !ok {
			t.Errorf("%s has no explanation", c)
		}
	}
}
