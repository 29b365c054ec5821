package members

import (
	"time"

	"github.com/loopmesh/loopmesh/cluster/events"
)

// Dead letters are told one by one, since each is a command, or a call for later, of its own
// that somebody has to look at. They travel in the streams of the membership all the same, and a queue whose
// function is broken makes them as fast as the store takes them: so there is a limit, above
// which they are counted only, and the next one that is told has the count.

const maxLetters = 32 // that are told in a second

// letters counts what was told within a second. It belongs to Members and is guarded by its
// mu. Invariant: kept is what has been counted and not told.
type letters struct {
	begun time.Time
	told  int
	kept  uint64
}

// count notes one more, and returns of how many to tell; 0: none.
func (l *letters) count(now time.Time) uint64 {
	if now.Sub(l.begun) >= seldomEach {
		l.begun, l.told = now, 0
	}
	if l.told >= maxLetters {
		l.kept++
		return 0
	}
	n := l.kept + 1
	l.told, l.kept = l.told+1, 0
	return n
}

// ReportLetter tells those who follow the node that it gave a command up, or a call for
// later: a Letter with a Group. Each kind has a count of its own. It does not wait.
// Any goroutine.
func (m *Members) ReportLetter(l events.Letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.subs) == 0 {
		return
	}
	now, me := time.Now(), m.link.Self()
	kind, counted := events.DeadLetter, &m.letters
	if l.Group != "" {
		kind, counted = events.DeadTimer, &m.deadTimers
	}
	count := counted.count(now)
	if count == 0 {
		return
	}
	e := events.Event{Kind: kind, Why: l.Reason, Count: count, Time: now, Letter: &l, Member: events.Member{Name: me.Name, Incarnation: me.Number, Self: true}}
	if have, ok := m.machine.Find(me.Name); ok && have.Incarnation == me.Number {
		e.Member = m.member(have)
	}
	for s := range m.subs {
		s.add(e)
	}
}
