package nodecmd

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	nodes = admin.List[admin.Node]{
		Kind: "NodeList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Node{
			{
				ID: "n1", Incarnation: "81985529216486895", State: admin.Ready, Self: true, LastSeen: noon, Host: "atlas", PID: 4121,
				Started: noon.Add(-75 * time.Hour), Version: "v0.1.0", Go: "go1.26.8", URL: "nats://127.0.0.1:4222",
				Loops: 4, Tasks: 812, Conns: 790, Servers: 2, Served: 10, Calls: 20, CallsFailed: 1,
			},
			{ID: "n2", Incarnation: "2010987654321012345", State: admin.Suspect, LastSeen: noon.Add(-14 * time.Second)},
		},
		Partial: []admin.Missing{{ID: "n2", Error: admin.Error{Kind: admin.TimedOut, Message: "deadline passed", Hint: "look at it"}}},
	}
	loops = admin.List[admin.Loop]{
		Kind: "LoopList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Loop{
			{ID: "n1/chat", Node: "n1", Name: "chat", Tasks: 1, Conns: 2, Servers: []string{"127.0.0.1:7001", "[::1]:7001"}, AnsweredUS: 182},
			{ID: "n1/io-0", Node: "n1", Name: "io-0", Servers: []string{}, AnsweredUS: 2100000},
		},
	}
	conns = admin.List[admin.Conn]{
		Kind: "ConnList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Conn{
			{ID: "n1/chat/transports/3", Node: "n1", Loop: "chat", Peer: "127.0.0.1:50210", Local: "127.0.0.1:7001", Protocol: "*chat.client", Reading: true},
			{ID: "n1/chat/transports/12", Node: "n1", Loop: "chat", Local: "/tmp/a\nb", Protocol: "*chat.client", WriteBuffer: 65536, Closing: true},
			{ID: "n1/chat/transports/13", Node: "n1", Loop: "chat", Peer: "\x1b[2Jevil", Protocol: "<nil>"},
		},
	}
	funcs = admin.List[admin.Func]{
		Kind: "FuncList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Func{
			{ID: "bank.pay", In: "bank.Order", Out: "int", Nodes: []string{"n1", "n2"}},
			{ID: "loopmesh.node", In: "struct {}", Out: "admin.nodeReport", Internal: true, Nodes: []string{"n1"}},
		},
	}
	owned = admin.List[admin.Name]{
		Kind: "NameList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Name{
			{ID: "timers/shop", Node: "n1", Incarnation: "81985529216486895", Loop: "n1@81/io-0", Token: 1116839, Since: noon},
			{ID: "\u202eevil\u009b2J", Node: "n2", Incarnation: "2010987654321012345", Token: 7, Since: noon},
		},
	}
	timers = admin.List[admin.Timer]{
		Kind: "TimerList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Timer{
			{ID: "shop/report", Group: "shop", Name: "report", Function: "shop.report", Due: noon, Rule: "0 8 * * 1-5", Zone: "Europe/Amsterdam", State: "pending", Changed: noon},
			{ID: "shop/remind-17", Group: "shop", Name: "remind-17", Function: "shop.remind", Due: noon, State: "dead", Attempts: 10, Error: "no such\norder", Changed: noon},
			{ID: "a%2Fb/%E2%80%AEx%20y", Group: "a/b", Name: "\u202ex y", Function: "\u202eevil", Due: noon, State: "done", Changed: noon},
		},
	}
	commands = admin.List[admin.Command]{
		Kind: "CommandList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Command{
			{ID: "mail/1", Queue: "mail", Name: "1", Key: "k\u202e", Function: "shop.mail", State: "pending", Sent: noon},
			{ID: "mail/2", Queue: "mail", Name: "2", Function: "shop.mail", State: "dead", Sent: noon, Ended: noon, Attempts: 3, Error: "\x1b[2Jrefused"},
		},
	}
	reloaded = admin.Reload{
		Kind: "Reload", APIVersion: admin.APIVersion, ID: "n1",
		Changes: []admin.Change{
			{Key: "log-level", Was: "warn", Value: "debug", Applied: true},
			{Key: "tls-cert", Was: "/etc/n1.pem", Value: "/etc/n1.pem", Applied: true, Note: "the file has changed; used from the next connection on"},
			{Key: "voter", Was: "\x1b[2J", Value: "true"},
		},
	}
	steps = admin.Trace{
		Kind: "Trace", APIVersion: admin.APIVersion, Function: "shop.order", Result: []byte(`{"id":7}`),
		Spans: []admin.Span{
			{ID: "a1", Function: "shop.order", From: "n1", To: "n2/io-0", Begun: noon, TookUS: 12400, NetworkUS: us(800), QueueUS: us(100), RunUS: us(11500), AfterUS: 500},
			{ID: "b1", Parent: "a1", Function: "shop.price", From: "n2", To: "n3/io-1", Begun: noon, TookUS: 3100, NetworkUS: us(600), QueueUS: us(2000), RunUS: us(500), AfterUS: 3300},
			{ID: "c1", Parent: "b1", Function: "shop.rate", From: "n3", To: "n3/io-0", Begun: noon, TookUS: 90, NetworkUS: us(10), QueueUS: us(30), RunUS: us(50), AfterUS: 40},
			{ID: "b2", Parent: "a1", Function: "shop.\x1b[2Jpay", From: "n2", To: "n4/io-0", Begun: noon, TookUS: 2000000, AfterUS: 7000, Open: true},
			{ID: "d1", Parent: "nobody", Function: "shop.mail", To: "n3/io-1", Begun: noon, TookUS: 40, RunUS: us(40), Error: "no paper"},
		},
	}
	rtt         = int64(412)
	measurement = admin.Bench{
		Kind: "Bench", APIVersion: admin.APIVersion, ID: "n1>n2/io-0", What: admin.BenchCalls, From: "n1", To: "n2/io-0", AtOnce: 16, Size: 64,
		TookUS: 5_000_213, Done: 61234, Failed: 1, Error: &admin.Error{Kind: admin.TimedOut, Message: "too late"}, Bytes: 3918976, PerSecond: 12246.3, P50US: 78, P99US: 213, MaxUS: 4100,
	}
	natsLinks = admin.List[admin.NATSLink]{
		Kind: "NATSLinkList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.NATSLink{
			{ID: "n1/control", Node: "n1", Link: "control", Connected: true, Server: "nats://10.0.0.1:4222", RTTUS: &rtt, PendingMessages: 3, PendingBytes: 4096, SlowestSubject: "loopmesh.to.n1.>", MessagesIn: 10, MessagesOut: 20, Disconnects: 1, Reconnects: 1},
			{ID: "n2/bulk", Node: "n2", Link: "bulk", UnsentBytes: 2048, Dropped: 7, Disconnects: 2, Reconnects: 1},
		},
	}
	storeStreams = admin.List[admin.Stream]{
		Kind: "StreamList", APIVersion: admin.APIVersion, Time: noon,
		Items: []admin.Stream{
			{ID: "loopmesh-LOOPS", Messages: 12, Bytes: 5120, Leader: "n1", Copies: 3, Followers: []admin.Follower{{Server: "n2", Current: true}, {Server: "n3\u202e", Offline: true, Lag: 4}}},
			{ID: "loopmesh-WORK", Copies: 3, Followers: []admin.Follower{{Server: "n2", Lag: 9, SilentUS: 3_000_000}}},
		},
	}
	states = admin.List[nodeStatus]{
		Kind: "StatusList", APIVersion: admin.APIVersion, Time: noon, Partial: nodes.Partial,
		Items: []nodeStatus{{nodes.Items[0], loops.Items}, {nodes.Items[1], []admin.Loop{}}},
	}
)

func us(n int64) *int64 { return &n }

// TestDocuments: what commands print is an interface. A golden file that changes
// is a change its users see.
func TestDocuments(t *testing.T) {
	for name, print := range map[string]func(*cobra.Command, *output) error{
		"ls":           func(cmd *cobra.Command, o *output) error { return showNodes(cmd, o, &nodes) },
		"loop_ls":      func(cmd *cobra.Command, o *output) error { return showLoops(cmd, o, &loops) },
		"conn_ls":      func(cmd *cobra.Command, o *output) error { return showConns(cmd, o, &conns) },
		"func_ls":      func(cmd *cobra.Command, o *output) error { return showFuncs(cmd, o, &funcs) },
		"status":       func(cmd *cobra.Command, o *output) error { return showStatus(cmd, o, &states) },
		"name_ls":      func(cmd *cobra.Command, o *output) error { return show(cmd, o, &owned, nameColumns()...) },
		"timer_ls":     func(cmd *cobra.Command, o *output) error { return show(cmd, o, &timers, timerColumns()...) },
		"command_ls":   func(cmd *cobra.Command, o *output) error { return show(cmd, o, &commands, commandColumns()...) },
		"bench":        func(cmd *cobra.Command, o *output) error { return showBench(cmd, o, &measurement) },
		"trace_call":   func(cmd *cobra.Command, o *output) error { return showTrace(cmd, o, &steps) },
		"reload":       func(cmd *cobra.Command, o *output) error { return showReload(cmd, o, &reloaded) },
		"nats_status":  func(cmd *cobra.Command, o *output) error { return show(cmd, o, &natsLinks, natsColumns()...) },
		"nats_streams": func(cmd *cobra.Command, o *output) error { return show(cmd, o, &storeStreams, streamColumns()...) },
		"tree":         func(cmd *cobra.Command, o *output) error { return showTree(cmd, o, crowd().tree(depthKinds)) },
		"tree_nodes":   func(cmd *cobra.Command, o *output) error { return showTree(cmd, o, crowd().tree(depthNodes)) },
		"tree_loops":   func(cmd *cobra.Command, o *output) error { return showTree(cmd, o, crowd().tree(depthLoops)) },
		"tree_all":     func(cmd *cobra.Command, o *output) error { return showTree(cmd, o, crowd().tree(depthThings)) },
		"func_call": func(cmd *cobra.Command, o *output) error {
			return o.document(cmd, &admin.CallResult{Kind: "CallResult", APIVersion: admin.APIVersion, Function: "demo.add", On: "n2/io-0", TookUS: 321, Result: []byte("3")})
		},
		"conn_write": func(cmd *cobra.Command, o *output) error {
			return o.document(cmd, &admin.Done{Kind: "Done", APIVersion: admin.APIVersion, ID: "n1/chat/transports/3", Bytes: 6})
		},
	} {
		for _, format := range formats {
			var out bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetOut(&out)
			if err := print(cmd, &output{format: format}); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+format, out.Bytes())
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s\nIf that is meant: go test ./cluster/nodecmd -update", name, got, want)
	}
}
