// Package roster is what nodes tell each other of themselves: sets of short texts, such as
// the groups that their loops are in and the keys that they hold. Each node owns its own set
// and tells every change; every node has a copy of every other node's set. The package is
// pure: messages in, messages out.
//
// A change makes a new version of the set and travels as a Delta, which a copy of the
// version before takes. Once a second a node tells its version (Digest). A copy that is
// behind, because a message was lost or because it has just begun, asks, and the owner sends
// the whole set in Pages. So a copy is right as soon as a delta arrives, and at the latest
// one digest and one question later.
//
// Invariant: a copy with version v holds exactly the set that its owner had at version v.
package roster

// Entry is one text of a set: a loop (Name) in a group (Group), or a key (Name) when Group
// is "".
type Entry struct {
	_     struct{} `cbor:",toarray"`
	Group string
	Name  string
}

// Kind says what a Message is for.
type Kind uint8

// The kinds. Numbers travel.
const (
	Delta  Kind = 1 // Add and Remove make Version out of the one before
	Page   Kind = 2 // part Number, from 1, of the set of Version; the last one has Last
	Digest Kind = 3 // the set has Version
	Ask    Kind = 4 // Of is to send its set; "": every node
)

// Message is what nodes tell each other.
type Message struct {
	Kind    Kind    `cbor:"k"`
	Version uint64  `cbor:"v,omitempty"`
	Add     []Entry `cbor:"a,omitempty"` // of a Page: the entries
	Remove  []Entry `cbor:"r,omitempty"`
	Number  int     `cbor:"n,omitempty"`
	Last    bool    `cbor:"l,omitempty"`
	Of      string  `cbor:"o,omitempty"`
}

// Limits.
const (
	MaxEntries = 1_000_000 // of one node
	MaxText    = 255       // bytes of a group or a name
	pageBytes  = 48 << 10  // what the entries of a message may take, about
)

// Own is the set of this node. An entry is in it as often as it was added. Not safe for
// several goroutines.
type Own struct {
	version uint64
	entries map[Entry]*count
	changed []Entry
}

type count struct {
	holders int
	told    bool // the others have it
	queued  bool // in changed
}

// NewOwn makes an empty set.
func NewOwn() *Own { return &Own{entries: map[Entry]*count{}} }

// Len is how many different entries there are.
func (o *Own) Len() int { return len(o.entries) }

// Has reports whether somebody holds the entry.
func (o *Own) Has(e Entry) bool { c := o.entries[e]; return c != nil && c.holders > 0 }

// Add adds an entry once more.
func (o *Own) Add(e Entry) {
	c := o.entries[e]
	if c == nil {
		c = &count{}
		o.entries[e] = c
	}
	c.holders++
	o.queue(e, c)
}

// Remove takes it away once.
func (o *Own) Remove(e Entry) {
	if c := o.entries[e]; c != nil && c.holders > 0 {
		c.holders--
		o.queue(e, c)
	}
}

// queue notes an entry that the others may have to hear of.
func (o *Own) queue(e Entry, c *count) {
	if !c.queued && (c.holders > 0) != c.told {
		c.queued = true
		o.changed = append(o.changed, e)
	}
}

// Deltas are the changes since the last call; what came and went in between is none.
func (o *Own) Deltas() (out []Message) {
	m, size := Message{Kind: Delta}, 0
	for i, e := range o.changed {
		c := o.entries[e]
		c.queued = false
		switch here := c.holders > 0; {
		case here && !c.told:
			m.Add = append(m.Add, e)
			size += len(e.Group) + len(e.Name) + 8
		case !here && c.told:
			m.Remove = append(m.Remove, e)
			size += len(e.Group) + len(e.Name) + 8
		}
		if c.told = c.holders > 0; !c.told {
			delete(o.entries, e)
		}
		if size > pageBytes || i == len(o.changed)-1 && size > 0 {
			o.version++
			m.Version = o.version
			out, m, size = append(out, m), Message{Kind: Delta}, 0
		}
	}
	o.changed = o.changed[:0]
	return out
}

// Pages are the whole set as the others were told it.
func (o *Own) Pages() []Message {
	out, size := []Message{{Kind: Page, Version: o.version, Number: 1}}, 0
	for e, c := range o.entries {
		if !c.told {
			continue
		}
		if size > pageBytes {
			out, size = append(out, Message{Kind: Page, Version: o.version, Number: len(out) + 1}), 0
		}
		m := &out[len(out)-1]
		m.Add = append(m.Add, e)
		size += len(e.Group) + len(e.Name) + 8
	}
	out[len(out)-1].Last = true
	return out
}

// Digest is the version of the set.
func (o *Own) Digest() Message { return Message{Kind: Digest, Version: o.version} }

// Copy is this node's copy of the set of another one. The number of an entry says when
// it was heard of, among all copies. Not safe for several goroutines.
type Copy struct {
	Entries map[Entry]uint64
	groups  map[string]map[string]bool // of Entries: the loops of each group

	version uint64
	whole   bool // Entries are those of version
	next    map[Entry]uint64
	pages   int // that are in next
	at      uint64
	late    bool // a digest came while pages are gathered
}

// NewCopy makes a copy of which nothing is known.
func NewCopy() *Copy { return &Copy{Entries: map[Entry]uint64{}, groups: map[string]map[string]bool{}} }

// Take applies a message of the owner; stamp draws the numbers of new entries. ask: the
// copy is behind, and its owner is to be asked. changed: entries came or went.
func (c *Copy) Take(m Message, stamp func() uint64) (ask, changed bool) {
	switch m.Kind {
	case Delta:
		c.next = nil // what is sent in pages is not the newest any more
		if c.whole && m.Version <= c.version {
			return false, false
		}
		if !c.whole || m.Version != c.version+1 || !c.fits(m.Add, c.Entries) {
			c.whole = false
			return true, false
		}
		c.add(c.Entries, m.Add, stamp)
		for _, e := range m.Add {
			c.index(e, true)
		}
		for _, e := range m.Remove { // behind what was added: an entry in both is gone from both
			delete(c.Entries, e)
			c.index(e, false)
		}
		c.version = m.Version
		return false, true
	case Page:
		return c.page(m, stamp)
	case Digest:
		switch {
		case c.whole && c.version == m.Version:
			return false, false
		case c.next != nil && c.at == m.Version && !c.late:
			c.late = true // the pages are on their way; when they are not here by the next one, some are lost
			return false, false
		}
		c.whole, c.next = false, nil
		return true, false
	}
	return false, false
}

// page gathers the pages of a set. One that does not follow the last one is not used.
func (c *Copy) page(m Message, stamp func() uint64) (ask, changed bool) {
	switch {
	case c.whole && c.version >= m.Version:
		return false, false // somebody else has asked
	case m.Number == 1:
		c.next, c.at, c.pages, c.late = map[Entry]uint64{}, m.Version, 0, false
	case c.next == nil:
		return false, false // the digest will tell
	}
	if c.at != m.Version || c.pages != m.Number-1 || !c.fits(m.Add, c.next) {
		c.next = nil
		return true, false
	}
	c.add(c.next, m.Add, stamp)
	if c.pages++; !m.Last {
		return false, false
	}
	c.Entries, c.version, c.whole, c.next = c.next, m.Version, true, nil
	clear(c.groups)
	for e := range c.Entries {
		c.index(e, true)
	}
	return false, true
}

// index keeps the loops of a group together.
func (c *Copy) index(e Entry, in bool) {
	switch loops := c.groups[e.Group]; {
	case e.Group == "":
	case !in:
		if delete(loops, e.Name); len(loops) == 0 {
			delete(c.groups, e.Group)
		}
	case loops == nil:
		c.groups[e.Group] = map[string]bool{e.Name: true}
	default:
		loops[e.Name] = true
	}
}

// Group are the loops in a group, in any order.
func (c *Copy) Group(group string) (out []string) {
	for name := range c.groups[group] {
		out = append(out, name)
	}
	return out
}

// fits reports whether the entries may be added.
func (c *Copy) fits(add []Entry, to map[Entry]uint64) bool {
	if len(to)+len(add) > MaxEntries {
		return false
	}
	for _, e := range add {
		if len(e.Group) > MaxText || len(e.Name) > MaxText {
			return false
		}
	}
	return true
}

// add keeps the number of an entry that was known before.
func (c *Copy) add(to map[Entry]uint64, add []Entry, stamp func() uint64) {
	for _, e := range add {
		number, known := c.Entries[e]
		if !known {
			number = stamp()
		}
		to[e] = number
	}
}
