package durable

import (
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/events"
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
