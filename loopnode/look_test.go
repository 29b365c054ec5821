package loopnode

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

func byName(all []loopaccess.TaskInfo) map[string]loopaccess.TaskInfo {
	out := map[string]loopaccess.TaskInfo{}
	for _, t := range all {
		out[t.Name] = t
	}
	return out
}

func TestWhatATaskDoesIsSeenFromOutside(t *testing.T) {
	err := Run(context.Background(), func(ctx context.Context) error {
		l, err := Running(ctx)
		if err != nil {
			return err
		}
		never := NewFuture[int](l)
		inner := Go(ctx, "inner", func(ctx context.Context) error {
			Go(ctx, "made by inner", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
			_, err := never.Await(ctx)
			return err
		})
		outer := Go(ctx, "outer", func(ctx context.Context) error {
			_, err := inner.Await(ctx)
			return err
		})
		for range 3 {
			if err := Sleep(ctx, 0); err != nil {
				return err
			}
		}
		fresh := Go(ctx, "fresh", func(context.Context) error { return nil })
		all := loopaccess.Of(l).TaskInfos(100, 5)
		tasks := byName(all)
		if len(all) != 4 {
			t.Errorf("%d tasks: %+v", len(all), all)
		}
		in, out, made := tasks["inner"], tasks["outer"], tasks["made by inner"]
		if in.State != "waiting" || in.Waits != "loopnode.(*Future).Await" && in.Waits != "loopnode.(*Future[...]).Await" || made.Waits != "loopnode.Sleep" {
			t.Errorf("inner %+v, made %+v", in, made)
		}
		if len(in.AwaitedBy) != 1 || in.AwaitedBy[0] != out.ID || made.Parent != in.ID || in.Circle {
			t.Errorf("inner %+v, outer %+v, made %+v", in, out, made)
		}
		if len(in.Stack) == 0 || !strings.Contains(in.Stack[0], "look_test.go") {
			t.Errorf("stack %q", in.Stack)
		}
		if tasks["fresh"].State != "ready" {
			t.Errorf("fresh %+v", tasks["fresh"])
		}
		if got := loopaccess.Of(l).TaskInfos(100, 0); got[0].Stack != nil || got[0].Waits != "" {
			t.Errorf("not asked for: %+v", got[0])
		}
		if one := loopaccess.Of(l).TaskInfos(1, 0); len(one) != 1 || one[0].ID != all[0].ID {
			t.Errorf("the oldest: %+v", one)
		}
		if name, ok := loopaccess.Of(l).CancelTask(in.ID, "by the operator"); name != "inner" || !ok {
			t.Errorf("cancelled %q, %v", name, ok)
		}
		if name, ok := loopaccess.Of(l).CancelTask(1<<40, ""); name != "" || ok {
			t.Errorf("cancelled %q, %v", name, ok)
		}
		if _, err := outer.Await(ctx); err == nil || !strings.Contains(err.Error(), "by the operator") {
			t.Errorf("outer ended with %v", err)
		}
		_, err = fresh.Await(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waits makes tasks of which each waits for the one that of names, and lets them begin.
func waits(ctx context.Context, of []int) error {
	tasks := make([]*Task[struct{}], len(of))
	for i, other := range of {
		tasks[i] = Go(ctx, strconv.Itoa(i), func(ctx context.Context) error {
			if other < 0 {
				return Sleep(ctx, time.Hour)
			}
			_, err := tasks[other].Await(ctx)
			return err
		})
	}
	return Sleep(ctx, time.Millisecond)
}

func TestTasksThatWaitInACircleAreMarked(t *testing.T) {
	for _, c := range []struct {
		of   []int
		want string // one letter for each: o is in a circle
	}{
		{[]int{1, 0}, "oo"},
		{[]int{1, -1}, ".."},
		{[]int{1, 2, 0, 0, 3}, "ooo.."},     // two wait for the circle
		{[]int{1, 0, 1, 4, 3, 2}, "oo.oo."}, // two circles, and who waits for one
		{[]int{-1, 0, 1, 2, 3, 4}, "......"},
	} {
		err := Run(context.Background(), func(ctx context.Context) error {
			if err := waits(ctx, c.of); err != nil {
				return err
			}
			l, err := Running(ctx)
			got := ""
			for _, task := range loopaccess.Of(l).TaskInfos(100, 0) {
				got += map[bool]string{true: "o", false: "."}[task.Circle]
			}
			if got != c.want {
				t.Errorf("%v: %s, want %s", c.of, got, c.want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestALookForCirclesFollowsEachWaitOnce: the loop stands still while it is looked at.
func TestALookForCirclesFollowsEachWaitOnce(t *testing.T) {
	err := Run(context.Background(), func(ctx context.Context) error {
		chain := make([]int, 2000)
		for i := range chain {
			chain[i] = i + 1
		}
		chain[len(chain)-1] = -1
		if err := waits(ctx, chain); err != nil {
			return err
		}
		l, err := Running(ctx)
		for _, steps := range []int{len(chain), 100} { // as many as there are waits; too few
			c := circles{left: steps}
			for task := l.tasks.head; task != nil; task = task.next {
				if c.through(task) {
					t.Errorf("%s is in a circle", task.label())
				}
			}
			if steps == len(chain) && c.left != 1 || len(c.path) != 0 {
				t.Errorf("%d steps are left of %d, %d tasks on the path", c.left, steps, len(c.path))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAMeterCountsTurnsUntilItsTimeIsOver(t *testing.T) {
	err := Run(context.Background(), func(ctx context.Context) error {
		l, err := Running(ctx)
		if err != nil {
			return err
		}
		m := &loopaccess.Meter{Until: time.Duration(l.Time().Add(time.Hour))}
		loopaccess.Of(l).Measure(m)
		for range 10 {
			if err := Sleep(ctx, time.Microsecond); err != nil {
				return err
			}
		}
		sum := uint64(0)
		for _, n := range m.Batches.Counts() {
			sum += n
		}
		if m.Turns.Load() < 10 || m.Callbacks.Load() < 10 || sum != m.Turns.Load() || m.Busy.Load() < m.Longest.Load() || m.Longest.Load() <= 0 {
			t.Errorf("turns %d, callbacks %d, in buckets %d, busy %d, longest %d", m.Turns.Load(), m.Callbacks.Load(), sum, m.Busy.Load(), m.Longest.Load())
		}
		m.Until = 0
		if err := Sleep(ctx, time.Microsecond); err != nil {
			return err
		}
		if l.meter != nil {
			t.Error("the meter is still on")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAgesGetCoarserAndStayBounded(t *testing.T) {
	var a ages
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const looks = 200_000 // at 250 ms: 14 hours
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * lookEvery) }
	for i := range looks {
		a.note(uint64(i), at(i))
	}
	for i := range a.levels {
		if len(a.levels[i]) > agesKept {
			t.Errorf("level %d has %d notes", i, len(a.levels[i]))
		}
	}
	now := at(looks - 1)
	for _, age := range []time.Duration{time.Second, 5 * time.Second, time.Minute, 20 * time.Minute, 3 * time.Hour} {
		turn := looks - 1 - int(age/lookEvery)
		got, ok := a.since(uint64(turn))
		if told := now.Sub(got); !ok || told > age || told < age*3/4-lookEvery {
			t.Errorf("a wait of %v is told as %v (known %v)", age, told, ok)
		}
	}
	if _, ok := a.since(looks); ok {
		t.Error("what has not been noted is known")
	}
}
