package nodecmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/internal/testport"
)

// usual are the limits of check.
var usual = limits{lag: 100 * time.Millisecond, skew: time.Second, expires: 30 * 24 * time.Hour, free: 1 << 30, used: 80}

// healthy is a look at a cluster in which nothing is wrong.
func healthy() *look {
	health := func(id string) admin.Health {
		return admin.Health{
			ID: id, Version: "v1.0.0", Connected: true, Voters: 3, VotersConnected: []string{"n1", "n2", "n3"}, KeysExpire: noon.AddDate(1, 0, 0), CertificateExpire: noon.AddDate(1, 0, 0),
			Descriptors: 100, DescriptorsMost: 1000, Store: "/data", StoreFreeBytes: 5 << 30, ClockAheadUS: 900_000, ClockWithinUS: 1000,
		}
	}
	return &look{
		nodes:   admin.List[admin.Node]{Time: noon, Items: []admin.Node{{ID: "n1", State: admin.Ready}, {ID: "n2", State: admin.Ready}, {ID: "n3", State: admin.Ready}}},
		loops:   admin.List[admin.Loop]{Items: []admin.Loop{{ID: "n1/io-0", State: admin.Running, Measured: &admin.Measured{LagP99US: 100_000}}}},
		tasks:   admin.List[admin.Task]{Items: []admin.Task{{ID: "n1/io-0/tasks/1"}}},
		health:  admin.List[admin.Health]{Time: noon, Items: []admin.Health{health("n1"), health("n2")}},
		streams: admin.List[admin.Stream]{Items: []admin.Stream{{ID: "loopmesh-LOOPS", Leader: "n1", Copies: 3, Followers: []admin.Follower{{Server: "n2", Current: true, SilentUS: 1000}}}}},
	}
}

// faults are the states that check has to find: what is done to a healthy look, and the
// finding: level, code, subject and a part of the text.
var faults = []struct {
	name string
	do   func(l *look, at *limits)
	want string
}{
	{"dead", func(l *look, _ *limits) {
		l.nodes.Items[2] = admin.Node{ID: "n3", State: admin.Dead, LastSeen: noon.Add(-time.Minute)}
	}, "error LM4104 n3 is dead: killed? last seen 1m0s ago"},
	{"suspect", func(l *look, _ *limits) {
		l.nodes.Items[2] = admin.Node{ID: "n3", State: admin.Suspect, LastSeen: noon.Add(-2 * time.Second)}
	}, "warn LM4102 n3 may be gone: last seen 2s ago"},
	{"silent", func(l *look, _ *limits) {
		l.nodes.Items[2] = admin.Node{ID: "n3", State: admin.Silent}
		l.nodes.Partial = []admin.Missing{{ID: "n3", Error: admin.Error{Message: "deadline passed"}}}
	}, "error LM1004 n3 is a member and does not answer: deadline passed"},
	{"few", func(_ *look, at *limits) { at.members = 4 }, "error LM4111 cluster 3 of 4 nodes are ready"},
	{"blocked", func(l *look, _ *limits) {
		l.loops.Items = append(l.loops.Items, admin.Loop{ID: "n2/io-0", State: admin.Blocked, BlockedMS: 2100, Frame: "main.report"})
		l.loops.Partial = []admin.Missing{{ID: "n2/io-0"}}
	}, "error LM2101 n2/io-0 a callback has not returned for 2s: main.report"},
	{"mute loop", func(l *look, _ *limits) {
		l.loops.Partial = []admin.Missing{{ID: "n2/io-0", Error: admin.Error{Message: "deadline passed"}}, {ID: "n3"}}
	}, "error LM1004 n2/io-0 does not answer: deadline passed"},
	{"late", func(l *look, _ *limits) { l.loops.Items[0].Measured.LagP99US = 100_001 }, "warn LM2106 n1/io-0 runs 100.001ms late, the limit is 100ms"},
	{"circle", func(l *look, _ *limits) {
		for _, id := range []string{"4", "5"} {
			l.tasks.Items = append(l.tasks.Items, admin.Task{ID: "n1/io-0/tasks/" + id, Node: "n1", Loop: "io-0", Name: "t" + id, Circle: true})
		}
	}, "error LM2107 n1/io-0 2 tasks wait for each other: n1/io-0/tasks/4 (t4), n1/io-0/tasks/5 (t5)"},
	{"offline", func(l *look, _ *limits) { l.health.Items[0].Connected = false }, "error LM7101 n1 has no connection to NATS"},
	{"minority", func(l *look, _ *limits) { l.health.Items[0].VotersConnected = []string{"n1"} }, "error LM7105 n1 1 of 3 voters are connected (n1): no majority"},
	{"a voter", func(l *look, _ *limits) { l.health.Items[0].VotersConnected = []string{"n1", "n2"} }, "warn LM7109 n1 2 of 3 voters are connected (n1, n2)"},
	{"no leader", func(l *look, _ *limits) { l.streams.Items[0].Leader = "" }, "error LM7107 loopmesh-LOOPS has no leader"},
	{"copy offline", func(l *look, _ *limits) { l.streams.Items[0].Followers[0].Offline = true }, "warn LM7107 loopmesh-LOOPS its copy on n2 is offline"},
	{"copy behind", func(l *look, _ *limits) { f := &l.streams.Items[0].Followers[0]; f.Current, f.Lag = false, 7 }, "warn LM7107 loopmesh-LOOPS its copy on n2 is not up to date, by 7 operations"},
	{"copy silent", func(l *look, _ *limits) { l.streams.Items[0].Followers[0].SilentUS = 11_000_000 }, "warn LM7107 loopmesh-LOOPS its copy on n2 was last heard of 11s ago"},
	{"store", func(l *look, _ *limits) { l.noStore = &admin.Error{Code: codeNoQuorum, Message: "no majority"} }, "error LM7105 store the store does not answer: no majority"},
	{"a dead letter", func(l *look, _ *limits) { l.letters.Items = []admin.Command{{ID: "mail/1", Queue: "mail"}} }, "warn LM3170 queues 1 dead letter in queue mail; 'loopmesh command dead' lists them"},
	{"a dead timer", func(l *look, _ *limits) { l.health.Items[1].DeadTimers = 2 }, "warn LM3172 n2 2 calls for later of the groups that it owns failed"},
	{"disk", func(l *look, _ *limits) { l.health.Items[1].StoreFreeBytes = 1 << 29 }, "warn LM7108 n2 512.0 MiB are free on the disk of /data"},
	{"disk full", func(l *look, _ *limits) { l.health.Items[1].StoreStopped = true }, "error LM7108 n2 writes nothing durable: the disk of /data was full"},
	{"descriptors", func(l *look, _ *limits) { l.health.Items[0].Descriptors = 800 }, "warn LM1813 n1 has 800 of 1000 descriptors open"},
	{"keys", func(l *look, _ *limits) { l.health.Items[0].KeysExpire = noon.Add(29 * 24 * time.Hour) }, "warn LM1812 n1 its keys expire in 29d0h, on 2026-12-21"},
	{"certificate", func(l *look, _ *limits) { l.health.Items[0].CertificateExpire = noon }, "error LM1812 n1 its certificate expired 0s ago"},
	{"clock", func(l *look, _ *limits) { l.health.Items[1].ClockAheadUS = -1_002_000 }, "warn LM4109 n2 its clock is 1.002s behind that of the node that was asked"},
	{"versions", func(l *look, _ *limits) { l.health.Items[1].Version = "v1.1.0" }, "warn LM4110 cluster n1 run v1.0.0; n2 run v1.1.0"},
}

func TestEachFaultIsFound(t *testing.T) {
	if all := judge(healthy(), usual); len(all) != 0 {
		t.Fatalf("nothing is wrong, found %+v", all)
	}
	for _, c := range faults {
		l, at := healthy(), usual
		c.do(l, &at)
		all := judge(l, at)
		if len(all) != 1 {
			t.Errorf("%s: found %+v", c.name, all)
			continue
		}
		if got := all[0].Level + " " + all[0].Code + " " + all[0].ID + " " + all[0].Text; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, got, c.want)
		}
		if all[0].Do == "" {
			t.Errorf("%s has no explanation", all[0].Code)
		}
	}
}

// A stream without a leader is asked for again; what stays is a fault, what passes is none,
// and a question that has no time left is not repeated.
func TestWhatPassesIsNoFault(t *testing.T) {
	without := healthy().streams
	without.Items = []admin.Stream{{ID: "s"}}
	good := healthy().streams
	for _, c := range []struct {
		answers []*admin.List[admin.Stream]
		within  time.Duration
		asked   int
		faults  int
	}{
		{[]*admin.List[admin.Stream]{&good}, time.Hour, 1, 0},
		{[]*admin.List[admin.Stream]{&without, &good}, time.Hour, 2, 0},
		{[]*admin.List[admin.Stream]{&without, &without, &without, &good}, time.Hour, settleTimes, 1},
		{[]*admin.List[admin.Stream]{&without, &good}, time.Second, 1, 1},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), c.within)
		l, asked := &look{}, 0
		err := l.settle(ctx, func(context.Context) (*admin.List[admin.Stream], error) {
			asked++
			return c.answers[asked-1], nil
		})
		cancel()
		if got := len(judgeStreams(l, usual)); err != nil || asked != c.asked || got != c.faults {
			t.Errorf("%d answers within %v: asked %d times, %d faults, %v", len(c.answers), c.within, asked, got, err)
		}
	}
	if err := (&look{}).settle(context.Background(), func(context.Context) (*admin.List[admin.Stream], error) { return nil, errors.New("no") }); err == nil {
		t.Error("an error is lost")
	}
}

// What is well at its very limit, and what is not known, is no finding.
func TestWhatIsNoFault(t *testing.T) {
	l := healthy()
	l.noStore = &admin.Error{Code: admin.CodeNoJetStream}
	l.streams.Items = nil
	for i := range l.health.Items {
		h := &l.health.Items[i]
		h.Voters, h.VotersConnected, h.KeysExpire, h.CertificateExpire, h.Store, h.StoreFreeBytes, h.DescriptorsMost = 0, nil, time.Time{}, time.Time{}, "", 0, 0
		h.ClockAheadUS, h.ClockWithinUS = 3_000_000, 2_000_000 // the question took four seconds
	}
	at := usual
	at.members = 3
	if all := judge(l, at); len(all) != 0 {
		t.Errorf("found %+v", all)
	}
}

// sick is a look with many faults at once.
func sick() *look {
	l := healthy()
	for _, c := range faults {
		if strings.HasPrefix(c.want, "warn") && c.name != "suspect" || c.name == "dead" || c.name == "blocked" {
			at := usual
			c.do(l, &at)
		}
	}
	return l
}

func TestPagesOfFindings(t *testing.T) {
	for name, l := range map[string]*look{"check_well": healthy(), "check_sick": sick()} {
		list := &admin.List[finding]{Kind: "FindingList", APIVersion: admin.APIVersion, Time: noon, Items: judge(l, usual)}
		for _, format := range formats {
			cmd, out := printing()
			if err := showFindings(cmd, &output{format: format}, list, l); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+format, out.Bytes())
		}
		cmd, out := printing()
		_ = nagiosLine(cmd, l, nil, usual) // its exit code: TestNagios
		golden(t, name+".nagios", out.Bytes())
	}
}

func TestVerdicts(t *testing.T) {
	bad, warn := []finding{{Level: levelError}}, []finding{{Level: levelWarn}}
	for _, c := range []struct {
		all    []finding
		strict bool
		want   int
	}{{nil, true, exitOK}, {warn, false, exitOK}, {warn, true, exitFalse}, {bad, false, exitFalse}, {append(bad, warn...), true, exitFalse}} {
		if got := printError(io.Discard, newCheck(), verdict(c.all, c.strict)); got != c.want {
			t.Errorf("%+v strict %v: %d, want %d", c.all, c.strict, got, c.want)
		}
	}
}

func TestNagios(t *testing.T) {
	warned := healthy()
	warned.health.Items[1].Version = "a|b\n"
	for _, c := range []struct {
		seen *look
		err  error
		code int
		want string
	}{
		{healthy(), nil, nagiosOK, "LOOPMESH OK - 3 nodes, 1 loop, 1 task, 1 stream looked at | errors=0 warnings=0 nodes=3 loops=1 tasks=1 lag=100.000ms\n"},
		{warned, nil, nagiosWarning, "LOOPMESH WARNING - 0 errors, 1 warning: cluster n1 run v1.0.0; n2 run a/b? (LM4110) | errors=0 warnings=1"},
		{sick(), nil, nagiosCritical, "LOOPMESH CRITICAL - 2 errors, "},
		{nil, &admin.Error{Message: "no node\nof yours"}, nagiosUnknown, "LOOPMESH UNKNOWN - no node\n"},
		{nil, errors.New("broken"), nagiosUnknown, "LOOPMESH UNKNOWN - broken\n"},
	} {
		cmd, out := printing()
		if got := printError(io.Discard, &cobra.Command{}, nagiosLine(cmd, c.seen, c.err, usual)); got != c.code || !strings.HasPrefix(out.String(), c.want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%d %q, want %d %q", got, out, c.code, c.want)
		}
	}
}

func TestCheckOfACluster(t *testing.T) {
	t.Run("nobody to ask", func(t *testing.T) {
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		if s := loopmesh("check"); s.code != exitUnreachable || s.out != "" {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("check", "--nagios"); s.code != nagiosUnknown || !strings.HasPrefix(s.out, "LOOPMESH UNKNOWN - no node of yours") || s.errs != "" {
			t.Errorf("%+v", s)
		}
	})
	village(t)
	free := []string{"--free", "0", "--lag", "1m", "--descriptors", "100"}
	check := func(args ...string) said { return loopmesh(append(append([]string{"check"}, free...), args...)...) }
	if s := check("--strict", "--members", "3"); s.code != exitOK || !strings.HasPrefix(s.out, "0 errors, 0 warnings: 3 nodes, 9 loops, ") || !strings.HasSuffix(s.out, "no store looked at\n") {
		t.Errorf("%+v", s)
	}
	if s := check("--members", "4"); s.code != exitFalse || !strings.Contains(s.out, "ERROR  LM4111  cluster 3 of 4 nodes are ready\n       do: ") || !strings.Contains(s.errs, "(LM1005)") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("check", "--lag", "1ns", "--free", "0"); s.code != exitOK || !strings.Contains(s.out, "WARN   LM2106") {
		t.Errorf("%+v", s)
	}
	if s := check("--nagios"); s.code != nagiosOK || !strings.HasPrefix(s.out, "LOOPMESH OK - 3 nodes") {
		t.Errorf("%+v", s)
	}
	if list := decoded[admin.List[finding]](t, check("-o", "json")); list.Kind != "FindingList" || len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	for _, args := range []string{"--members -1", "--lag 0s", "--skew -1s", "--descriptors 0", "--descriptors 101", "--free -1", "--expires -1h", "-o xml"} {
		if s := loopmesh(append([]string{"check"}, strings.Fields(args)...)...); s.code != exitUsage || s.out != "" {
			t.Errorf("%s: %+v", args, s)
		}
	}
}

// Three voters that run, and what is found when one of them is gone: the others miss it, the
// streams lack its copy.
func TestCheckOfVoters(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	routes := testport.Addresses(t, 3)
	var stop []func()
	for i, route := range routes {
		ctx, cancel := context.WithCancel(context.Background())
		ended, store := make(chan int, 1), t.TempDir()
		go func() {
			ended <- run(ctx, []string{
				"start", "--name", fmt.Sprint("n", i+1), "--loops", "1", "--voter", "--routes", strings.Join(routes, ","), "--route-listen", route,
				"--listen", "127.0.0.1:0", "--store", store, "--drain", "1s", "--log-level", "off",
			}, io.Discard, io.Discard)
		}()
		end := sync.OnceFunc(func() { cancel(); <-ended })
		defer end()
		stop = append(stop, end)
	}
	if s := loopmesh("wait", "--for", "members=3,ready", "--timeout", "1m"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	check := func() said {
		return loopmesh("check", "--members", "3", "--free", "0", "--lag", "1m", "--descriptors", "100", "--timeout", "20s", "--strict")
	}
	until := func(what string, fine func(said) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			s := check()
			if fine(s) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %+v", what, s)
			}
		}
	}
	for end := time.Now().Add(time.Minute); ; { // makes the stream, as soon as there is a leader
		s := loopmesh("name", "ls")
		if s.code == exitOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
	until("nothing is wrong", func(s said) bool {
		return s.code == exitOK && strings.Contains(s.out, "0 errors, 0 warnings: 3 nodes, 6 loops, 0 tasks, 1 stream looked at")
	})
	stop[2]()
	until("the third voter is missed", func(s said) bool {
		return s.code == exitFalse && strings.Contains(s.out, "ERROR  LM4111  cluster 2 of 3 nodes are ready") && strings.Contains(s.out, "WARN   LM7109  n1 2 of 3 voters are connected (n1, n2)") &&
			strings.Contains(s.out, "LM7107")
	})
}

// The documents that commands make of several answers have schemas: every field that is
// printed is in them, and what they call required is printed.
func TestSchemasOfTheCommandsDocuments(t *testing.T) {
	for kind, file := range map[string]string{"Tree": "tree_all.json", "StatusList": "status.json", "FindingList": "check_sick.json", "DiagnosisList": "doctor.json"} {
		s := loopmesh("schema", kind)
		var schema struct {
			Ref  string                    `json:"$ref"`
			Defs map[string]map[string]any `json:"$defs"`
		}
		if err := json.Unmarshal([]byte(s.out), &schema); s.code != exitOK || err != nil || schema.Ref != "#/$defs/"+kind {
			t.Errorf("%s: %v %+v", kind, err, s)
			continue
		}
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		described(t, kind, doc, map[string]any{"$ref": schema.Ref}, schema.Defs)
	}
}

// described checks a document against the parts of a schema that are used here.
func described(t *testing.T, at string, v any, schema map[string]any, defs map[string]map[string]any) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		if schema = defs[strings.TrimPrefix(ref, "#/$defs/")]; schema == nil {
			t.Errorf("%s: %s is not defined", at, ref)
			return
		}
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		for k, below := range v {
			p, ok := properties[k].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not described", at, k)
				continue
			}
			described(t, at+"."+k, below, p, defs)
		}
		required, _ := schema["required"].([]any)
		for _, k := range required {
			if _, ok := v[k.(string)]; !ok {
				t.Errorf("%s has no %s", at, k)
			}
		}
	case []any:
		items, _ := schema["items"].(map[string]any)
		for _, item := range v {
			described(t, at+"[]", item, items, defs)
		}
	case string:
		if schema["type"] != "string" {
			t.Errorf("%s is text, the schema says %v", at, schema["type"])
		}
	}
}
