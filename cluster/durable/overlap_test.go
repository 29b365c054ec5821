package durable

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// atOnce counts the runs of each id that go on at the same time.
var atOnce = struct {
	sync.Mutex
	running, most map[string]int
}{running: map[string]int{}, most: map[string]int{}}

var tardy = cluster.Func("durable.tardy", func(ctx context.Context, key string) (struct{}, error) {
	change := func(by int) {
		atOnce.Lock()
		defer atOnce.Unlock()
		atOnce.running[key] += by
		atOnce.most[key] = max(atOnce.most[key], atOnce.running[key])
	}
	change(1)
	defer change(-1)
	book.add(ctx, key)
	return struct{}{}, loopnode.Sleep(ctx, 500*time.Millisecond)
})

// TestARecurringCallDoesNotOverlap: its function takes five times as long as the span of its rule.
// With each policy no two runs go on at once, and no time runs twice; RunAll leaves no time out,
// the others do.
func TestARecurringCallDoesNotOverlap(t *testing.T) {
	const span = 100 * time.Millisecond
	a := stored(t)
	serving(t, a, "g")
	ctx := testCtx(t)
	policies := map[string]Misfire{"once": RunOnce, "all": RunAll, "skip": Skip}
	for id, policy := range policies {
		if err := Repeat(ctx, a, id, tardy, t.Name()+id, "@every "+span.String(), Group("g"), OnMisfire(policy)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "each ran four times", func() bool {
		for id := range policies {
			if len(book.of(t.Name()+id)) < 4 {
				return false
			}
		}
		return true
	})
	for id, policy := range policies {
		if err := Cancel(ctx, a, "g", id); err != nil {
			t.Fatal(err)
		}
		atOnce.Lock()
		most := atOnce.most[t.Name()+id]
		atOnce.Unlock()
		if most != 1 {
			t.Errorf("%s: %d runs at once", id, most)
		}
		left := false
		runs := book.of(t.Name() + id)
		for i := 1; i < len(runs); i++ {
			between := runs[i].Due.Sub(runs[i-1].Due)
			if between < span || policy == RunAll && between != span {
				t.Errorf("%s: from %v to %v are %v", id, runs[i-1].Due, runs[i].Due, between)
			}
			left = left || between > span
		}
		if left == (policy == RunAll) {
			t.Errorf("%s: times were left out: %v", id, left)
		}
	}
}

// TestAKeyThatFailsForEver keeps those behind it waiting, and nobody else.
func TestAKeyThatFailsForEver(t *testing.T) {
	a := stored(t)
	ctx := testCtx(t)
	const others, behind = 500, 100
	send := func(id, key string, in step) {
		if err := Send(ctx, a, "q", id, ordered, in, Key(key)); err != nil {
			t.Error(err)
		}
	}
	send("bad", "bad", step{Key: "bad", Fail: 1000})
	var sending sync.WaitGroup
	for part := range 16 {
		sending.Go(func() {
			for i := part; i < behind; i += 16 {
				send(fmt.Sprint("behind-", i), "bad", step{Key: "bad", Number: i})
			}
			for i := part; i < others; i += 16 {
				send(fmt.Sprint(i), fmt.Sprint(i), step{Key: fmt.Sprint(i), Number: i})
			}
		})
	}
	sending.Wait()
	s := working(t, a, "q", newLoop(t, a))
	until(t, "the others ran, and nothing else is left", func() bool {
		now := s.Stats()
		return now.Ran == others && now.Waiting+now.Running == behind+1
	})
	if got := numbers("bad"); len(got) != 0 {
		t.Errorf("%d ran before the one in front of them", len(got))
	}
	if s := s.Stats(); s.Failed == 0 || s.Dead != 0 {
		t.Errorf("%+v", s)
	}
}
