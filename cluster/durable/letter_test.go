package durable

import (
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// TestADeadLetterIsAnEvent: who follows the node hears of each, with what it takes to find it
// and why it was given up; of one that runs nobody hears.
func TestADeadLetterIsAnEvent(t *testing.T) {
	a := stored(t)
	ctx, told, ref := testCtx(t), make(chan events.Event, 10), newLoop(t, a)
	loop, _ := ref.Local()
	stop, err := a.OnEvents(loop, func(e events.Event) {
		if e.Kind == events.DeadLetter {
			told <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s := working(t, a, "q", ref)
	for _, err := range []error{
		Send(ctx, a, "q", "good", ordered, step{Key: t.Name()}, Key("k")),
		Send(ctx, a, "q", "bad", ordered, step{Key: t.Name(), Fail: 9}, Key("k"), Redeliver(1)),
		Send(ctx, a, "q", "worse", hopeless, t.Name(), Redeliver(1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	met := map[string]events.Event{}
	for range 2 {
		select {
		case e := <-told:
			met[e.Letter.ID] = e
		case <-ctx.Done():
			t.Fatal("not told: ", met)
		}
	}
	if e := met["bad"]; e.Letter == nil || *e.Letter != (events.Letter{Queue: "q", ID: "bad", Key: "k", Attempts: 1, Reason: e.Why}) || !strings.Contains(e.Why, "attempt 1 fails") || e.Count != 1 || !e.Member.Self || e.Time.IsZero() {
		t.Errorf("%+v %+v", e, e.Letter)
	}
	if e := met["worse"]; e.Letter == nil || e.Letter.Key != "" || e.Letter.Reason == "" || e.Kind.String() != "dead letter" {
		t.Errorf("%+v %+v", e, e.Letter)
	}
	until(t, "the good one ran", func() bool { return s.Stats().Ran == 1 && s.Stats().Dead == 2 })
	if len(told) != 0 {
		t.Errorf("one more was told: %+v", <-told)
	}
}

// armUnknown stores a call of a function that no program registers.
func armUnknown(t *testing.T, n *cluster.Node) error {
	t.Helper()
	now := time.Now().UTC()
	r := record{ID: "unknown", Group: "g", Function: "nobody.knows", Due: now, Slot: now, Most: 1, State: Pending}
	_, err := records.Of(partsOf(n)).Put(testCtx(t), timerSubject(r.Group, r.ID), r.encode(), 0, 0)
	return err
}

// TestADeadTimerIsAnEvent: of a call that failed as often as it may, of one whose function nobody
// knows, and of a time of a recurring call; the first two are counted until they are fired or
// cancelled, also by who owns the group next.
func TestADeadTimerIsAnEvent(t *testing.T) {
	a := stored(t)
	ctx, told, ref := testCtx(t), make(chan events.Event, 10), newLoop(t, a)
	loop, _ := ref.Local()
	stop, err := a.OnEvents(loop, func(e events.Event) {
		if e.Kind == events.DeadTimer {
			told <- e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s, err := Serve(a, "g", ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		CallLater(ctx, a, "good", note, t.Name(), 0, Group("g")),
		CallLater(ctx, a, "bad", hopeless, t.Name(), 0, Group("g"), Attempts(2)),
		armUnknown(t, a),
		Repeat(ctx, a, "nightly", hopeless, t.Name(), "@every 1s", Group("g"), Attempts(1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	met := map[string]events.Event{}
	for len(met) < 3 {
		select {
		case e := <-told:
			if met[e.Letter.ID].Letter == nil {
				met[e.Letter.ID] = e
			}
		case <-ctx.Done():
			t.Fatal("not told: ", met)
		}
	}
	for id, want := range map[string]events.Letter{
		"bad": {Attempts: 2}, "unknown": {Attempts: 1}, "nightly": {Attempts: 1, Recurs: true},
	} {
		want.Group, want.ID = "g", id
		e := met[id]
		if want.Reason = e.Why; e.Letter == nil || *e.Letter != want || e.Why == "" || e.Kind.String() != "dead timer" || !e.Member.Self {
			t.Errorf("%s: %+v %+v", id, e, e.Letter)
		}
	}
	until(t, "two are counted", func() bool { return DeadTimers(a) == 2 })
	b := beside(t, "b", a)
	serving(t, b, "g")
	s.Stop()
	until(t, "the next owner counts them", func() bool { return DeadTimers(b) == 2 && DeadTimers(a) == 0 })
	if err := Cancel(ctx, b, "g", "unknown"); err != nil {
		t.Fatal(err)
	}
	until(t, "one is left", func() bool { return DeadTimers(b) == 1 })
	if DeadTimers(nil) != 0 {
		t.Error("no node has dead calls")
	}
}
