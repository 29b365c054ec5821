package records

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// wire is where a line sends to. What is sent waits for answer.
type wire struct {
	sync.Mutex
	ids     []string // of the batches: the ids of their effects
	answers []chan *nats.Msg
	under   int // sent, and somebody waits for it
}

func (w *wire) send(writes []Write) (*sent, error) {
	w.Lock()
	defer w.Unlock()
	text := ""
	for _, one := range writes {
		if !one.isMark() {
			text += string(one.Body)
		}
	}
	w.ids = append(w.ids, text)
	answer := make(chan *nats.Msg, 1)
	w.answers = append(w.answers, answer)
	w.under++
	return &sent{answer: answer, end: func() {
		w.Lock()
		defer w.Unlock()
		w.under--
	}}, nil
}

// answer answers the latest batch, and waits until all have heard it.
func (w *wire) answer(text string) {
	w.Lock()
	w.answers[len(w.answers)-1] <- &nats.Msg{Data: []byte(text)}
	w.Unlock()
	synctest.Wait()
}

const (
	isStored  = `{"stream":"s","seq":1}`
	isRefused = `{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}`
)

// caller is one that is in the line.
type caller struct {
	cancel context.CancelCauseFunc
	over   atomic.Bool
	err    error
}

// enter has a caller in the line, and returns when it waits.
func (w *wire) enter(ls *lines, id string) *caller {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &caller{cancel: cancel}
	go func() {
		c.err = ls.batch(ctx, "fence", effect(id, 5).writes, 1, w.send)
		c.over.Store(true)
	}()
	synctest.Wait()
	return c
}

var errGone = errors.New("the caller has no more time")

func isIt(t *testing.T, what string, c *caller, want error) {
	t.Helper()
	var api *jetstream.APIError
	switch {
	case !c.over.Load():
		t.Errorf("%s still waits", what)
	case errors.Is(want, ErrConflict) && !errors.As(c.err, &api), !errors.Is(want, ErrConflict) && !errors.Is(c.err, want):
		t.Errorf("%s: %v, want %v", what, c.err, want)
	}
}

// inALine runs a test with a first caller under way, and three that wait. At its end nobody is
// in the line.
func inALine(t *testing.T, test func(t *testing.T, w *wire, a, b, c, d *caller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, ls := &wire{}, &lines{by: map[string]*line{}}
		test(t, w, w.enter(ls, "a"), w.enter(ls, "b"), w.enter(ls, "c"), w.enter(ls, "d"))
		synctest.Wait()
		if len(ls.by) != 0 || w.under != 0 {
			t.Errorf("%d lines are left, and %d batches under way", len(ls.by), w.under)
		}
	})
}

func (w *wire) sent(t *testing.T, want ...string) {
	t.Helper()
	w.Lock()
	defer w.Unlock()
	if !slices.Equal(w.ids, want) {
		t.Errorf("sent: %q, want %q", w.ids, want)
	}
}

func TestThoseThatWaitAreSentTogether(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		w.sent(t, "a")
		w.answer(isStored)
		w.sent(t, "a", "bcd")
		w.answer(isStored)
		for _, one := range []*caller{a, b, c, d} {
			isIt(t, "one", one, nil)
		}
	})
}

// TestOneThatIsRefusedAlone: who of several is to blame, each finds out alone, in order.
func TestOneThatIsRefusedAlone(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		w.answer(isRefused)
		isIt(t, "the first", a, ErrConflict)
		w.answer(isRefused)
		if b.over.Load() || c.over.Load() || d.over.Load() {
			t.Error("one of several that were refused together was told so")
		}
		w.answer(isStored)
		w.answer(isRefused)
		w.answer(isStored)
		w.sent(t, "a", "bcd", "b", "c", "d")
		isIt(t, "b", b, nil)
		isIt(t, "c", c, ErrConflict)
		isIt(t, "d", d, nil)
	})
}

// TestNoAnswerIsNoneForAll: all of a batch hear that nobody knows, after the time of an
// attempt, which does not begin anew for whoever waits in the place of another one.
func TestNoAnswerIsNoneForAll(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		w.answer(isStored)
		begun := time.Now()
		<-time.After(attempt / 2)
		b.cancel(errGone)
		synctest.Wait()
		for !c.over.Load() {
			<-time.After(attempt / 10)
			synctest.Wait()
		}
		isIt(t, "c", c, nats.ErrTimeout)
		isIt(t, "d", d, nats.ErrTimeout)
		if passed := time.Since(begun); passed > attempt+attempt/10 {
			t.Errorf("they waited %v", passed)
		}
	})
}

func TestWhoLeavesWhileItWaitsIsNotSent(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		b.cancel(errGone)
		c.cancel(errGone)
		synctest.Wait()
		w.answer(isStored)
		isIt(t, "b", b, errGone)
		isIt(t, "c", c, errGone)
		w.sent(t, "a", "d")
		w.answer(isStored)
		isIt(t, "d", d, nil)
	})
}

// TestTheLeaderLeaves: another one of its batch waits for the answer.
func TestTheLeaderLeaves(t *testing.T) {
	for _, refusal := range []bool{false, true} {
		inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
			w.answer(isStored)
			b.cancel(errGone)
			synctest.Wait()
			isIt(t, "b", b, errGone)
			isIt(t, "b, behind one that was answered", b, ErrLate)
			c.cancel(errGone)
			synctest.Wait()
			isIt(t, "c", c, errGone)
			if !refusal {
				w.answer(isStored)
				isIt(t, "d", d, nil)
				w.sent(t, "a", "bcd")
				return
			}
			w.answer(isRefused) // perhaps for one that has left
			w.sent(t, "a", "bcd", "d")
			w.answer(isStored)
			isIt(t, "d", d, nil)
		})
	}
}

// TestAllLeave: nobody waits for the answer any more, so the next ones do not either.
func TestAllLeave(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		a.cancel(errGone)
		synctest.Wait()
		isIt(t, "a", a, errGone)
		w.sent(t, "a", "bcd")
		d.cancel(errGone)
		synctest.Wait()
		isIt(t, "d", d, errGone)
		w.answer(isStored)
		isIt(t, "b", b, nil)
		isIt(t, "c", c, nil)
	})
}

// TestTheWayToTheServerBreaks: those under way hear it at once, and those that wait are sent.
func TestTheWayToTheServerBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, broken, w := &lines{by: map[string]*line{}}, make(chan nats.Status, 1), &wire{}
		var err error
		go func() {
			err = ls.batch(context.Background(), "fence", effect("a", 5).writes, 1, func(writes []Write) (*sent, error) {
				s, err := w.send(writes)
				s.broken = broken
				return s, err
			})
		}()
		synctest.Wait()
		b := w.enter(ls, "b")
		broken <- nats.RECONNECTING
		synctest.Wait()
		if !errors.Is(err, nats.ErrDisconnected) {
			t.Error(err)
		}
		w.answer(isStored)
		isIt(t, "b", b, nil)
	})
}

// TestWhatIsOutdatedIsNotSent: a batch has replaced what one that waits compares.
func TestWhatIsOutdatedIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ls := &wire{}, &lines{by: map[string]*line{}}
		var errs [2]error
		for i := range errs {
			go func() {
				errs[i] = ls.batch(t.Context(), "fence", []Write{{Subject: "fence", Expect: 5, Body: []byte("r")}}, 1, w.send)
			}()
			synctest.Wait()
		}
		next := w.enter(ls, "n")
		w.answer(isStored)
		w.sent(t, "r")
		if errs[0] != nil || !errors.Is(errs[1], ErrConflict) || !errors.Is(next.err, ErrConflict) {
			t.Error(errs, next.err)
		}
	})
}

// faulty is a wire to a store that loses answers, before or after it has stored the batch.
type faulty struct {
	sync.Mutex
	*store
	r       *rand.Rand
	batches int
}

func (f *faulty) send(writes []Write) (*sent, error) {
	f.Lock()
	defer f.Unlock()
	f.batches++
	answer, broken, lost := make(chan *nats.Msg, 1), make(chan nats.Status, 1), f.r.IntN(10)
	switch {
	case lost == 0:
		broken <- nats.RECONNECTING
	case lost == 1:
		f.batch(writes)
		broken <- nats.RECONNECTING
	case f.batch(writes):
		answer <- &nats.Msg{Data: []byte(isStored)}
	default:
		answer <- &nats.Msg{Data: []byte(isRefused)}
	}
	return &sent{answer: answer, broken: broken, end: func() {}}, nil
}

// TestEveryCallerHearsTheTruth: of many at once, at a store that loses answers, with callers
// that leave at any moment: who hears that it was stored, was; who hears that its expectation
// was wrong, has one that was, and nothing of it is there.
func TestEveryCallerHearsTheTruth(t *testing.T) {
	const callers, each = 16, 300
	f, ls := &faulty{store: newStore(), r: rand.New(rand.NewPCG(1, 2))}, &lines{by: map[string]*line{}}
	var all sync.WaitGroup
	for g := range callers {
		r := rand.New(rand.NewPCG(uint64(g), 3))
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancelCause(context.Background())
				id := fmt.Sprint(g, "-", i)
				f.Lock()
				m := f.random(r, id)
				f.Unlock()
				if r.IntN(8) == 0 {
					all.Go(func() { cancel(errGone) })
				}
				err := ls.batch(ctx, "fence", m.writes, m.bytes, f.send)
				cancel(nil)
				f.check(t, m, id, err)
			}
		})
	}
	all.Wait()
	if len(ls.by) != 0 {
		t.Error("somebody is left in the line")
	}
	if f.batches >= callers*each {
		t.Errorf("%d batches for %d", f.batches, callers*each)
	}
}

func (f *faulty) check(t *testing.T, m *member, id string, err error) {
	f.Lock()
	defer f.Unlock()
	var api *jetstream.APIError
	_, there := f.by["id."+id]
	switch {
	case err == nil && !there:
		t.Errorf("%s is told to be stored, and is not", id)
	case errors.As(err, &api), errors.Is(err, ErrConflict):
		if there {
			t.Errorf("%s is told to be refused, and is there", id)
		}
		if !slices.ContainsFunc(m.writes, func(w Write) bool { return f.last[w.compares()] != w.Expect }) {
			t.Errorf("%s is told that another record is there, and it is not so", id)
		}
	case errors.Is(err, ErrBehind):
		if there {
			t.Errorf("%s is told that nothing was written, and is there", id)
		}
	case err != nil && !errors.Is(err, errGone) && !errors.Is(err, nats.ErrDisconnected):
		t.Error(id, err)
	}
}

// TestWhoWaitsForOthersIsNotUnanswered: a batch whose time is over while it waits in the line
// says so when the store has answered others since it came, and else why its time is over.
func TestWhoWaitsForOthersIsNotUnanswered(t *testing.T) {
	inALine(t, func(t *testing.T, w *wire, a, b, c, d *caller) {
		b.cancel(errGone)
		synctest.Wait()
		isIt(t, "b, while nothing is answered", b, errGone)
		w.answer(isStored)
		w.answer(isRefused) // c and d wait again, each alone
		d.cancel(errGone)
		synctest.Wait()
		isIt(t, "d, behind others that were answered", d, ErrBehind)
		w.answer(isStored)
		isIt(t, "c", c, nil)
		isIt(t, "a", a, nil)
		w.sent(t, "a", "cd", "c")
	})
}
