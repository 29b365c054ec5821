package schedule

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// script drives a schedule; times are seconds. "span ID SEQ IN" and "at ID SEQ DUE" put,
// "gone ID SEQ" removes, "+N" lets N seconds pass, "step N" moves the wall clock by N,
// "due" takes what is due, "end ID" ends a run, "begin", "told" compare.
func script(t *testing.T, text string) string {
	t.Helper()
	s, now := New(), Clock{Wall: day}
	var out strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		num := func(i int) (n float64) { _, _ = fmt.Sscan(f[i], &n); return n }
		span := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
		switch f[0] {
		case "span":
			s.Put(now, Entry{ID: f[1], Seq: uint64(num(2)), Span: true, In: span(num(3))})
		case "at":
			s.Put(now, Entry{ID: f[1], Seq: uint64(num(2)), Due: day.Add(span(num(3)))})
		case "gone":
			s.Remove(f[1], uint64(num(2)))
		case "step":
			now.Wall = now.Wall.Add(span(num(1)))
		case "end":
			s.Finished(f[1])
		case "begin":
			s.Begin()
		case "told":
			s.End()
		case "due":
			var ids []string
			for e, ok := s.Due(now); ok; e, ok = s.Due(now) {
				ids = append(ids, fmt.Sprint(e.ID, "#", e.Seq))
			}
			wait, ok := s.Wait(now)
			fmt.Fprintf(&out, "%v; %v %v; %d\n", ids, wait, ok, s.Len())
		default:
			d := span(num(0))
			now.Mono, now.Wall = now.Mono+d, now.Wall.Add(d)
		}
	}
	return out.String()
}

func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"in the order in which they are due", "span b 1 2\nat a 2 1\nspan c 3 2\ndue\n+1\ndue\n+1\ndue",
			"[]; 1s true; 3\n[a#2]; 1s true; 3\n[b#1 c#3]; 0s false; 3\n"},
		{"a step forward does not shorten a span", "span a 1 10\n+1\nstep 3600\ndue\n+9\ndue", "[]; 9s true; 1\n[a#1]; 0s false; 1\n"},
		{"a step back does not lengthen a span", "span a 1 10\n+1\nstep -3600\ndue\n+9\ndue", "[]; 9s true; 1\n[a#1]; 0s false; 1\n"},
		{"a time of day follows the clock, and is looked at each second", "at a 1 10\ndue\nstep 8\n+1\ndue\n+1\ndue",
			"[]; 1s true; 1\n[]; 1s true; 1\n[a#1]; 0s false; 1\n"},
		{"a step back lets a time of day wait, and what ran stays gone", "at a 1 1\nat b 2 2\n+1\ndue\nend a\ngone a 3\nstep -100\n+1\ndue\n+101\ndue",
			"[a#1]; 1s true; 2\n[]; 1s true; 1\n[b#2]; 0s false; 1\n"},
		{"a later record replaces, an older one does not", "span a 5 9\nspan a 7 1\nspan a 6 0\n+1\ndue", "[a#7]; 0s false; 1\n"},
		{"what is put while it runs waits for the end of the run", "span a 1 0\ndue\nspan a 2 0\ndue\nend a\ndue\nend a\ndue",
			"[a#1]; 0s false; 1\n[]; 0s false; 1\n[a#2]; 0s false; 1\n[]; 0s false; 0\n"},
		{"what was removed does not run", "span a 1 1\ngone a 2\n+1\ndue", "[]; 0s false; 0\n"},
		{"a removal of before changes nothing", "span a 3 1\ngone a 2\n+1\ndue", "[a#3]; 0s false; 1\n"},
		{"told again, a span goes on", "span a 1 2\n+1\nbegin\nspan a 1 2\ntold\n+1\ndue", "[a#1]; 0s false; 1\n"},
		{"what is not told again is gone", "span a 1 1\nspan b 2 1\nbegin\nspan b 2 1\ntold\n+1\ndue", "[b#2]; 0s false; 1\n"},
		{"a run goes on although it is not told again", "span a 1 0\ndue\nbegin\ntold\nspan a 4 0\nend a\ndue", "[a#1]; 0s false; 1\n[a#4]; 0s false; 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := script(t, strings.ReplaceAll(c.lines, "+", "")); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestRandom compares with a list that is searched from the beginning.
func TestRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		s, now := New(), Clock{Wall: day}
		type plain struct {
			seq     uint64
			span    bool
			at      time.Duration
			due     time.Time
			running bool
		}
		model := map[string]plain{}
		for step, seq := 0, uint64(1); step < 400; step++ {
			id := fmt.Sprint(r.IntN(12))
			seq++
			have, known := model[id]
			switch r.IntN(6) {
			case 0, 1:
				e := Entry{ID: id, Seq: seq, Span: r.IntN(2) == 0, In: time.Duration(r.IntN(5000)) * time.Millisecond}
				e.Due = now.Wall.Add(e.In)
				if known && have.running {
					continue
				}
				s.Put(now, e)
				model[id] = plain{seq, e.Span, now.Mono + e.In, e.Due, false}
			case 2:
				if !have.running {
					s.Remove(id, seq)
					delete(model, id)
				}
			case 3:
				if r.IntN(4) == 0 {
					now.Wall = now.Wall.Add(time.Duration(r.IntN(7200)-3600) * time.Second)
				}
				d := time.Duration(r.IntN(1500)) * time.Millisecond
				now.Mono, now.Wall = now.Mono+d, now.Wall.Add(d)
			case 4:
				if have.running {
					s.Finished(id)
					delete(model, id)
				}
			case 5:
				for e, ok := s.Due(now); ok; e, ok = s.Due(now) {
					p := model[e.ID]
					if p.running || p.seq != e.Seq || p.span && p.at > now.Mono || !p.span && p.due.After(now.Wall) {
						t.Fatalf("seed %d: %+v runs, the model has %+v at %+v", seed, e, p, now)
					}
					p.running = true
					model[e.ID] = p
				}
				for id, p := range model {
					if !p.running && (p.span && p.at <= now.Mono || !p.span && !p.due.After(now.Wall)) {
						t.Fatalf("seed %d: %s is due and does not run", seed, id)
					}
				}
			}
			if s.Len() != len(model) {
				t.Fatalf("seed %d: %d entries, the model has %d", seed, s.Len(), len(model))
			}
		}
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct{ spec, zone, after, want string }{
		{"@every 90s", "", "2026-03-01T00:00:00Z", "2026-03-01T00:01:30Z"},
		{"30 8 * * 1-5", "", "2026-03-06T08:30:00Z", "2026-03-09T08:30:00Z"},
		{"*/10 * * * * *", "", "2026-03-01T00:00:05Z", "2026-03-01T00:00:10Z"},
		{"@daily", "Europe/Amsterdam", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00+01:00"},
		{"30 2 * * *", "Europe/Amsterdam", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"30 * * * *", "Europe/Amsterdam", "2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00"},
		{"0 0 29 2 *", "", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		r, err := ParseRule(c.spec, c.zone)
		if err != nil {
			t.Error(err)
			continue
		}
		after, _ := time.Parse(time.RFC3339, c.after)
		want, _ := time.Parse(time.RFC3339, c.want)
		if got, err := r.Next(after); err != nil || !got.Equal(want) {
			t.Errorf("%s %s after %s: %v, %v, want %s", c.spec, c.zone, c.after, got, err, c.want)
		}
	}
	for _, c := range []struct{ spec, zone, says string }{
		{"", "", "cron expression"}, {"* * *", "", "cron expression"}, {"61 * * * *", "", ""}, {"@every", "", "cron expression"}, {"@every x", "", "duration"},
		{"@every 1ms", "", "shortest"}, {"@every -1s", "", "shortest"}, {"@daily", "Mars/Base", "time zone"}, {"@every 1h", "Europe/Amsterdam", "time zone"},
		{"0 0 31 2 *", "", "next time"},
	} {
		if r, err := ParseRule(c.spec, c.zone); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q %q: %+v, %v", c.spec, c.zone, r, err)
		}
	}
}
