package membership

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// member100 is a machine that is a member, at 1 s.
func member100(cfg Config) *Machine {
	m := New(cfg, ID{"n1", 100})
	m.Connected(0)
	m.NobodyHolds(0)
	m.Tick(100 * time.Millisecond)
	m.Announce(100 * time.Millisecond)
	m.Take()
	return m
}

// TestWhatPeersCanMakeGrowIsBounded sends names that nobody has, and members that
// come and go.
func TestWhatPeersCanMakeGrowIsBounded(t *testing.T) {
	cfg := Defaults(time.Second, 3*time.Second)
	cfg.MaxMembers, cfg.MaxCandidates, cfg.MaxFormers = 50, 20, 30
	m := member100(cfg)
	now := 200 * time.Millisecond
	for i := range 20_000 {
		id := ID{fmt.Sprintf("x%d", i), uint64(i + 1)}
		m.Step(now, Message{Kind: Beat, From: id, Announced: true})
		m.Step(now, Message{Kind: Goodbye, From: ID{fmt.Sprintf("y%d", i), 1}, Announced: true})
		if i%2 == 0 { // it answers, and half of these leave again
			m.Step(now, Message{Kind: Answer, From: id, Seq: m.questions, Announced: true})
		}
		if i%4 == 0 {
			m.Step(now, Message{Kind: Goodbye, From: id, Announced: true})
		}
		m.Take()
		if i%100 == 0 {
			now += 10 * time.Millisecond
		}
		switch {
		case len(m.members) > cfg.MaxMembers:
			t.Fatalf("%d members", len(m.members))
		case len(m.candidates.byName) > cfg.MaxCandidates || len(m.candidates.order) > 3*cfg.MaxCandidates+16:
			t.Fatalf("%d candidates, %d in order", len(m.candidates.byName), len(m.candidates.order))
		case len(m.formers.byName) > cfg.MaxFormers || len(m.formers.order) > cfg.MaxFormers:
			t.Fatalf("%d former members", len(m.formers.byName))
		}
	}
	for range maxBeats + 10 {
		m.beat(now)
	}
	if len(m.link.out) > maxBeats {
		t.Errorf("%d heartbeats are remembered", len(m.link.out))
	}
	if len(m.members) != cfg.MaxMembers || len(m.formers.byName) != cfg.MaxFormers {
		t.Errorf("%d members, %d former ones: the test does not reach the limits", len(m.members), len(m.formers.byName))
	}
}

// TestAnyInputInAnyOrder gives a machine what comes to mind. It must not panic, and
// time that stands still or jumps must not either.
func TestAnyInputInAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := New(Defaults(time.Second, 3*time.Second), ID{"n1", 100})
		now := time.Duration(0)
		id := func() ID { return ID{fmt.Sprintf("n%d", rng.IntN(5)), 98 + uint64(rng.IntN(5))} }
		for range 3000 {
			now += time.Duration(rng.IntN(400)) * time.Millisecond
			switch rng.IntN(12) {
			case 0:
				m.Connected(now)
			case 1:
				m.Disconnected(now)
			case 2:
				m.Isolated(now, rng.IntN(2) == 0)
			case 3:
				m.NobodyHolds(now)
			case 4:
				m.Announce(now)
			case 5:
				m.Absent(now, id())
			case 6:
				m.Notice(now, id(), rng.IntN(2) == 0)
			case 7:
				m.Inquire(now, id().Name)
			case 8, 9:
				m.Tick(now)
			default:
				msg := Message{Kind: Kind(rng.IntN(10)), From: id(), To: id(), Seq: uint64(rng.IntN(20)), Other: 98 + uint64(rng.IntN(5)), Announced: rng.IntN(4) > 0, Held: rng.IntN(2) == 0}
				m.Step(now, msg)
			}
			out := m.Take()
			for _, e := range out.Events {
				if e.Kind >= Refused && e.Kind != Fenced && e.Kind != Serving && !m.over() {
					t.Fatalf("%v although the machine goes on", e)
				}
			}
			if m.over() {
				m = New(Defaults(time.Second, 3*time.Second), ID{"n1", 100})
				now = 0
			}
		}
	}
}
