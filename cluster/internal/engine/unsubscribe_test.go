package engine

import (
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestWhoUnsubscribesHearsNothingMore, and may subscribe again; other subscriptions of the
// connection stay.
func TestWhoUnsubscribesHearsNothingMore(t *testing.T) {
	a := opened(t, Config{Node: "a"})
	x, y := a.Subjects.Topics("x"), a.Subjects.Topics("y")
	var heard atomic.Int64
	marks := make(chan struct{}, 8)
	count := func(*nats.Msg) { heard.Add(1) }
	subscribe := func(subject string, handle nats.MsgHandler) {
		t.Helper()
		if err := a.Bulk().Subscribe(subject, handle); err != nil {
			t.Fatal(err)
		}
	}
	say := func() { // behind it, everything that was published before has been handed out
		t.Helper()
		for _, topic := range []string{"x", "y"} {
			if err := a.Bulk().Publish(a.Subjects.Topic(topic), "", nil); err != nil {
				t.Fatal(err)
			}
		}
		<-marks
	}
	subscribe(x, count)
	subscribe(y, func(*nats.Msg) { marks <- struct{}{} })
	say()
	until(t, "the message is heard", func() bool { return heard.Load() == 1 })
	a.Bulk().Unsubscribe(x)
	a.Bulk().Unsubscribe(x)
	say()
	say()
	if heard.Load() != 1 {
		t.Error("it still hears what it does not subscribe to")
	}
	subscribe(x, count)
	say()
	until(t, "it hears again", func() bool { return heard.Load() == 2 })
	if n := a.Bulk().Dropped(); n != 0 {
		t.Error(n, "messages dropped")
	}
}
