// Package schedule decides when which durable call for later runs. It is pure: records
// and the time go in, entries that are due come out.
//
// # Two clocks
//
// An entry waits either for a span of time (CallLater, @every) or for a time of day
// (CallAt, cron). A span is measured by the monotonic clock, which no step of the wall
// clock changes. A time of day is compared with the wall clock each time, so after a
// step the entry runs when the clock reads its time: a step forward over it makes it
// due, a step back makes it wait, and neither makes it run twice, because an entry that
// ran is gone. Since a step is told to nobody, Wait never returns more than recheck
// while an entry waits for a time of day.
//
// # States of an entry
//
//	waiting --Due--> running --Finished--> gone
//	   ^                 |
//	   '----- Put -------'  a later record of the same id; it waits until the run has ended
//
// Invariant: of one id at most one entry runs. The records of an id are ordered by their
// sequence; an older one than the known one changes nothing.
package schedule

import (
	"container/heap"
	"math"
	"time"
)

// Clock is one look at both clocks.
type Clock struct {
	Mono time.Duration // from any origin
	Wall time.Time
}

// Entry is one call for later.
type Entry struct {
	ID   string
	Seq  uint64        // of its record
	Due  time.Time     // when it is to run, by the wall clock
	Span bool          // it waits for a span
	In   time.Duration // the span, from now on
	Body []byte        // its record
}

// item is an entry in a heap.
type item struct {
	Entry
	at      time.Duration // of a span: when it is due, monotonic
	index   int           // in its heap; -1: in none
	running bool
	next    *item // what waits until this run has ended
	stale   bool  // not told since Begin
}

// Schedule is the entries of one group. Not for several goroutines at once.
type Schedule struct {
	byID    map[string]*item
	spans   queue // by at
	times   queue // by Due
	running int
}

// recheck bounds how long a step of the wall clock stays unnoticed.
const recheck = time.Second

// New makes an empty Schedule.
func New() *Schedule {
	return &Schedule{
		byID:  map[string]*item{},
		spans: queue{less: func(a, b *item) bool { return a.at < b.at }},
		times: queue{less: func(a, b *item) bool { return a.Due.Before(b.Due) }},
	}
}

// Len is how many entries wait or run.
func (s *Schedule) Len() int { return len(s.byID) }

// Running is how many run.
func (s *Schedule) Running() int { return s.running }

// Put adds an entry, or replaces an older one of its id.
func (s *Schedule) Put(now Clock, e Entry) {
	have := s.byID[e.ID]
	if have != nil && (have.Seq > e.Seq || have.next != nil && have.next.Seq >= e.Seq) {
		have.stale = false
		return
	}
	if have != nil && have.Seq == e.Seq { // told again: the span that was measured goes on
		have.stale = false
		return
	}
	next := &item{Entry: e, at: now.Mono + min(e.In, math.MaxInt64-now.Mono), index: -1} // min: no overflow
	if have != nil && have.running {
		have.next, have.stale = next, false
		return
	}
	if have != nil {
		s.unqueue(have)
	}
	s.byID[e.ID] = next
	s.enqueue(next)
}

// Remove forgets an entry because its record ended at that sequence. A run that is under
// way goes on.
func (s *Schedule) Remove(id string, seq uint64) {
	have := s.byID[id]
	switch {
	case have == nil || have.Seq > seq:
	case have.running:
		if have.next != nil && have.next.Seq <= seq {
			have.next = nil
		}
		have.stale = false
	default:
		s.unqueue(have)
		delete(s.byID, id)
	}
}

// Begin starts a comparison: all records are about to be Put again.
func (s *Schedule) Begin() {
	for _, it := range s.byID {
		it.stale = true
	}
}

// End removes what was not told since Begin.
func (s *Schedule) End() {
	for id, it := range s.byID {
		if !it.stale {
			continue
		}
		it.stale, it.next = false, nil
		if !it.running {
			s.unqueue(it)
			delete(s.byID, id)
		}
	}
}

// Due takes the next entry that is due; it runs from now on. ok is false when none is.
func (s *Schedule) Due(now Clock) (e Entry, ok bool) {
	it := s.first(now)
	if it == nil {
		return Entry{}, false
	}
	s.unqueue(it)
	it.running = true
	s.running++
	return it.Entry, true
}

// first is the entry that has been due for the longest time.
func (s *Schedule) first(now Clock) *item {
	span, at := s.spans.peek(), s.times.peek()
	if span != nil && span.at > now.Mono {
		span = nil
	}
	if at != nil && at.Due.After(now.Wall) {
		at = nil
	}
	if span != nil && at != nil && now.Mono-span.at >= now.Wall.Sub(at.Due) || at == nil {
		return span
	}
	return at
}

// Finished ends the run of an entry. What was Put meanwhile waits from now on.
func (s *Schedule) Finished(id string) {
	it := s.byID[id]
	if it == nil || !it.running {
		return
	}
	s.running--
	if it.next == nil {
		delete(s.byID, id)
		return
	}
	s.byID[id] = it.next
	s.enqueue(it.next)
}

// Wait is how long nothing becomes due; ok is false when nothing waits. A step of the
// wall clock may shorten it, see the package.
func (s *Schedule) Wait(now Clock) (d time.Duration, ok bool) {
	span, at := s.spans.peek(), s.times.peek()
	switch {
	case span == nil && at == nil:
		return 0, false
	case span != nil:
		d = span.at - now.Mono
	}
	if at != nil {
		left := min(at.Due.Sub(now.Wall), recheck)
		if span == nil || left < d {
			d = left
		}
	}
	return max(d, 0), true
}

func (s *Schedule) enqueue(it *item) {
	if it.Span {
		heap.Push(&s.spans, it)
	} else {
		heap.Push(&s.times, it)
	}
}

func (s *Schedule) unqueue(it *item) {
	switch {
	case it.index < 0:
	case it.Span:
		heap.Remove(&s.spans, it.index)
	default:
		heap.Remove(&s.times, it.index)
	}
}

// queue is a heap of items; ties run in the order of their records.
type queue struct {
	items []*item
	less  func(a, b *item) bool
}

func (q *queue) Len() int { return len(q.items) }
func (q *queue) Less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	if q.less(a, b) || q.less(b, a) {
		return q.less(a, b)
	}
	return a.Seq < b.Seq
}
func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].index, q.items[j].index = i, j
}
func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(q.items)
	q.items = append(q.items, it)
}
func (q *queue) Pop() any {
	it := q.items[len(q.items)-1]
	q.items[len(q.items)-1] = nil
	q.items = q.items[:len(q.items)-1]
	it.index = -1
	return it
}
func (q *queue) peek() *item {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}
