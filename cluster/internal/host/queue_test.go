package host

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// entry is an item that writes down what becomes of it.
type entry struct {
	n       int
	of      *flow
	running bool
	begun   func()
	log     *[]string
}

func (e *entry) Begin(turn *Turn) bool {
	*e.log = append(*e.log, fmt.Sprint("begin ", e.n))
	turn.Took(e.of, 10)
	if e.begun != nil {
		e.begun()
	}
	return e.running
}

func (e *entry) Drop(why error) { *e.log = append(*e.log, fmt.Sprint("drop ", e.n, " ", why)) }

type flow struct{ told []credit.Amount }

func (f *flow) Took(done credit.Amount) { f.told = append(f.told, done) }

func newQueueOn(t *testing.T, limit int) (*Queue, *loopnode.Loop) {
	t.Helper()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return newQueue(l, limit), l
}

func turn(t *testing.T, l *loopnode.Loop) {
	t.Helper()
	if err := l.RunOnce(0); err != nil {
		t.Fatal(err)
	}
}

func TestAFlowIsToldOnceForATurn(t *testing.T) {
	q, l := newQueueOn(t, 1000)
	var log []string
	a, b := &flow{}, &flow{}
	var items []Item
	for n := range perTurn + 8 {
		items = append(items, &entry{n: n, of: a, log: &log})
	}
	q.Put(items...)
	q.Put(&entry{n: 1000, of: b, log: &log})
	turn(t, l)
	if len(log) != perTurn || !slices.Equal(a.told, []credit.Amount{{Messages: perTurn, Bytes: 10 * perTurn}}) {
		t.Errorf("%d have begun, the flow was told %v", len(log), a.told)
	}
	turn(t, l)
	if len(a.told) != 2 || a.told[1].Messages != 8 || !slices.Equal(b.told, []credit.Amount{{Messages: 1, Bytes: 10}}) {
		t.Errorf("the flows were told %v and %v", a.told, b.told)
	}
	for n := range perTurn + 8 {
		if log[n] != fmt.Sprint("begin ", n) {
			t.Fatalf("%d: %s", n, log[n])
		}
	}
	if waiting, running := q.Len(); waiting != 0 || running != 0 {
		t.Errorf("%d wait, %d run", waiting, running)
	}
}

func TestAQueueStandsStillWhileAsManyRunAsMay(t *testing.T) {
	q, l := newQueueOn(t, 2)
	var log []string
	of := &flow{}
	for n := range 5 {
		q.Put(&entry{n: n, of: of, running: true, log: &log})
	}
	turn(t, l)
	turn(t, l)
	if waiting, running := q.Len(); len(log) != 2 || waiting != 3 || running != 2 || !q.Full() {
		t.Fatalf("%v; %d wait, %d run", log, waiting, running)
	}
	q.Ended()
	turn(t, l)
	turn(t, l)
	if waiting, running := q.Len(); len(log) != 3 || waiting != 2 || running != 2 {
		t.Errorf("%v; %d wait, %d run", log, waiting, running)
	}
}

// TestAQueueThatIsClosedDropsEachOnce: also what the callback has taken out already.
func TestAQueueThatIsClosedDropsEachOnce(t *testing.T) {
	q, l := newQueueOn(t, 1000)
	var log []string
	of, gone := &flow{}, errors.New("gone")
	for n := range 3 {
		e := &entry{n: n, of: of, log: &log}
		if n == 0 {
			e.begun = func() {
				q.Put(&entry{n: 7, of: of, log: &log}) // this one waits behind them
				q.Close(gone)
				q.Close(errors.New("again"))
			}
		}
		q.Put(e)
	}
	turn(t, l)
	q.Put(&entry{n: 8, of: of, log: &log}, &entry{n: 9, of: of, log: &log})
	turn(t, l)
	want := []string{"begin 0", "drop 7 gone", "drop 1 gone", "drop 2 gone", "drop 8 gone", "drop 9 gone"}
	if !slices.Equal(log, want) {
		t.Errorf("got %v, want %v", log, want)
	}
	if waiting, running := q.Len(); waiting != 0 || running != 0 {
		t.Errorf("%d wait, %d run", waiting, running)
	}
}

func TestShortItemsDoNotFillAQueue(t *testing.T) {
	q, l := newQueueOn(t, 3)
	var log []string
	full := 0
	look := func() {
		if q.Full() {
			full++
		}
	}
	for n := range 6 {
		q.Put(&entry{n: n, of: &flow{}, log: &log, begun: look})
	}
	turn(t, l)
	turn(t, l)
	if len(log) != 6 || full != 0 || q.Full() {
		t.Errorf("%d have begun; the queue was full for %d of them", len(log), full)
	}
	for n := range 3 {
		q.Put(&entry{n: n, of: &flow{}, log: &log, running: true})
	}
	turn(t, l)
	if !q.Full() {
		t.Error("three run, and the queue is not full")
	}
}
