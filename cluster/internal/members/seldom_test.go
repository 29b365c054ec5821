package members

import (
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

func TestWhatHappensOftenIsToldOnceASecond(t *testing.T) {
	s, at := seldoms{}, time.Unix(1000, 0)
	a, b := cause{events.Refused, "a"}, cause{events.Refused, "b"}
	want := func(what string, got, want uint64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d are told, want %d", what, got, want)
		}
	}
	want("the first", s.count(a, at), 1)
	for range 41 {
		want("at once behind it", s.count(a, at), 0)
	}
	want("another node", s.count(b, at), 1)
	want("another kind", s.count(cause{events.Gap, "a"}, at), 1)
	want("a second later", s.count(a, at.Add(time.Second)), 42)
	for i := range 10 * maxSeldom {
		s.count(cause{events.Conflict, strconv.Itoa(i)}, at.Add(time.Second))
	}
	if len(s) > maxSeldom {
		t.Errorf("%d causes are remembered", len(s))
	}
	want("when there are too many", s.count(cause{events.Conflict, "x"}, at.Add(time.Second)), 0)
	want("when they are over", s.count(cause{events.Conflict, "x"}, at.Add(2*time.Second)), 1)
	want("and nothing is left", uint64(len(s)), 1)
}

// TestAFloodOfRefusalsKeepsNobodyFromHearingOfMembers: who causes events as often as it
// likes does not make a reader lag.
func TestAFloodOfRefusalsKeepsNobodyFromHearingOfMembers(t *testing.T) {
	m := New(link.New(link.Self{Cluster: "c", Name: "n1", Number: 1}, hclog.NewNullLogger(), 1, link.Handlers{}),
		Config{Heartbeat: time.Second, DeadAfter: 3 * time.Second}, Events{}, hclog.NewNullLogger())
	s := m.Subscribe()
	for i := range 10_000 {
		m.Report(events.Refused, link.Peer{Name: strconv.Itoa(i % 1000), Number: 1}, "why")
	}
	changed(m, events.Joined, "n2")
	got := s.Take()
	if last := got[len(got)-1]; last.Kind != events.Joined || len(got) > 5*maxSeldom {
		t.Errorf("%d events, the last is %v", len(got), last.Kind)
	}
}
