package roster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func stamps() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

func names(c *Copy) []string {
	var out []string
	for e := range c.Entries {
		out = append(out, e.Group+"/"+e.Name)
	}
	slices.Sort(out)
	return out
}

func TestADeltaIsTaken(t *testing.T) {
	o, c, stamp := NewOwn(), NewCopy(), stamps()
	if ask, _ := c.Take(o.Digest(), stamp); !ask {
		t.Error("a copy that knows nothing does not ask")
	}
	for _, m := range o.Pages() {
		c.Take(m, stamp)
	}
	o.Add(Entry{Group: "g", Name: "io"})
	o.Add(Entry{Name: "key"})
	o.Add(Entry{Name: "key"})
	o.Add(Entry{Name: "gone"})
	o.Remove(Entry{Name: "gone"})
	o.Remove(Entry{Name: "never"})
	all := o.Deltas()
	if len(all) != 1 || len(all[0].Add) != 2 || o.Len() != 2 {
		t.Fatalf("%+v", all)
	}
	if ask, changed := c.Take(all[0], stamp); ask || !changed || fmt.Sprint(names(c)) != "[/key g/io]" {
		t.Error(ask, changed, names(c))
	}
	if ask, changed := c.Take(all[0], stamp); ask || changed {
		t.Error("a repetition asks or changes")
	}
	o.Remove(Entry{Name: "key"})
	if got := o.Deltas(); len(got) != 0 {
		t.Errorf("one of two holders has gone: %+v", got)
	}
	o.Remove(Entry{Name: "key"})
	c.Take(o.Deltas()[0], stamp)
	if fmt.Sprint(names(c)) != "[g/io]" {
		t.Error(names(c))
	}
	if ask, _ := c.Take(o.Digest(), stamp); ask {
		t.Error("it is up to date and asks")
	}
}

// TestACopyIsRightWhateverGetsLost: messages are lost and repeated at random; a copy that
// says that it is whole is the set that its owner has told, and it becomes whole when
// nothing is lost any more.
func TestACopyIsRightWhateverGetsLost(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		o, c, stamp := NewOwn(), NewCopy(), stamps()
		told := map[uint64]map[Entry]bool{0: {}}
		now := map[Entry]bool{}
		deliver := func(m Message, loss float64) (ask bool) {
			if rnd.Float64() < loss {
				return false
			}
			ask, _ = c.Take(m, stamp)
			if rnd.Float64() < 0.1 {
				c.Take(m, stamp)
			}
			return ask
		}
		for step := range 200 {
			loss := 0.3
			if step > 190 {
				loss = 0
			}
			e := Entry{Name: strings.Repeat("x", 200) + fmt.Sprint(rnd.IntN(600))}
			for range rnd.IntN(40) {
				e.Name = e.Name[:200] + fmt.Sprint(rnd.IntN(600))
				if rnd.IntN(3) > 0 {
					o.Add(e)
				} else {
					o.Remove(e)
				}
			}
			for _, m := range o.Deltas() {
				for _, e := range m.Add {
					now[e] = true
				}
				for _, e := range m.Remove {
					delete(now, e)
				}
				told[m.Version] = maps.Clone(now)
				deliver(m, loss)
			}
			if deliver(o.Digest(), loss) {
				for _, m := range o.Pages() {
					deliver(m, loss)
				}
			}
			if c.whole {
				want := told[c.version]
				if len(want) != len(c.Entries) {
					t.Fatalf("seed %d: version %d has %d entries, the copy %d", seed, c.version, len(want), len(c.Entries))
				}
				for e := range c.Entries {
					if !want[e] {
						t.Fatalf("seed %d: the copy has %v", seed, e)
					}
				}
			}
		}
		if !c.whole || c.version != o.version {
			t.Fatalf("seed %d: the copy has version %d, the set %d", seed, c.version, o.version)
		}
	}
}

// TestAPeerCannotMakeACopyGrow: what is above a limit is not taken.
func TestAPeerCannotMakeACopyGrow(t *testing.T) {
	c := NewCopy()
	for _, bad := range []Message{
		{Kind: Page, Version: 1, Number: 1, Last: true, Add: []Entry{{Name: strings.Repeat("x", MaxText+1)}}},
		{Kind: Page, Version: 1, Number: 1, Last: true, Add: make([]Entry, MaxEntries+1)},
		{Kind: Page, Version: 1, Number: 2, Last: true, Add: []Entry{{Name: "a"}}},
		{Kind: Delta, Version: 1, Add: []Entry{{Name: "a"}}},
		{Kind: 9},
	} {
		if _, changed := c.Take(bad, stamps()); changed || len(c.Entries) != 0 {
			t.Errorf("%v of %d entries is taken", bad.Kind, len(bad.Add))
		}
	}
}

func TestAnEntryKeepsItsNumber(t *testing.T) {
	c, stamp := NewCopy(), stamps()
	page := Message{Kind: Page, Version: 1, Number: 1, Last: true, Add: []Entry{{Name: "a"}, {Name: "b"}}}
	c.Take(page, stamp)
	was := maps.Clone(c.Entries)
	c.Take(Message{Kind: Digest, Version: 7}, stamp)
	page.Version = 7
	page.Add = append(page.Add, Entry{Name: "c"})
	c.Take(page, stamp)
	if c.Entries[Entry{Name: "a"}] != was[Entry{Name: "a"}] || c.Entries[Entry{Name: "c"}] != 3 {
		t.Error(was, c.Entries)
	}
}
