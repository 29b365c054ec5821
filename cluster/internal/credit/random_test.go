package credit

import (
	"math/rand/v2"
	"testing"
)

// model is what a flow should have done, kept without stamps and sums: one entry
// per message with what became of it.
type model struct {
	fate  []byte // by number: 's' sent, 'h' held, 't' taken, 'l' lost, 'r' refused
	costs []uint64
}

func (m *model) count(fate byte) (n Amount) {
	for i, f := range m.fate {
		if f == fate {
			n = n.plus(Amount{1, m.costs[i]})
		}
	}
	return n
}

// TestRandomScripts sends, loses, repeats and takes at random and compares both
// halves with the model after every step. At the end everything is known.
func TestRandomScripts(t *testing.T) {
	for seed := range uint64(400) {
		runRandom(t, seed)
	}
}

type packet struct {
	number int // of the message; -1: a sync
	stamp  Amount
}

func runRandom(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	window := Amount{1 + rng.Uint64N(600), 1 + rng.Uint64N(300_000)}
	s, r, m := NewSender(), NewReceiver(window), &model{}
	var network []packet
	var held []int
	var grants []Grant
	var lost, refused uint64
	maxCost := 1 + rng.Uint64N(200_000)
	apply := func(g Grant) {
		news, ok := s.Apply(g)
		if !ok {
			t.Fatalf("seed %d: a true grant %+v is not believed", seed, g)
		}
		lost, refused = lost+news.Lost, refused+news.Refused
	}
	arrive := func(p packet, again bool) {
		if p.number < 0 {
			r.Sync(p.stamp)
			m.loseBefore(int(p.stamp.Messages))
			return
		}
		v, _ := r.Arrive(p.stamp, m.costs[p.number])
		switch {
		case v == Overrun:
			t.Fatalf("seed %d: an honest sender overran", seed)
		case v == Accept && again, v == Repeat && !again:
			t.Fatalf("seed %d: verdict %d for message %d, again %v", seed, v, p.number, again)
		case v == Accept:
			m.loseBefore(p.number)
			m.fate[p.number] = 'h'
			held = append(held, p.number)
		}
	}
	for range 600 {
		switch rng.IntN(8) {
		case 0, 1:
			cost := 1 + rng.Uint64N(maxCost)
			under := s.UnderWay()
			stamp, ok := s.Take(cost)
			if !ok && under.Messages == 0 {
				t.Fatalf("seed %d: nothing is under way and there is no credit", seed)
			}
			if ok && rng.IntN(10) == 0 {
				s.Undo()
			} else if ok {
				network = append(network, packet{len(m.fate), stamp})
				m.fate, m.costs = append(m.fate, 's'), append(m.costs, cost)
			}
		case 2, 3:
			if len(network) > 0 {
				p := network[0]
				network = network[1:]
				arrive(p, false)
				if p.number >= 0 && rng.IntN(8) == 0 {
					arrive(p, true)
				}
			}
		case 4:
			if len(network) > 0 && rng.IntN(3) == 0 {
				network = network[1:] // lost
			}
		case 5:
			if len(held) > 0 {
				n := held[0]
				held = held[1:]
				if rng.IntN(6) == 0 {
					r.Refuse(m.costs[n])
					m.fate[n] = 'r'
				} else {
					r.Took(Amount{1, m.costs[n]})
					m.fate[n] = 't'
				}
			}
		case 6:
			grants = append(grants, r.Grant())
			if i := rng.IntN(len(grants)); rng.IntN(2) == 0 {
				apply(grants[i]) // any of them, the old ones too
			}
		case 7:
			if rng.IntN(5) == 0 {
				network = append(network, packet{-1, s.Sent()})
			}
		}
		check(t, seed, &s, &r, m)
	}
	for _, p := range network {
		arrive(p, false)
	}
	r.Sync(s.Sent())
	m.loseBefore(len(m.fate))
	for _, n := range held {
		r.Took(Amount{1, m.costs[n]})
		m.fate[n] = 't'
	}
	apply(r.Grant())
	check(t, seed, &s, &r, m)
	if s.UnderWay() != (Amount{}) || r.Untold() {
		t.Fatalf("seed %d: at the end %v is under way, untold %v", seed, s.UnderWay(), r.Untold())
	}
	if lost != m.count('l').Messages || refused != m.count('r').Messages {
		t.Fatalf("seed %d: told %d lost and %d refused, it was %d and %d", seed, lost, refused, m.count('l').Messages, m.count('r').Messages)
	}
}

func (m *model) loseBefore(number int) {
	for i := range number {
		if m.fate[i] == 's' {
			m.fate[i] = 'l'
		}
	}
}

func check(t *testing.T, seed uint64, s *Sender, r *Receiver, m *model) {
	t.Helper()
	if got, want := r.Held(), m.count('h'); got != want {
		t.Fatalf("seed %d: held %v, want %v", seed, got, want)
	}
	if got := s.Sent().Messages; got != uint64(len(m.fate)) {
		t.Fatalf("seed %d: sent %d, want %d", seed, got, len(m.fate))
	}
	limit := Amount{max(r.window.Messages, Initial.Messages), max(r.window.Bytes, Initial.Bytes)}
	if u := s.UnderWay(); u.Messages > limit.Messages || u.Messages > 1 && u.Bytes > limit.Bytes {
		t.Fatalf("seed %d: %v is under way, the window is %v", seed, u, limit)
	}
}

// TestASenderWithoutCreditIsBounded: what a peer sends beyond its window is dropped
// and counted, however much it is.
func TestASenderWithoutCreditIsBounded(t *testing.T) {
	window := Amount{100, 64 << 10}
	r := NewReceiver(window)
	at := Amount{}
	for range 100_000 {
		r.Arrive(at, 1000)
		at = at.plus(Amount{1, 1000})
	}
	if h := r.Held(); h.Messages > Initial.Messages || h.Bytes > Initial.Bytes {
		t.Errorf("%v is held", h)
	}
	if g := r.Grant(); g.Refused != 100_000-r.Held().Messages {
		t.Errorf("%+v", g)
	}
}

// TestAForgedGrantChangesNothing: a grant for more than was sent is not believed.
func TestAForgedGrantChangesNothing(t *testing.T) {
	s := NewSender()
	s.Take(10)
	for _, g := range []Grant{
		{Done: Amount{2, 10}}, {Done: Amount{1, 11}}, {Done: Amount{1, 10}, Lost: 2}, {Done: Amount{1, 10}, Lost: 1, Refused: 1},
	} {
		if _, ok := s.Apply(g); ok || s.UnderWay().Messages != 1 {
			t.Errorf("%+v is believed", g)
		}
	}
}
