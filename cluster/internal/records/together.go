package records

import (
	"bytes"
	"context"
	"math"
	"slices"
)

// Which batches go together. An effect is one batch that compares the token of its owner, and
// a server of several refuses a batch that compares a subject which another one that is under
// way compares or writes too, as if it had changed: of all that are sent at once one is
// stored, and each of the others is sent again, for nothing. So batches that have such a
// subject in common go one after another (lead.go). If each went alone, an owner would have as
// many effects a second as the voters give answers one after another, however much each answer
// can be for. So those that wait while one is under way are merged into one batch, which is
// the next one: as many as wait cost one answer.
//
// A merged batch is stored whole or not at all, and each of its members has to find what it
// would find alone. So they may be merged when:
//
//   - No two write one subject: the second would have to find what the first wrote.
//   - None writes what another one compares, and no two compare one subject with different
//     sequences: one of them is refused for certain, and would take the other with it.
//   - What says the same is written once. That is so for marks only: records that carry a
//     comparison of another subject, and that nobody reads.
//
// A merged batch that is refused does not say who is to blame. Each of its members is sent
// once more, alone: a bad one costs its group once, and ErrConflict is what the server says
// about the caller's own writes. Without asking the server that is said of those only that
// wait and expect what a batch before them has just replaced.
//
// Nobody is passed by who touches the same: a member goes with those before it, or waits for
// all of those that it clashes with.

// maxTogether is how many bytes are merged. More would not be faster, and is all lost when
// the answer is not there in time.
const maxTogether = 4 << 20

// member is a Batch in a line. Owned by the goroutine that called Batch; alone, over and err
// are guarded by the lines.
type member struct {
	ctx    context.Context
	writes []Write
	bytes  int
	joined int           // how many batches the line had sent when it came
	alone  bool          // it was merged into a batch that was refused
	over   bool          // err says how it ended
	err    error         // the server's or the connection's, to be judged
	woken  chan struct{} // holds one: it is over, or leads
}

// compares is the subject whose last sequence has to be Expect.
func (w *Write) compares() string {
	if w.Guard == "" {
		return w.Subject
	}
	return w.Guard
}

// isMark: it is there to carry a comparison.
func (w *Write) isMark() bool { return w.compares() != w.Subject }

// same reports whether one of two marks is enough.
func (w *Write) same(o Write) bool {
	return w.isMark() && w.Subject == o.Subject && w.Guard == o.Guard && w.Expect == o.Expect && w.TTL == o.TTL && bytes.Equal(w.Body, o.Body)
}

// touched is what some members write and compare.
type touched struct {
	writes map[string]Write
	expect map[string]uint64 // by the subject that is compared
}

func newTouched() touched { return touched{writes: map[string]Write{}, expect: map[string]uint64{}} }

// clashes reports whether m cannot go with them.
func (t touched) clashes(m *member) bool {
	for _, w := range m.writes {
		if have, ok := t.writes[w.Subject]; ok && !w.same(have) {
			return true
		}
		if _, written := t.writes[w.compares()]; written {
			return true
		}
		if seq, compared := t.expect[w.compares()]; compared && seq != w.Expect {
			return true
		}
		if _, compared := t.expect[w.Subject]; compared {
			return true
		}
	}
	return false
}

// several stands for sequences, or writes, that differ: whoever touches them clashes.
const several = math.MaxUint64

// add takes the writes of m, and tells which of them were not there before.
func (t touched) add(m *member) (fresh []Write) {
	for _, w := range m.writes {
		if have, there := t.writes[w.Subject]; !there || !w.same(have) {
			fresh = append(fresh, w)
		}
	}
	for _, w := range m.writes {
		subject, seq := w.compares(), w.Expect
		if have, there := t.expect[subject]; there && have != seq {
			seq = several
		}
		t.expect[subject] = seq
		if have, there := t.writes[w.Subject]; there && !w.same(have) {
			t.writes[w.Subject] = Write{} // which no mark is the same as
			continue
		}
		t.writes[w.Subject] = w
	}
	return fresh
}

// together picks who goes next, of those that wait in the order of arrival: the first, and
// those that can go with it. writes is what is sent for them.
func together(queue []*member) (group []*member, writes []Write) {
	in, passed, size := newTouched(), newTouched(), 0
	for i, m := range queue {
		switch {
		case i > 0 && (m.alone || in.clashes(m) || passed.clashes(m)):
			passed.add(m)
			continue
		case i > 0 && (len(writes)+len(m.writes) > maxBatch || size+m.bytes > maxTogether):
			return group, writes
		}
		group, size = append(group, m), size+m.bytes
		writes = append(writes, in.add(m)...)
		if m.alone {
			break
		}
	}
	return group, writes
}

// outdated are those that wait and compare what a stored batch has replaced.
func outdated(queue []*member, stored []Write) (late []*member) {
	replaced := map[string]uint64{}
	for _, w := range stored {
		if !w.isMark() {
			replaced[w.Subject] = w.Expect
		}
	}
	for _, m := range queue {
		if slices.ContainsFunc(m.writes, func(w Write) bool {
			seq, ok := replaced[w.compares()]
			return ok && seq == w.Expect
		}) {
			late = append(late, m)
		}
	}
	return late
}
