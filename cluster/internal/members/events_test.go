package members

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

// changed tells every subscriber of a change.
func changed(m *Members, kind events.Kind, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.subs {
		s.add(events.Event{Kind: kind, Member: events.Member{Name: name}})
	}
}

func TestASubscriberThatDoesNotKeepUpBeginsAnew(t *testing.T) {
	m := New(link.New(link.Self{Cluster: "c", Name: "n1", Number: 1}, hclog.NewNullLogger(), 1, link.Handlers{}),
		Config{Heartbeat: time.Second, DeadAfter: 3 * time.Second}, Events{}, hclog.NewNullLogger())
	s, quick := m.Subscribe(), m.Subscribe()
	wakes := 0
	s.Notify(func() { wakes++ })
	kept := 0
	for i := range 3 * maxChanges {
		changed(m, events.Joined, strconv.Itoa(i))
		kept += len(quick.Take())
	}
	if len(s.queue) > maxChanges {
		t.Errorf("%d changes are kept for a reader that does not read", len(s.queue))
	}
	got := s.Take()
	if len(got) != 1 || got[0].Kind != events.Lagged || wakes != 1 {
		t.Fatalf("%d changes, the first is %v; woken %d times", len(got), got[0].Kind, wakes)
	}
	if kept != 3*maxChanges {
		t.Errorf("a reader that keeps up got %d of %d", kept, 3*maxChanges)
	}
	// From here on it hears everything again.
	changed(m, events.Joined, "n2")
	changed(m, events.Dead, "n2")
	got, err := s.Next(context.Background())
	if err != nil || len(got) != 2 || got[0].Kind != events.Joined || got[1].Kind != events.Dead {
		t.Errorf("%+v, %v", got, err)
	}
	// Exactly as many as are kept are no loss.
	for i := range maxChanges {
		changed(m, events.Joined, strconv.Itoa(i))
	}
	if got := s.Take(); len(got) != maxChanges || got[0].Kind != events.Joined {
		t.Errorf("%d changes, the first is %v", len(got), got[0].Kind)
	}
}
