package lease

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const s = time.Second

// script drives a machine by lines such as "4 tick" or "5 stored 4" (seconds) and
// writes what it said.
func script(t *testing.T, lines string) string {
	t.Helper()
	m := New(Default(), 1)
	var out strings.Builder
	for line := range strings.Lines(lines) {
		var now, sent float64
		var what string
		if _, err := fmt.Sscan(line, &now, &what, &sent); err != nil && what == "" {
			continue
		}
		at, from := time.Duration(now*float64(s)), time.Duration(sent*float64(s))
		var said []string
		note := func(is bool, text string) {
			if is {
				said = append(said, text)
			}
		}
		switch what {
		case "want":
			m.Want(at)
		case "tick":
			lost, renew := m.Tick(at)
			note(lost, "lost")
			note(renew, fmt.Sprint("renew term ", m.Term()))
		case "stored":
			note(m.Stored(from, at), "lost")
		case "failed":
			m.Failed(at)
		case "taken":
			note(m.Taken(at), "lost")
		case "leave":
			m.Leave()
		default:
			t.Fatal(line)
		}
		note(m.Held(at), fmt.Sprint("held until ", m.Until()))
		wake, ok := m.Wake()
		note(ok, fmt.Sprint("wakes at ", wake))
		fmt.Fprintf(&out, "%s: %s\n", strings.TrimSpace(line), strings.Join(said, ", "))
	}
	return out.String()
}

func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"it renews each four seconds", "0 tick\n0 want\n0 tick\n1 stored 0\n3 tick\n4 tick\n5 stored 4", `
0 tick: 
0 want: wakes at 0s
0 tick: renew term 1
1 stored 0: held until 18s, wakes at 4s
3 tick: held until 18s, wakes at 4s
4 tick: renew term 1, held until 18s, wakes at 18s
5 stored 4: held until 22s, wakes at 8s`},
		{"without an answer it ends by itself", "0 want\n0 tick\n0 stored 0\n4 tick\n9 failed\n10 tick\n15 failed\n16 tick\n17.9 tick\n18 tick\n19 stored 16\n19 tick\n19.5 stored 19", `
0 want: wakes at 0s
0 tick: renew term 1
0 stored 0: held until 18s, wakes at 4s
4 tick: renew term 1, held until 18s, wakes at 18s
9 failed: held until 18s, wakes at 10s
10 tick: renew term 1, held until 18s, wakes at 18s
15 failed: held until 18s, wakes at 16s
16 tick: renew term 1, held until 18s, wakes at 18s
17.9 tick: held until 18s, wakes at 18s
18 tick: lost
19 stored 16: wakes at 19s
19 tick: renew term 2
19.5 stored 19: held until 37s, wakes at 23s`},
		{"a process that stood still finds it lost before anything else", "0 want\n0 tick\n0 stored 0\n4 tick\n60 stored 4\n60 tick", `
0 want: wakes at 0s
0 tick: renew term 1
0 stored 0: held until 18s, wakes at 4s
4 tick: renew term 1, held until 18s, wakes at 18s
60 stored 4: lost, wakes at 1m0s
60 tick: renew term 2`},
		{"an answer that took longer than the lease is worth nothing", "0 want\n0 tick\n19 stored 0\n19 tick", `
0 want: wakes at 0s
0 tick: renew term 1
19 stored 0: wakes at 19s
19 tick: renew term 1`},
		{"a later life ends it", "0 want\n0 tick\n0 stored 0\n4 tick\n5 taken\n6 tick", `
0 want: wakes at 0s
0 tick: renew term 1
0 stored 0: held until 18s, wakes at 4s
4 tick: renew term 1, held until 18s, wakes at 18s
5 taken: lost, wakes at 6s
6 tick: renew term 2`},
		{"who leaves asks for nothing more", "0 want\n0 tick\n1 leave\n2 stored 0\n9 tick", `
0 want: wakes at 0s
0 tick: renew term 1
1 leave: 
2 stored 0: 
9 tick: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := script(t, c.lines); strings.TrimSpace(got) != strings.TrimSpace(c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestTwoNodesNeverBothHold lets two nodes take turns with a store whose clock runs
// differently and whose answers come late or never: while one may act, the store has
// not removed its lease, so the other one cannot have the name.
func TestTwoNodesNeverBothHold(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		cfg := Default()
		m := New(cfg, 1)
		m.Want(0)
		type flight struct {
			sent, back time.Duration
			stored     bool
		}
		var under *flight
		expires, storedTerm, terms := time.Duration(-1), uint64(0), uint64(1)
		for now := time.Duration(0); now < 300*s; now += time.Duration(1+r.IntN(3000)) * time.Millisecond {
			if r.IntN(40) == 0 {
				now += time.Duration(r.IntN(40)) * s // the process stands still
			}
			if m.Held(now) && (now >= expires || storedTerm != m.Term()) {
				t.Fatalf("seed %d at %v: held until %v, the store removed it at %v (term %d, stored %d)", seed, now, m.Until(), expires, m.Term(), storedTerm)
			}
			if under != nil && now >= under.back {
				f := under
				under = nil
				lost := false
				if f.stored {
					lost = m.Stored(f.sent, now)
				} else {
					m.Failed(now)
				}
				if lost {
					terms++
				}
			}
			lost, renew := m.Tick(now)
			if lost {
				terms++
			}
			if terms != m.Term() {
				t.Fatalf("seed %d: term %d after %d losses", seed, m.Term(), terms-1)
			}
			if renew {
				if under != nil {
					t.Fatal("two renewals at once")
				}
				under = &flight{sent: now, back: now + time.Duration(r.IntN(6000))*time.Millisecond, stored: r.IntN(3) > 0}
				if under.stored || r.IntN(2) == 0 { // it may be stored and never answered
					arrives := now + time.Duration(r.Int64N(int64(under.back-now)+1))
					expires, storedTerm = max(expires, arrives+cfg.TTL), m.Term()
				}
			}
		}
	}
}
