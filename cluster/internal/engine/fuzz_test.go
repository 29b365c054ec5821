package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// FuzzReport: whatever comes as a report of another engine, or as a notice of the server, an
// engine goes on, believes nobody about another one, and keeps no more than its bounds.
func FuzzReport(f *testing.F) {
	var told, lives []string
	cfg := Config{Node: "n1"}
	cfg.Events.Skew = func(server string, _ time.Duration) { told = append(told, server) }
	cfg.Events.Ended = func(node string, _ uint64) { lives = append(lives, node) }
	e := opened(f, cfg)
	m := &meeting{seen: &clocks{away: map[string]away{}}, objection: make(chan error, 1), agreed: make(chan string, 8)}
	for _, seed := range []string{
		`{"node":"n2","clock":1772366400000,"routes":"a,b","voters":3,"connected":["n2","n3"]}`, `{"node":"n2","ask":true}`, `{"node":"n3","clock":1}`, `{"node":"n2","clock":-9223372036854775808}`, `{"node":"n2","clock":9223372036854775807}`,
		`{"node":"n2","account":"x.y.z","issued":9223372036854775807}`, `{"node":"n2","ended":[{"node":"n1","number":7}],"route":"a","number":7}`, `{"node":"n2","store":{"used":1,"limit":0},"clock":1}`, `{"node":"n2","ask_store":true}`,
		`{"client":{"name":"n2#7"},"reason":"Client Closed"}`, `{"client":{"name":"#"}}`, `{"client":{"name":"n2#-1"}}`, `{"client":null}`, `{`, ``, `null`, strings.Repeat("[", 70_000),
	} {
		f.Add([]byte(seed), "n2")
	}
	f.Fuzz(func(t *testing.T, data []byte, from string) {
		told, lives = nil, nil
		subject := strings.TrimSuffix(e.Subjects.Engines, "*") + from
		e.reported(&nats.Msg{Subject: subject, Data: data}, m)
		for _, name := range told {
			if name != from {
				t.Errorf("%q says something about the clock of %q", from, name)
			}
		}
		if len(lives) > 0 {
			t.Errorf("%q, which is no voter, ends %q", from, lives)
		}
		if n := len(m.seen.away); n > maxSpeaker {
			t.Errorf("%d clocks are remembered", n)
		}
		e.notice(data, func(node string, number uint64, _ string) {
			if number == e.cfg.Number || strings.Contains(node, "#") {
				t.Errorf("a notice about %q %d", node, number)
			}
		})
		if e.Votes().Voters > 1 {
			t.Errorf("an engine with a server of its own believes another one that there are %+v", e.Votes())
		}
	})
}
