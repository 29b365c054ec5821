package records

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// waits is a member of these writes.
func waits(writes ...Write) *member {
	return &member{ctx: context.Background(), writes: writes, bytes: 100 * len(writes), woken: make(chan struct{}, 1)}
}

// effect compares the fence with a sequence, and writes a record of its own and these.
func effect(id string, fence uint64, more ...Write) *member {
	return waits(append([]Write{{Subject: "id." + id, Body: []byte(id)}, {Subject: "same", Guard: "fence", Expect: fence}}, more...)...)
}

func key(name string, expect uint64) Write {
	return Write{Subject: "key." + name, Expect: expect, Body: []byte{1}}
}

func reads(name string, expect uint64) Write {
	return Write{Subject: "read." + name, Guard: "key." + name, Expect: expect}
}

func TestWhatGoesTogether(t *testing.T) {
	large := func(m *member) *member { m.bytes = maxTogether; return m }
	alone := func(m *member) *member { m.alone = true; return m }
	many := func(name string) *member {
		var keys []Write
		for i := range maxBatch/2 - 1 {
			keys = append(keys, key(fmt.Sprint(name, i), 0))
		}
		return effect(name, 5, keys...)
	}
	raises := waits(Write{Subject: "id.r"}, Write{Subject: "fence", Expect: 5, Body: []byte("6")})
	other := effect("o", 5)
	other.writes[1].Body = []byte("of another one")
	lasting := effect("l", 5)
	lasting.writes[1].TTL = 1
	for _, c := range []struct {
		name   string
		queue  []*member
		want   []int
		writes int
	}{
		{"one", []*member{effect("a", 5)}, []int{0}, 2},
		{"several, and one mark for them", []*member{effect("a", 5, key("a", 0)), effect("b", 5, key("b", 3)), effect("c", 5)}, []int{0, 1, 2}, 6},
		{"another sequence of the guard", []*member{effect("a", 5), effect("b", 6), effect("c", 5)}, []int{0}, 2},
		{"another sequence of the guard, in another mark", []*member{effect("a", 5), waits(Write{Subject: "mark", Guard: "fence", Expect: 6})}, []int{0}, 2},
		{"one key", []*member{effect("a", 5, key("k", 3)), effect("b", 5, key("k", 3)), effect("c", 5)}, []int{0, 2}, 4},
		{"one id", []*member{effect("a", 5), effect("a", 5)}, []int{0}, 2},
		{"one writes the guard", []*member{effect("a", 5), raises, effect("b", 5)}, []int{0}, 2},
		{"one writes the guard, first", []*member{raises, effect("a", 5)}, []int{0}, 2},
		{"two read a key", []*member{effect("a", 5, reads("k", 3)), effect("b", 5, reads("k", 3))}, []int{0, 1}, 4},
		{"two read a key, one of them earlier", []*member{effect("a", 5, reads("k", 3)), effect("b", 5, reads("k", 4))}, []int{0}, 3},
		{"one reads what the next one writes", []*member{effect("a", 5, reads("k", 3)), effect("b", 5, key("k", 3))}, []int{0}, 3},
		{"one reads what the one before it writes", []*member{effect("a", 5, key("k", 3)), effect("b", 5, reads("k", 3))}, []int{0}, 3},
		{"nobody is passed by who touches the same", []*member{effect("a", 5, key("k", 3)), effect("b", 5, key("k", 3), key("l", 1)), effect("c", 5, key("l", 1)), effect("d", 5)}, []int{0, 3}, 4},
		{"nor by who differs from one of several", []*member{
			effect("a", 5, key("x", 1)), effect("b", 5, key("x", 1), reads("k", 3)), effect("c", 5, key("x", 1), Write{Subject: "mark.c", Guard: "key.k", Expect: 4}),
			effect("d", 5, Write{Subject: "mark.d", Guard: "key.k", Expect: 4}),
		}, []int{0}, 3},
		{"a mark that says something else", []*member{effect("a", 5), other}, []int{0}, 2},
		{"a mark that lasts for another time", []*member{effect("a", 5), lasting}, []int{0}, 2},
		{"as many messages as one batch takes", []*member{many("a"), effect("b", 5), many("c"), effect("d", 5)}, []int{0, 1}, maxBatch/2 + 2},
		{"as many bytes as are merged", []*member{effect("a", 5), large(effect("b", 5)), effect("c", 5)}, []int{0}, 2},
		{"the first one is too large for others", []*member{large(effect("a", 5)), effect("b", 5)}, []int{0}, 2},
		{"one that was refused with others goes alone", []*member{alone(effect("a", 5)), effect("b", 5)}, []int{0}, 2},
		{"and waits for its turn", []*member{effect("a", 5), alone(effect("b", 5)), effect("c", 5)}, []int{0, 2}, 3},
	} {
		group, writes := together(c.queue)
		var got []int
		for _, m := range group {
			got = append(got, slices.Index(c.queue, m))
		}
		if !slices.Equal(got, c.want) || len(writes) != c.writes {
			t.Errorf("%s: %v in %d messages, want %v in %d", c.name, got, len(writes), c.want, c.writes)
		}
	}
}

// A caller's own batch is sent as it is, whatever it says twice.
func TestABatchAloneIsSentAsItIs(t *testing.T) {
	m := effect("a", 5, Write{Subject: "same", Guard: "fence", Expect: 5}, key("k", 1), key("k", 1))
	if _, writes := together([]*member{m}); len(writes) != len(m.writes) {
		t.Errorf("%d of %d messages", len(writes), len(m.writes))
	}
}

// store is what a server knows: which sequence each subject has, and who wrote it.
type store struct {
	seq  uint64
	last map[string]uint64
	by   map[string]string
}

func newStore() *store { return &store{seq: 9, last: map[string]uint64{}, by: map[string]string{}} }

func (s *store) copy() *store { return &store{s.seq, maps.Clone(s.last), maps.Clone(s.by)} }

// batch stores all or nothing, by the rules of the server: each comparison is one with what was
// there before, of a subject that the batch has not written.
func (s *store) batch(writes []Write) bool {
	written := map[string]bool{}
	for _, w := range writes {
		if written[w.compares()] || s.last[w.compares()] != w.Expect {
			return false
		}
		written[w.Subject] = true
	}
	for _, w := range writes {
		s.seq++
		s.last[w.Subject], s.by[w.Subject] = s.seq, string(w.Body)
	}
	return true
}

// random is an effect that is as the store is, or mostly.
func (s *store) random(r *rand.Rand, id string) *member {
	late := func(seq uint64) uint64 {
		if r.IntN(12) == 0 {
			return seq + uint64(r.IntN(2))*3 + 1
		}
		return seq
	}
	fence := late(s.last["fence"])
	m := effect(id, fence)
	if r.IntN(10) == 0 {
		m.writes[1] = Write{Subject: "fence", Expect: fence, Body: []byte(id)}
	}
	for _, k := range r.Perm(6)[:r.IntN(3)] {
		w := Write{Subject: fmt.Sprint("key.", k), Expect: late(s.last[fmt.Sprint("key.", k)]), Body: []byte(id)}
		if r.IntN(3) == 0 {
			w = Write{Subject: fmt.Sprint("read.", k), Guard: w.Subject, Expect: w.Expect}
		}
		m.writes = append(m.writes, w)
	}
	return m
}

// clash is the rule, said once more and slowly.
func clash(a, b *member) bool {
	for _, x := range a.writes {
		for _, y := range b.writes {
			switch {
			case x.Subject == y.Subject && !(x.isMark() && y.isMark() && x.Guard == y.Guard && x.Expect == y.Expect),
				x.Subject == y.compares(), y.Subject == x.compares(),
				x.compares() == y.compares() && x.Expect != y.Expect:
				return true
			}
		}
	}
	return false
}

// TestTogetherIsAsOneAfterAnother: what is merged is stored exactly when each of its members
// would be, alone and in order, and leaves the same.
func TestTogetherIsAsOneAfterAnother(t *testing.T) {
	merged, stored := 0, 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStore()
		s.batch([]Write{{Subject: "fence"}, {Subject: "key.1"}, {Subject: "key.2"}})
		var queue []*member
		for i := range 1 + r.IntN(8) {
			queue = append(queue, s.random(r, fmt.Sprint(i)))
		}
		group, writes := together(queue)
		if group[0] != queue[0] {
			t.Fatalf("%d: the first one waits", seed)
		}
		for i, m := range queue {
			in := slices.Contains(group, m)
			touches := slices.ContainsFunc(queue[:i], func(o *member) bool { return clash(o, m) })
			if in == touches {
				t.Fatalf("%d: %d is in: %v; it touches what one before it does: %v", seed, i, in, touches)
			}
		}
		one, each, all := s.copy(), 0, s.copy()
		for _, m := range group {
			if one.batch(m.writes) {
				each++
			}
		}
		if ok := all.batch(writes); ok != (each == len(group)) {
			t.Fatalf("%d: together %v, alone %d of %d", seed, ok, each, len(group))
		} else if ok && !maps.Equal(one.by, all.by) {
			t.Fatalf("%d: together %v, alone %v", seed, all.by, one.by)
		} else if ok {
			stored++
			for _, m := range outdated(queue, writes) {
				if !slices.Contains(group, m) && all.copy().batch(m.writes) {
					t.Fatalf("%d: it is called outdated, and could be stored", seed)
				}
			}
		}
		merged += len(group)
	}
	if merged < 40000 || stored < 8000 {
		t.Errorf("the model is weak: %d merged, %d stored", merged, stored)
	}
}
