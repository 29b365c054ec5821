// Package lanes decides which command of a queue runs next. It is pure. Commands of one
// key are a lane: they run one after another, in the order of their sequences; lanes run
// beside each other. A command that failed stays at the head of its lane until its next
// attempt, and what is behind it waits: order is kept across failures.
//
//	waiting --Next--> running --End--> gone
//	   ^                 |
//	   '----- Retry -----'
//
// Invariant: of one lane at most the head runs.
package lanes

import (
	"slices"
	"time"
)

// Lanes are the commands that one owner holds. Not for several goroutines at once.
type Lanes struct {
	lanes   map[string][]*command // by key, in order
	held    map[uint64]*command   // by sequence
	ready   []*command            // heads that may run, in the order in which they became so
	later   []*command            // heads that wait for their next attempt, by time
	running int
}

type command struct {
	seq uint64
	key string
	at  time.Duration
}

// New makes empty Lanes.
func New() *Lanes {
	return &Lanes{lanes: map[string][]*command{}, held: map[uint64]*command{}}
}

// Add holds a command; false when it is held already. Commands of one key are added in
// the order of their sequences, else they are put where they belong.
func (l *Lanes) Add(seq uint64, key string) bool {
	if l.held[seq] != nil {
		return false
	}
	c := &command{seq: seq, key: key}
	l.held[seq] = c
	lane := l.lanes[key]
	if len(lane) == 0 {
		l.ready = append(l.ready, c)
	}
	at := len(lane)
	for at > 1 && lane[at-1].seq > seq { // never before the head: it may run
		at--
	}
	l.lanes[key] = slices.Insert(lane, at, c)
	return true
}

// Next takes a command that may run now.
func (l *Lanes) Next(now time.Duration) (seq uint64, ok bool) {
	for len(l.later) > 0 && l.later[0].at <= now {
		l.ready, l.later = append(l.ready, l.later[0]), l.later[1:]
	}
	if len(l.ready) == 0 {
		return 0, false
	}
	c := l.ready[0]
	l.ready = l.ready[1:]
	l.running++
	return c.seq, true
}

// End forgets a command that ran; the next of its lane may run.
func (l *Lanes) End(seq uint64) {
	c := l.held[seq]
	if c == nil || l.lanes[c.key][0] != c {
		return
	}
	delete(l.held, seq)
	l.running--
	lane := l.lanes[c.key][1:]
	if len(lane) == 0 {
		delete(l.lanes, c.key)
		return
	}
	l.lanes[c.key] = lane
	l.ready = append(l.ready, lane[0])
}

// Retry puts a command that ran back to the head of its lane until a time.
func (l *Lanes) Retry(seq uint64, at time.Duration) {
	c := l.held[seq]
	if c == nil {
		return
	}
	l.running--
	c.at = at
	i, _ := slices.BinarySearchFunc(l.later, at, func(c *command, at time.Duration) int {
		if c.at > at {
			return 1
		}
		return -1 // behind those of the same time
	})
	l.later = slices.Insert(l.later, i, c)
}

// Wait is how long nothing may run that may not run now; ok is false when it takes
// another command, or the end of one.
func (l *Lanes) Wait(now time.Duration) (d time.Duration, ok bool) {
	switch {
	case len(l.ready) > 0:
		return 0, true
	case len(l.later) > 0:
		return max(l.later[0].at-now, 0), true
	}
	return 0, false
}

// Len is how many are held, Running how many of them run.
func (l *Lanes) Len() int { return len(l.held) }

// Running is how many run.
func (l *Lanes) Running() int { return l.running }
