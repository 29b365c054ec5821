package arch

import (
	"strings"
	"testing"
	"testing/fstest"
)

// planted holds, for every rule, files that break it and where. Files are
// named by their path; "#" in a source stands for the module's import path.
var planted = []struct {
	rule  string
	files map[string]string
	want  []string // beginnings of findings, all of them
}{
	{"imports point down", map[string]string{
		"internal/inbox/i.go":  "package inbox\nimport _ \"#/loopnode\"\n",
		"internal/core/c.go":   "package core\nimport _ \"#/internal/guard\"\n",
		"actors/a.go":          "package actors\nimport _ \"#/loopnode\"\n",
		"loopnode/l.go":        "package loopnode\nimport _ \"#/transportactors\"\n",
		"transportactors/t.go": "package transportactors\nimport _ \"#/cluster\"\n",
		"cluster/c.go":         "package cluster\nimport _ \"#/cmd/node\"\n",
		"helpers/h.go":         "package helpers\n",
	}, []string{
		"actors/a.go:2: floor \"1 actors\" may not import loopnode",
		"cluster/c.go:2: floor \"4 cluster\" may not import cmd/node",
		"helpers/h.go:1: folder helpers stands on no floor",
		"internal/core/c.go:2: floor \"pure\" may not import internal/guard",
		"internal/inbox/i.go:2: floor \"0 internal\" may not import loopnode",
		"loopnode/l.go:2: floor \"2 loopnode\" may not import transportactors",
		"transportactors/t.go:2: floor \"3 transportactors\" may not import cluster",
	}},
	{"one door to each foreign module", map[string]string{
		"loopnode/l.go":        "package loopnode\nimport _ \"github.com/asynkron/protoactor-go/actor\"\n",
		"transportactors/t.go": "package transportactors\nimport _ \"github.com/nats-io/nats.go\"\n",
		"cmd/node/m.go":        "package main\nimport _ \"github.com/nats-io/nats-server/v2/server\"\n",
		"cluster/c.go":         "package cluster\nimport _ \"github.com/spf13/cobra\"\n",
	}, []string{
		"cluster/c.go:2: cluster may not import github.com/spf13/cobra",
		"cmd/node/m.go:2: cmd/node may not import github.com/nats-io/nats-server/v2/server",
		"loopnode/l.go:2: loopnode may not import github.com/asynkron/protoactor-go/actor",
		"transportactors/t.go:2: transportactors may not import github.com/nats-io/nats.go",
	}},
	{"loops link no cluster", map[string]string{
		"loopnode/l.go":       "package loopnode\nimport _ \"#/actors\"\n",
		"actors/a.go":         "package actors\nimport _ \"#/internal/names\"\n",
		"internal/names/n.go": "package names\nimport _ \"github.com/nats-io/nuid\"\n",
	}, []string{
		"actors/a.go:1: actors links internal/names → github.com/nats-io/nuid",
		"internal/names/n.go:1: internal/names links github.com/nats-io/nuid",
		"loopnode/l.go:1: loopnode links actors → internal/names → github.com/nats-io/nuid",
	}},
	{"pure packages stay pure", map[string]string{
		"internal/core/c.go": "package core\nimport clock \"time\"\nvar _ = clock.Now\nfunc f() { go f() }\n",
		"internal/wire/w.go": "package wire\nimport _ \"sync/atomic\"\nimport _ \"net/netip\"\n",
	}, []string{
		"internal/core/c.go:3: internal/core is pure and may not ask for the time: time.Now",
		"internal/core/c.go:4: internal/core is pure and may not start a goroutine",
		"internal/wire/w.go:2: internal/wire is pure and may not import sync/atomic",
	}},
	{"production imports no test helper", map[string]string{
		"loopnode/l.go":          "package loopnode\nimport _ \"#/loopnode/looptest\"\n",
		"actors/a.go":            "package actors\nimport _ \"testing\"\n",
		"loopnode/looptest/l.go": "package looptest\nimport _ \"testing\"\n",
	}, []string{
		"actors/a.go:2: production code may not import testing",
		"loopnode/l.go:2: production code may not import " + modulePath + "/loopnode/looptest",
	}},
	{"aliases show what is behind them", map[string]string{
		"cluster/internal/members/m.go": "package members\ntype Change struct { Kind int; Why string; hidden int }\nfunc (*Change) Undo() {}\nfunc (Change) String() string\n",
		"cluster/c.go":                  "package cluster\nimport \"#/cluster/internal/members\"\n// Event has a Kind.\ntype Event = members.Change\n// Own is another type.\ntype Own members.Change\n",
		"loopnode/l.go":                 "package loopnode\nimport \"#/actors\"\n// Failure is another name.\ntype Failure = actors.Failure\n",
		"actors/a.go":                   "package actors\n// Failure has fields.\ntype Failure struct{ Who int }\n",
	}, []string{
		"cluster/c.go:4: the comment of Event does not name Undo of members.Change",
		"cluster/c.go:4: the comment of Event does not name Why of members.Change",
	}},
	{"packages say what they are", map[string]string{
		"actors/a.go":       "// Here are actors.\npackage actors\n",
		"cmd/node/m.go":     "package main\n",
		"cluster/c.go":      "// Package cluster joins nodes.\npackage cluster\n",
		"cluster/d.go":      "package cluster\n",
		"cluster/x_test.go": "package cluster_test\n",
	}, []string{
		"actors/a.go:2: package actors has no comment",
		"cmd/node/m.go:1: package main has no comment",
	}},
	{"exported names have comments", map[string]string{
		"actors/a.go": "package actors\n\nfunc Bare() {}\n\n// T is told.\ntype T struct{}\n\nfunc (*T) Method() {}\n\nfunc (*T) Error() string { return \"\" }\n\ntype Bald int\n\nconst Limit = 1\n\n// Told is told.\nfunc Told() {}\n\nfunc quiet() {}\n\ntype hidden[K any] struct{}\n\nfunc (hidden[K]) Method() {}\n\nvar Beside int // beside is told\n",
	}, []string{
		"actors/a.go:3: Bare has no comment",
		"actors/a.go:8: T.Method has no comment",
		"actors/a.go:12: Bald has no comment",
		"actors/a.go:14: Limit has no comment",
	}},
	{"goroutines name owner and end", map[string]string{
		"cluster/c.go": "package cluster\nimport \"sync\"\nfunc f(wg sync.WaitGroup) {\n\tgo f(wg)\n\t// goroutine: it runs.\n\tgo f(wg)\n\twg.Go(nil)\n\t// goroutine: owner: the node; ends with it.\n\tgo f(wg)\n}\n",
	}, []string{
		"cluster/c.go:4: a goroutine without",
		"cluster/c.go:6: a goroutine without",
		"cluster/c.go:7: a goroutine without",
	}},
	{"recover only in guard and coro", map[string]string{
		"actors/a.go":         "package actors\nfunc f() { recover() }\n",
		"internal/guard/g.go": "package guard\nfunc f() { recover() }\n",
	}, []string{"actors/a.go:2: recovers"}},
	{"no init functions", map[string]string{
		"actors/a.go": "package actors\nfunc init() {}\ntype t int\nfunc (t) init() {}\n",
	}, []string{"actors/a.go:2: has an init function"}},
	{"no unsafe", map[string]string{
		"actors/a.go":             "package actors\nimport _ \"unsafe\"\n",
		"internal/rawio/r.go":     "package rawio\nimport _ \"unsafe\"\n",
		"internal/rawio/x/x.go":   "package x\nimport _ \"unsafe\"\n",
		"internal/sock/s_test.go": "package sock\nimport _ \"unsafe\"\n",
	}, []string{
		"actors/a.go:2: imports unsafe", "internal/rawio/x/x.go:2: imports unsafe", "internal/sock/s_test.go:2: imports unsafe",
	}},
	{"no norace, no linkname", map[string]string{
		"actors/a.go": "package actors\n//go:norace\nfunc f() {}\n//go:linkname g runtime.g\nfunc g()\n",
	}, []string{"actors/a.go:2: has the directive //go:norace", "actors/a.go:4: has the directive //go:linkname"}},
	{"no thread locks", map[string]string{
		"actors/a.go": "package actors\nimport \"runtime\"\nfunc f() { runtime.LockOSThread() }\n",
	}, []string{"actors/a.go:3: locks a thread"}},
	{"no sleeps", map[string]string{
		"actors/a.go":      "package actors\nimport \"time\"\nvar nap = time.Sleep\n",
		"actors/a_test.go": "package actors\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }\n",
	}, []string{"actors/a.go:3: sleeps", "actors/a_test.go:3: sleeps"}},
	{"no skipped tests", map[string]string{
		"actors/a_test.go": "package actors\nimport \"testing\"\nfunc TestA(t *testing.T) { t." + "SkipNow() }\n",
	}, []string{"actors/a_test.go:3: skips"}},
	{"no unfinished words", map[string]string{
		"actors/a.go": "package actors\n// Works on one node for now.\nvar x = \"not implemented\"\n",
	}, []string{"actors/a.go:2: says for now", "actors/a.go:3: says not implemented"}},
}

func TestPlantedViolationsAreFound(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range planted {
		seen[p.rule] = true
		t.Run(p.rule, func(t *testing.T) {
			for _, r := range rules {
				if r.name == p.rule {
					compare(t, r.check(plant(t, p.files)), p.want)
				}
			}
		})
	}
	for _, r := range rules {
		if !seen[r.name] {
			t.Errorf("rule %q has no planted violation: nothing proves that it finds one", r.name)
		}
	}
}

// TestCleanFilesPass: a small tree that keeps every rule, with the things that
// look like violations and are none.
func TestCleanFilesPass(t *testing.T) {
	m := plant(t, map[string]string{
		"internal/core/c.go":   "// Package core is pure.\npackage core\nimport \"time\"\nvar _ time.Duration\n",
		"actors/a.go":          "// Package actors is a door.\npackage actors\nimport _ \"github.com/asynkron/protoactor-go/actor\"\nimport _ \"#/internal/core\"\n",
		"actors/a_test.go":     "package actors\nimport _ \"testing\"\nimport _ \"#/loopnode\"\nimport _ \"#/loopnode/looptest\"\nfunc f() { recover(); go f() }\n",
		"cluster/natsd/n.go":   "// Package natsd runs a server.\npackage natsd\nimport _ \"github.com/nats-io/nats-server/v2/server\"\nfunc f() {\n\t// goroutine: owner: the server; ends when it stops.\n\tgo f()\n}\n",
		"cmd/node/m.go":        "// The loopmesh program.\npackage main\nimport _ \"#/cluster\"\n",
		"cluster/nodecmd/m.go": "// Package nodecmd is a command line.\npackage nodecmd\nimport _ \"github.com/spf13/cobra\"\n",
		"examples/e/m.go":      "// An example.\npackage main\nimport _ \"github.com/nats-io/nats.go\"\nimport _ \"#/cluster\"\n",
		"testdata/broken.go":   "this is not Go",
		"bench/peers/go.mod":   "module peers",
		"bench/peers/p.go":     "package peers\nimport _ \"unsafe\"\n",
	})
	for _, r := range rules {
		compare(t, r.check(m), nil)
	}
	list, _ := launches(m)
	if want := "# file\tfunction\towner\tends\ncluster/natsd/n.go\tf\tthe server\twhen it stops\n"; listing(list) != want {
		t.Errorf("listing %q, want %q", listing(list), want)
	}
}

// plant parses files that exist only here.
func plant(t *testing.T, files map[string]string) *module {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "\"#", "\""+modulePath))}
	}
	m, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compare wants exactly these findings, in any order, by their beginning.
func compare(t *testing.T, got []finding, want []string) {
	t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for _, f := range got {
		known := false
		for w := range left {
			if strings.HasPrefix(f.String(), w) {
				delete(left, w)
				known = true
				break
			}
		}
		if !known {
			t.Errorf("found without reason: %s", f)
		}
	}
	for w := range left {
		t.Errorf("not found: %s", w)
	}
}
