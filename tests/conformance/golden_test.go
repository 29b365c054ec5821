package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// A scenario is a golden program in Go: the same steps, the same words.
type scenario func(t *testing.T, say func(words ...any))

// golden runs a scenario and wants the trace that CPython left, except where
// loopmesh departs on purpose.
func golden(t *testing.T, program string, run scenario) {
	t.Helper()
	var got []string
	run(t, func(words ...any) { got = append(got, strings.TrimSuffix(fmt.Sprintln(words...), "\n")) })
	want := depart(t, program, recorded(t, program), func(departure) bool { return true })
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %q\nwant %q", program, got, want)
	}
}

func TestGolden(t *testing.T) {
	t.Run("LOOP-09 LOOP-10 LOOP-11 stop lets the batch finish and what it scheduled waits", func(t *testing.T) {
		golden(t, "g01_stop", stopInBatch)
	})
	t.Run("FUT-04 FUT-05 done callbacks are queued in order, late ones behind", func(t *testing.T) {
		golden(t, "g03_done_callbacks", doneCallbacks)
	})
	t.Run("TSK-01 tasks start in their place in the queue", func(t *testing.T) {
		golden(t, "g04_start_order", startOrder)
	})
	t.Run("TSK-03 a result climbs one turn a hop", func(t *testing.T) {
		golden(t, "g05_wake_up", wakeUp)
	})
	t.Run("TSK-04 FUT-14 awaiting has its known price", func(t *testing.T) {
		golden(t, "g09_price", price)
	})
	t.Run("SCH-15 equal deadlines are first in, first out", func(t *testing.T) {
		golden(t, "g10_equal_timers", equalTimers)
	})
}

// newLoop gives a loop that the test closes.
func newLoop(t *testing.T) *loopnode.Loop {
	t.Helper()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// runForever runs l until it stops.
func runForever(t *testing.T, l *loopnode.Loop) {
	t.Helper()
	if err := l.RunForever(); err != nil {
		t.Fatal(err)
	}
}

// inTask runs main as the task of a loop of its own.
func inTask(t *testing.T, main func(ctx context.Context, l *loopnode.Loop) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		return main(ctx, l)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// turns lets n turns pass.
func turns(ctx context.Context, n int) error {
	for range n {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// counter counts turns: it is the first callback of each, because it
// schedules itself before anything else can.
type counter struct {
	loop *loopnode.Loop
	now  int
	next *loopnode.Handle
}

func countTurns(l *loopnode.Loop) *counter {
	c := &counter{loop: l, now: -1}
	c.count()
	return c
}

func (c *counter) count() {
	c.now++
	c.next = c.loop.CallSoon(c.count)
}

func (c *counter) end() { c.next.Cancel() }

func stopInBatch(t *testing.T, say func(...any)) {
	l := newLoop(t)
	l.CallSoon(func() {
		say("first")
		l.Stop()
		l.CallSoon(func() { say("by first") })
	})
	l.CallSoon(func() {
		say("second")
		l.CallSoon(func() { say("by second") })
	})
	runForever(t, l)
	say("-- stopped")
	l.CallSoon(l.Stop)
	runForever(t, l)
	say("-- stopped")

	l.Stop()
	l.CallSoon(func() {
		say("third")
		l.CallSoon(func() { say("by third") })
	})
	runForever(t, l)
	say("-- stopped")
	l.Stop()
	runForever(t, l)
}

func doneCallbacks(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		future := loopnode.NewFuture[int](l)
		future.AddDoneCallback(func(f *loopnode.Future[int]) {
			say("one")
			f.AddDoneCallback(func(*loopnode.Future[int]) { say("late") })
		})
		future.AddDoneCallback(func(*loopnode.Future[int]) { say("two") })
		future.AddDoneCallback(func(*loopnode.Future[int]) { say("three") })
		if err := future.SetResult(0); err != nil {
			return err
		}
		say("after set_result")
		l.CallSoon(func() { say("soon") })
		return turns(ctx, 2)
	})
}

func startOrder(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		twice := func(name string) *loopnode.Task[int] {
			return loopnode.CreateTask(ctx, name, func(ctx context.Context) (int, error) {
				say(name, "starts")
				err := loopnode.Sleep(ctx, 0)
				say(name, "goes on")
				return 0, err
			})
		}
		one := twice("task 1")
		l.CallSoon(func() { say("soon") })
		two := twice("task 2")
		say("created")
		err := turns(ctx, 3)
		if !one.Done() || !two.Done() {
			t.Error("the tasks are not done after three turns")
		}
		return err
	})
}

func wakeUp(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		future := loopnode.NewFuture[int](l)
		var count *counter
		zero := 0
		mark := func(what string) { say(what, count.now-zero) }

		child := loopnode.CreateTask(ctx, "child", func(ctx context.Context) (int, error) {
			_, err := future.Await(ctx)
			mark("child wakes")
			return 0, err
		})
		parent := loopnode.CreateTask(ctx, "parent", func(ctx context.Context) (int, error) {
			_, err := child.Await(ctx)
			mark("parent wakes")
			return 0, err
		})
		child.AddDoneCallback(func(*loopnode.Future[int]) { mark("child's callback") })
		if err := turns(ctx, 2); err != nil {
			return err
		}
		count = countTurns(l)
		defer count.end()
		if err := turns(ctx, 1); err != nil {
			return err
		}
		zero = count.now
		if err := future.SetResult(0); err != nil {
			return err
		}
		mark("set_result")
		say("child done at once:", pythonBool(child.Done()))
		_, err := parent.Await(ctx)
		mark("grandparent wakes")
		return err
	})
}

// pythonBool prints as Python does.
func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func equalTimers(t *testing.T, say func(...any)) {
	l := newLoop(t)
	deadline := l.Time().Add(time.Millisecond)
	for i := range 12 {
		l.CallAt(deadline, func() { say(i) })
	}
	l.CallAt(deadline.Add(10*time.Millisecond), l.Stop)
	runForever(t, l)
}
