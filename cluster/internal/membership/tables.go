package membership

import "time"

// Two bounded tables. A peer that invents names could fill both, so both have a limit,
// and a new entry replaces the oldest one. A forgotten entry costs a repetition, never
// a wrong decision about a member.

// candidate is a node that was heard of and has not answered yet.
type candidate struct {
	id       ID
	question uint64
	asked    time.Duration
	seen     time.Duration
	beat     uint64 // the last that was heard
}

// candidates is a table of a limited size, because anybody can invent a name: a new
// candidate replaces the oldest one. Owned by Machine.
type candidates struct {
	byName map[string]*candidate
	order  []*candidate // oldest first; those that were replaced or removed are skipped
}

// add enters a candidate, in place of one with its name. order keeps entries that
// were replaced until they are many: removing each at once would cost a search.
func (t *candidates) add(c *candidate, limit int) {
	delete(t.byName, c.id.Name)
	for len(t.byName) >= limit {
		oldest := t.order[0]
		t.order = t.order[1:]
		if t.byName[oldest.id.Name] == oldest {
			delete(t.byName, oldest.id.Name)
		}
	}
	t.byName[c.id.Name] = c
	t.order = append(t.order, c)
	if len(t.order) > 2*limit+16 {
		t.compact()
	}
}

func (t *candidates) remove(name string) { delete(t.byName, name) }

// forget drops those that were last seen before that time: they were named by
// somebody and never answered.
func (t *candidates) forget(before time.Duration) {
	if len(t.byName) == 0 {
		t.order = nil
		return
	}
	for name, c := range t.byName {
		if c.seen < before {
			delete(t.byName, name)
		}
	}
	t.compact()
}

// compact drops entries of order that are not in byName any more.
func (t *candidates) compact() {
	kept := make([]*candidate, 0, len(t.byName))
	for _, c := range t.order {
		if t.byName[c.id.Name] == c {
			kept = append(kept, c)
		}
	}
	t.order = kept
}

// former is the newest incarnation of a name that is no member any more.
type former struct {
	incarnation uint64
	at          time.Duration
	goodbye     bool   // it left; otherwise it was given up and may come back
	certain     bool   // its process has ended: by its own word, its server's or the voters'
	beat        uint64 // the last of its heartbeats that was heard
	void        bool   // this node was cut off when it judged
}

// formers remembers, for a bounded number of names, who was a member. It keeps an
// older incarnation from taking the place of a newer one that has ended, and a
// heartbeat that was on its way from bringing back a node that left. Owned by Machine.
type formers struct {
	byName map[string]former
	order  []string // oldest first
}

func (t *formers) add(id ID, f former, limit int) {
	_, known := t.byName[id.Name]
	if !known {
		if len(t.byName) >= limit {
			delete(t.byName, t.order[0])
			t.order = t.order[1:]
		}
		t.order = append(t.order, id.Name)
	}
	t.byName[id.Name] = f
}

// void takes back what was said of those that were silent since that time: not that they are
// no members, but that what they do afterwards counts for nothing.
func (t *formers) void(since time.Duration) {
	for name, f := range t.byName {
		if !f.certain && f.at >= since {
			f.void = true
			t.byName[name] = f
		}
	}
}

// newest is the newest incarnation of a name that was a member after that time, 0 when
// none was.
func (t *formers) newest(name string, after time.Duration) uint64 {
	if f := t.byName[name]; f.at >= after {
		return f.incarnation
	}
	return 0
}

// left reports that an incarnation has said goodbye after that time. One that still
// speaks long after its goodbye lives: somebody else said goodbye in its name.
func (t *formers) left(id ID, after time.Duration) bool {
	f, known := t.byName[id.Name]
	return known && f.incarnation == id.Incarnation && f.goodbye && f.at >= after
}
