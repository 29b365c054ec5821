// Package admit decides whether a write that makes a store grow may begin, so that what
// renews, ends or removes something finds room when nothing else does. It is pure: what
// is known of the store and of the node's own writes goes in, an answer comes out.
//
// A store has several limits (Level): of its stream in bytes and messages, of its account,
// of the disks of its servers. The last eighth of each is the reserve:
//
//	0                                            More            New     Limit
//	|---------------------------------------------|---------------|--------|
//	  everything                                    New and what    what renews,
//	                                                renews, ends,   ends, removes
//	                                                removes
//
// What renews, ends or removes something asks nobody: only the server can refuse it.
//
// Many nodes write at once, and none sees what the others have under way. So a node may
// have only its share under way since it last looked: the room that is left, at most half
// of the reserve, divided by the number of nodes; or one write that every other node could
// make at the same time, too. Invariant: however late writes and readings are, the writes
// of all nodes pass the mark by less than half of the reserve, or by one write of each of
// the other nodes if that is more. The last part of a store so fills slowly, one write of
// each node after the other.
package admit

import "time"

// Kind says what a write does.
type Kind uint8

// The kinds of writes that have to ask. They end at different marks.
const (
	More Kind = iota // work or data more than there was
	New              // what has to be possible while work waits: an owner for it, a dead letter
)

// Level is how full one thing is that has a limit.
type Level struct {
	Name   string // for people
	Used   uint64
	Limit  uint64 // 0: none
	Stamp  uint64 // another one for each reading of this level
	Copies uint64 // how often the level counts a byte; 0: it counts messages
	Pushed bool   // it was told and not asked for: what it counts may be older than the last look
}

// Verdict is the answer to Ask.
type Verdict uint8

// The answers.
const (
	Go   Verdict = iota
	Look         // read the levels, and ask again
	Wait         // the levels were just read: ask again when writes have ended, or a moment later
	Full
)

// fresh is how long a reading counts: a limit may be set, and others write.
const fresh = time.Second

const (
	reserveShare = 8 // of a limit: an eighth
	fewNodes     = 4 // at least so many are reckoned with: some may not be known yet
)

// reserve is what is kept of a limit.
func (l Level) reserve() uint64 { return max(l.Limit/reserveShare, 1) }

// room is what may still be written; 0 when nothing may.
func (l Level) room(kind Kind) uint64 {
	mark := l.Limit - min(l.reserve(), l.Limit)
	if kind == New {
		mark = l.Limit - min(max(l.reserve()/2, 1), l.Limit)
	}
	return mark - min(l.Used, mark)
}

// Write is what a write adds.
type Write struct{ Bytes, Messages int }

// cost is what a write counts.
func (l Level) cost(w Write) uint64 {
	if l.Copies == 0 {
		return uint64(w.Messages)
	}
	return uint64(w.Bytes) * l.Copies
}

// own is what a level may not show of the node's own writes. Those that had ended before a
// reading began are in it; all others count twice rather than never.
type own struct {
	Level
	since uint64 // under way when the reading was begun, and begun since then
	next  uint64 // the same for the reading that is to come
}

// Gate is what one node knows. Not for several goroutines at once.
type Gate struct {
	levels map[string]*own
	read   time.Duration
	known  bool
	nodes  uint64
	flight map[Write]int // writes that have not ended
}

// NewGate makes one that knows nothing.
func NewGate() *Gate { return &Gate{levels: map[string]*own{}, flight: map[Write]int{}} }

// Reading says that the levels are about to be read.
func (g *Gate) Reading() {
	for _, l := range g.levels {
		if !l.Pushed {
			l.next = g.under(l.Level)
		}
	}
}

// under is what the writes that are under way cost.
func (g *Gate) under(l Level) (sum uint64) {
	for w, count := range g.flight {
		sum += l.cost(w) * uint64(count)
	}
	return sum
}

// Read takes what was read. nodes is how many nodes write to the store.
func (g *Gate) Read(now time.Duration, nodes int, levels []Level) {
	old := g.levels
	g.levels, g.read, g.known, g.nodes = map[string]*own{}, now, true, uint64(max(nodes, fewNodes))
	for _, l := range levels {
		if l.Limit == 0 {
			continue
		}
		was := old[l.Name]
		switch {
		case was == nil:
			under := g.under(l)
			g.levels[l.Name] = &own{Level: l, since: under, next: under}
		case was.Stamp == l.Stamp:
			g.levels[l.Name] = was
		default:
			is := &own{Level: l, since: was.next, next: was.next}
			if l.Pushed {
				is.next = g.under(l)
			}
			g.levels[l.Name] = is
		}
	}
}

// Ask is whether a write may begin. looked: the levels were read for it, and count however
// long that took: a slow store would let in nothing otherwise. full is the level that has no
// room.
func (g *Gate) Ask(now time.Duration, kind Kind, w Write, looked bool) (v Verdict, full Level) {
	if !g.known || !looked && now-g.read > fresh {
		return Look, Level{}
	}
	v = Go
	for _, l := range g.levels {
		cost, room := l.cost(w), l.room(kind)
		switch {
		case cost*g.nodes > room:
			if looked {
				return Full, l.Level
			}
			v = Look
		case l.since+cost <= min(room, l.reserve()/2)/g.nodes, l.since == 0:
		case looked:
			v = max(v, Wait)
		default:
			v = Look
		}
	}
	return v, Level{}
}

// Tight reports whether not even what may use half of the reserve is let in.
func (g *Gate) Tight() bool {
	for _, l := range g.levels {
		if l.room(New) == 0 {
			return true
		}
	}
	return false
}

// Stale reports whether the levels have to be read before Tight says anything.
func (g *Gate) Stale(now time.Duration) bool { return !g.known || now-g.read > fresh }

// Begin notes a write that may begin, and End that it has ended, however it did.
func (g *Gate) Begin(w Write) {
	g.flight[w]++
	for _, l := range g.levels {
		c := l.cost(w)
		l.since += c
		l.next += c
	}
}

// End: see Begin. What has ended is in the next reading.
func (g *Gate) End(w Write) {
	if g.flight[w]--; g.flight[w] <= 0 {
		delete(g.flight, w)
	}
}
