package membership

import (
	"slices"
	"testing"
	"time"
)

// kindsOf are the kinds of the events since the last Take.
func kindsOf(m *Machine) (kinds []EventKind) {
	for _, e := range m.Take().Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// answered makes id a member of m: it is heard, asked, and answers.
func answered(m *Machine, now time.Duration, id ID) {
	m.Step(now, Message{Kind: Beat, From: id, Announced: true})
	m.Step(now, Message{Kind: Answer, From: id, Seq: m.candidates.byName[id.Name].question, Announced: true})
}

// TestAGoodbyeIsOfOneIncarnation: what an incarnation that is no member says of its end
// ends nobody, whether it is older or newer.
func TestAGoodbyeIsOfOneIncarnation(t *testing.T) {
	m := member100(Defaults(time.Second, 3*time.Second))
	now := 200 * time.Millisecond
	answered(m, now, ID{"a", 5})
	m.Take()
	for _, other := range []uint64{4, 6} {
		m.Step(now, Message{Kind: Goodbye, From: ID{"a", other}, Announced: true})
	}
	if have, ok := m.Find("a"); !ok || have.Incarnation != 5 {
		t.Fatalf("after a goodbye of others: %v %v, %v", have, ok, kindsOf(m))
	}
	m.Step(now, Message{Kind: Goodbye, From: ID{"a", 5}, Announced: true})
	if _, ok := m.Find("a"); ok {
		t.Fatal("its own goodbye did not end it")
	}
}

// TestAnIsolatedNodeMayNotServe: from the input on that says so, not from the next tick.
func TestAnIsolatedNodeMayNotServe(t *testing.T) {
	m := member100(Defaults(time.Second, 3*time.Second))
	now := 200 * time.Millisecond
	m.Step(now, Message{Kind: Beat, From: m.self, Seq: m.link.next})
	if m.ServeUntil() <= now {
		t.Fatalf("it may serve until %v at %v", m.ServeUntil(), now)
	}
	m.Isolated(now, true)
	if until := m.ServeUntil(); until != 0 {
		t.Fatalf("isolated, it may serve until %v", until)
	}
}

// TestAFencedNodeWaitsForItsHeartbeat: after a reconnect nobody can have objected before
// an own heartbeat has come back, so the end of Settle alone does not let it serve.
func TestAFencedNodeWaitsForItsHeartbeat(t *testing.T) {
	cfg := Defaults(time.Second, 3*time.Second)
	m := member100(cfg)
	m.Disconnected(200 * time.Millisecond)
	now := 10 * time.Second
	m.Tick(now)
	if got := kindsOf(m); !slices.Contains(got, Fenced) {
		t.Fatalf("cut off for 10 s: %v", got)
	}
	m.Connected(now)
	for until := now + 3*cfg.Settle; now < until; now += cfg.Settle / 2 {
		m.Tick(now)
	}
	if got := kindsOf(m); slices.Contains(got, Serving) || m.ServeUntil() > now {
		t.Fatalf("it serves before a heartbeat came back: %v", got)
	}
	m.Step(now, Message{Kind: Beat, From: m.self, Seq: m.link.next})
	for until := now + 3*cfg.Settle; now < until; now += cfg.Settle / 2 {
		m.Tick(now)
	}
	if got := kindsOf(m); !slices.Contains(got, Serving) || m.ServeUntil() <= now {
		t.Fatalf("it does not serve after its heartbeat came back: %v", got)
	}
}

// TestNobodyCanGuessTheQuestionToARival: it depends on the node's secret, so only a node
// that was asked can answer for a newer incarnation of the name.
func TestNobodyCanGuessTheQuestionToARival(t *testing.T) {
	seen := map[uint64]uint64{}
	for secret := range uint64(100) {
		cfg := Defaults(time.Second, 3*time.Second)
		cfg.Secret = secret
		q := New(cfg, ID{"n1", 100}).rivalQuestion(200)
		if other, known := seen[q]; known || q == 0 {
			t.Fatalf("secrets %d and %d ask question %d", secret, other, q)
		}
		seen[q] = secret
	}
}

// TestTheEndOfAMemberSaysWhenItWasHeardOf: when it was given up, or left, is the time
// of the event; when it last gave a sign of life and since when it was a member is told
// as of a member that lives.
func TestTheEndOfAMemberSaysWhenItWasHeardOf(t *testing.T) {
	for _, kind := range []EventKind{Dead, Left} {
		m := member100(Defaults(time.Second, 3*time.Second))
		answered(m, 200*time.Millisecond, ID{"a", 5})
		m.Step(300*time.Millisecond, Message{Kind: Beat, From: ID{"a", 5}, Announced: true})
		m.Take()
		m.remove(900*time.Millisecond, m.members["a"], kind, kind == Left, "a test")
		e := m.Take().Events[0]
		if e.Kind != kind || e.Joined != 200*time.Millisecond || e.Heard != 300*time.Millisecond {
			t.Errorf("%v: %+v", kind, e)
		}
	}
}

// TestHeardIsOfOneIncarnation: a candidate and a member were heard of, other lives of their
// names were not.
func TestHeardIsOfOneIncarnation(t *testing.T) {
	m := member100(Defaults(time.Second, 3*time.Second))
	now := 200 * time.Millisecond
	m.Step(now, Message{Kind: Beat, From: ID{"c", 7}, Announced: true})
	answered(m, now, ID{"a", 5})
	for id, want := range map[ID]bool{{"a", 5}: true, {"a", 4}: false, {"c", 7}: true, {"c", 8}: false, {"x", 1}: false} {
		if m.Heard(id) != want {
			t.Errorf("%v was heard of: %v", id, !want)
		}
	}
	m.Step(now, Message{Kind: Goodbye, From: ID{"a", 5}, Announced: true})
	if m.Heard(ID{"a", 5}) {
		t.Error("one that left is a member")
	}
}

// TestSilenceIsNoEvidenceOfAnEnd: who must not act beside a node that lives asks whether it
// has ended. A goodbye, a closed connection, the word of the voters and a newer life say so;
// silence and a missing subscription do not.
func TestSilenceIsNoEvidenceOfAnEnd(t *testing.T) {
	id := ID{"a", 5}
	absent := func(m *Machine, now time.Duration) {
		for range 2 {
			m.Absent(now, id)
			now += 2 * time.Second
		}
	}
	for _, c := range []struct {
		name string
		end  func(m *Machine, now time.Duration)
		gone bool
	}{
		{"a goodbye", func(m *Machine, now time.Duration) { m.Step(now, Message{Kind: Goodbye, From: id, Announced: true}) }, true},
		{"a closed connection", func(m *Machine, now time.Duration) { m.Notice(now, id, true); absent(m, now) }, true},
		{"a connection that the server closed", func(m *Machine, now time.Duration) { m.Notice(now, id, false); absent(m, now) }, false},
		{"the word of the voters", func(m *Machine, now time.Duration) { m.Ended(now, id); absent(m, now) }, true},
		{"nobody listens", absent, false},
		{"a newer life", func(m *Machine, now time.Duration) { answered(m, now, ID{"a", 6}) }, true},
		{"silence", func(m *Machine, now time.Duration) { m.remove(now, m.members["a"], Dead, false, "silent") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Defaults(time.Second, 3*time.Second)
			cfg.LateEcho, cfg.LateTick = time.Hour, time.Hour
			m := member100(cfg)
			m.Step(200*time.Millisecond, Message{Kind: Beat, From: m.self, Seq: m.link.next})
			answered(m, 200*time.Millisecond, id)
			if m.Gone(id) || !m.Gone(ID{"a", 4}) || m.Gone(ID{"b", 1}) {
				t.Fatalf("a member has ended: %v; its earlier life has: %v; one that nobody knows has: %v", m.Gone(id), m.Gone(ID{"a", 4}), m.Gone(ID{"b", 1}))
			}
			c.end(m, 300*time.Millisecond)
			if have := m.members["a"]; have != nil && have.id == id {
				t.Fatal("it is a member still")
			}
			if m.Gone(id) != c.gone {
				t.Errorf("has ended: %v", m.Gone(id))
			}
		})
	}
}

// TestAnEndIsOfOnePeriod: who was given up and serves again does so in a period that begins
// with its next heartbeat. Who has given it up before it heard that one has not ended it.
func TestAnEndIsOfOnePeriod(t *testing.T) {
	cfg := Defaults(time.Second, 3*time.Second)
	cfg.LateEcho, cfg.LateTick = time.Hour, time.Hour
	id := ID{"a", 5}
	m := member100(cfg)
	m.Step(200*time.Millisecond, Message{Kind: Beat, From: m.self, Seq: m.link.next})
	m.Step(200*time.Millisecond, Message{Kind: Beat, From: id, Seq: 6, Announced: true})
	m.Step(200*time.Millisecond, Message{Kind: Answer, From: id, Seq: m.candidates.byName["a"].question, Announced: true})
	m.Step(300*time.Millisecond, Message{Kind: Beat, From: id, Seq: 7, Announced: true})
	if m.Covers(id, 0) {
		t.Error("it lives")
	}
	m.remove(400*time.Millisecond, m.members["a"], Dead, false, "silent")
	for period, want := range map[uint64]bool{0: true, 7: true, 8: false} {
		if m.Covers(id, period) != want {
			t.Errorf("its period %d has ended: %v", period, !want)
		}
	}
	if !m.Covers(ID{"a", 4}, 9) || !m.Covers(ID{"x", 1}, 9) {
		t.Error("an earlier life, or one that was forgotten, goes on")
	}
	if m.Period() != 0 {
		t.Error("the period of a node that was never fenced is", m.Period())
	}
	m.Tick(5 * time.Second) // fenced: its own heartbeats do not come back
	if m.ServeUntil() > 5*time.Second || m.Covers(id, 0) {
		t.Errorf("serves until %v; what it said before it was fenced counts: %v", m.ServeUntil(), m.Covers(id, 0))
	}
	sent := m.link.next
	m.Step(5*time.Second, Message{Kind: Beat, From: m.self, Seq: sent})
	m.Tick(5*time.Second + cfg.Settle)
	if m.ServeUntil() == 0 || m.Period() != sent+1 {
		t.Errorf("serves until %v in period %d, want %d", m.ServeUntil(), m.Period(), sent+1)
	}
}
