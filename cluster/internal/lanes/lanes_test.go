package lanes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"one key is one after another", "add 1 a\nadd 2 a\nadd 3 b\nnext\nend 1\nnext\nend 2\nend 3\nnext", "[1 3] [2] []"},
		{"a failure keeps its lane waiting", "add 1 a\nadd 2 a\nadd 3 b\nnext\nretry 1 5\nnext\nat 4\nnext\nat 5\nnext\nend 1\nnext", "[1 3] [] [] [1] [2]"},
		{"held once", "add 1 a\nadd 1 a\nnext\nadd 1 a\nnext", "[1] []"},
		{"put where it belongs", "add 3 a\nadd 9 a\nadd 5 a\nnext\nend 3\nnext\nend 5\nnext", "[3] [5] [9]"},
		{"in the order of their attempts", "add 1 a\nadd 2 b\nadd 3 c\nnext\nretry 2 4\nretry 1 7\nretry 3 4\nat 9\nnext", "[1 2 3] [2 3 1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, now := New(), time.Duration(0)
			var out []string
			for line := range strings.Lines(c.lines) {
				f := strings.Fields(line)
				var seq uint64
				if len(f) > 1 {
					_, _ = fmt.Sscan(f[1], &seq)
				}
				switch f[0] {
				case "add":
					l.Add(seq, f[2])
				case "end":
					l.End(seq)
				case "at":
					now = time.Duration(seq)
				case "retry":
					var at int64
					_, _ = fmt.Sscan(f[2], &at)
					l.Retry(seq, time.Duration(at))
				case "next":
					ran := []uint64{}
					for seq, ok := l.Next(now); ok; seq, ok = l.Next(now) {
						ran = append(ran, seq)
					}
					out = append(out, fmt.Sprint(ran))
				}
			}
			if got := strings.Join(out, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestRandomOrder: whatever fails and whenever, each key's commands end in their order,
// and nothing is left.
func TestRandomOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		l, now := New(), time.Duration(0)
		key := func(seq uint64) string { return fmt.Sprint(seq % 5) }
		ended, running := map[string][]uint64{}, []uint64{}
		added := uint64(0)
		for count := 0; count < 100; {
			now += time.Duration(r.IntN(3))
			if added < 100 && r.IntN(2) == 0 {
				added++
				l.Add(added, key(added))
			}
			if r.IntN(2) == 0 {
				if seq, ok := l.Next(now); ok {
					if slices.ContainsFunc(running, func(o uint64) bool { return key(o) == key(seq) }) {
						t.Fatalf("seed %d: two of one key run", seed)
					}
					running = append(running, seq)
				}
			}
			if len(running) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(running))
				seq := running[i]
				running = slices.Delete(running, i, i+1)
				if r.IntN(3) == 0 {
					l.Retry(seq, now+time.Duration(r.IntN(5)))
				} else {
					l.End(seq)
					ended[key(seq)] = append(ended[key(seq)], seq)
					count++
				}
			}
			if l.Running() != len(running) {
				t.Fatalf("seed %d: %d run, it says %d", seed, len(running), l.Running())
			}
		}
		for k, list := range ended {
			if !slices.IsSorted(list) || len(list) != 20 {
				t.Errorf("seed %d key %s: %v", seed, k, list)
			}
		}
		if l.Len() != 0 {
			t.Errorf("seed %d: %d are left", seed, l.Len())
		}
	}
}
