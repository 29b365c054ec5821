package roster

import (
	"slices"
	"strings"
	"testing"
)

// messages reads bytes as messages about few entries: five bytes each.
func messages(b []byte) (out []Message) {
	for ; len(b) >= 5; b = b[5:] {
		m := Message{Kind: Kind(b[0] % 6), Version: uint64(b[1] % 8), Number: int(b[2]%4) - 1, Last: b[2]&4 != 0}
		for i := range 8 {
			e := Entry{Group: strings.Repeat("g", i%3), Name: strings.Repeat("n", i/2*(1+i/7*100))}
			if b[3]&(1<<i) != 0 {
				m.Add = append(m.Add, e)
			}
			if b[4]&(1<<i) != 0 {
				m.Remove = append(m.Remove, e)
			}
		}
		out = append(out, m)
	}
	return out
}

// FuzzCopy: whatever an owner says, in whatever order, the groups of a copy are those of its
// entries, each entry has a number, no text is longer than it may be, and the whole set in
// pages makes the copy right again.
func FuzzCopy(f *testing.F) {
	f.Add([]byte{2, 1, 6, 0b1011, 0, 1, 2, 0, 0b100, 0b1000, 3, 2, 0, 0, 0})
	f.Add([]byte{2, 1, 2, 0xff, 0, 2, 1, 7, 0x0f, 0, 1, 2, 0, 0, 0xff})
	f.Add([]byte{2, 1, 6, 0, 0, 1, 2, 0, 0b110, 0b110})
	f.Add([]byte{3, 1, 0, 0, 0, 2, 1, 6, 1, 0, 3, 2, 0, 0, 0, 3, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, last := NewCopy(), uint64(0)
		stamp := func() uint64 { last++; return last }
		for i, m := range messages(b) {
			c.Take(m, stamp)
			for e, number := range c.Entries {
				if number == 0 || number > last || len(e.Group) > MaxText || len(e.Name) > MaxText {
					t.Fatalf("behind %d, %+v: an entry %+v %d", i, m, e, number)
				}
				if e.Group != "" && !slices.Contains(c.Group(e.Group), e.Name) {
					t.Fatalf("behind %d, %+v: %+v is in no group", i, m, e)
				}
			}
			for _, group := range []string{"g", "gg"} {
				for _, name := range c.Group(group) {
					if _, ok := c.Entries[Entry{Group: group, Name: name}]; !ok {
						t.Fatalf("behind %d, %+v: %q is in %q and no entry", i, m, name, group)
					}
				}
			}
		}
		o := NewOwn()
		o.version = 100
		o.Add(Entry{Group: "g", Name: "n"})
		o.Deltas()
		for _, m := range o.Pages() {
			c.Take(m, stamp)
		}
		if ask, _ := c.Take(o.Digest(), stamp); ask || len(c.Entries) != 1 || len(c.Group("g")) != 1 {
			t.Errorf("the whole set makes it %+v", c.Entries)
		}
	})
}
