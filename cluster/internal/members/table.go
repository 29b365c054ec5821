package members

import (
	"sync"
	"time"
)

// member is what is kept of another node. Guarded by table.mu.
type member struct {
	number   uint64
	joined   time.Time
	seen     time.Time
	absences int  // answers "nobody is there" since it last said something
	watched  bool // actors here have watched actors there
}

type table struct {
	mu      sync.Mutex
	byName  map[string]*member
	left    map[string]uint64 // incarnations that said goodbye
	grace   time.Time         // until then "nobody is there" is no evidence
	changed chan struct{}     // closed and renewed when somebody comes or goes
}

func (t *table) init() {
	t.byName, t.left, t.changed = map[string]*member{}, map[string]uint64{}, make(chan struct{})
}

// maxMembers bounds the members a node knows: a peer can invent names.
const maxMembers = 10_000

// maxLeft bounds what is remembered of nodes that left.
const maxLeft = 1024

// leave notes that an incarnation has ended for good. Why: its last heartbeat may
// be read after its goodbye, which came by another subscription.
func (t *table) leave(name string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.left) >= maxLeft {
		clear(t.left)
	}
	t.left[name] = number
}

func (t *table) signal() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// saw notes a sign of life. fresh: it was not known; replaced: the incarnation
// that has ended because a new one speaks, 0 when none has.
func (t *table) saw(name string, number uint64, now time.Time) (fresh bool, replaced uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left[name] == number {
		return false, 0
	}
	m := t.byName[name]
	if m == nil && len(t.byName) >= maxMembers {
		return false, 0
	}
	if m == nil || m.number != number {
		if m != nil {
			replaced = m.number
		}
		t.byName[name] = &member{number: number, joined: now, seen: now}
		t.signal()
		return true, replaced
	}
	m.seen, m.absences = now, 0
	return false, 0
}

// drop forgets a member; false when that incarnation was not known.
func (t *table) drop(name string, number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[name]
	if m == nil || m.number != number {
		return false
	}
	delete(t.byName, name)
	t.signal()
	return true
}

// absent notes that nobody listens under a name. It returns the incarnation that
// was known, 0 when none was, and whether it is dead: the second time in a row.
func (t *table) absent(name string) (number uint64, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.byName[name]
	if m == nil {
		return 0, false
	}
	if time.Now().After(t.grace) {
		m.absences++
	}
	return m.number, m.absences >= 2
}

// depend notes that an actor here watches one there.
func (t *table) depend(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.byName[name]; m != nil {
		m.watched = true
	}
}

// watched are the members with actors that are watched here.
func (t *table) watched() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.byName {
		if m.watched {
			out = append(out, name)
		}
	}
	return out
}

// forgive starts the clocks anew: while this node was cut off it heard nobody,
// which says nothing about them. After an outage of NATS itself others may need
// longer to come back, so for a while their absence says nothing either.
func (t *table) forgive(now time.Time, grace time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grace = now.Add(grace)
	for _, m := range t.byName {
		m.seen, m.absences = now, 0
	}
}

func (t *table) find(name string) (m member, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byName[name]; p != nil {
		return *p, true
	}
	return member{}, false
}

// judge divides members by how long they are silent.
func (t *table) judge(now time.Time, quietAfter, deadAfter time.Duration) (quiet []string, dead map[string]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, m := range t.byName {
		switch silent := now.Sub(m.seen); {
		case silent > deadAfter:
			if dead == nil {
				dead = map[string]uint64{}
			}
			dead[name] = m.number
		case silent > quietAfter || m.absences > 0:
			quiet = append(quiet, name)
		}
	}
	return quiet, dead
}
