package loopnode

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestDoneCalls compares the list with a plain one, whatever is added and removed.
func TestDoneCalls(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		var d doneCalls
		var want []CallbackID
		for range 300 {
			if r.IntN(5) > 1 {
				want = append(want, d.add(doneCall{fn: func() {}}))
				continue
			}
			id := CallbackID(r.IntN(int(d.last) + 3)) // also ids that are gone or never were
			found := false
			for i := range want {
				if want[i] == id {
					want, found = append(want[:i:i], want[i+1:]...), true
					break
				}
			}
			if d.remove(id) != found {
				t.Fatalf("seed %d: remove %d, there: %v", seed, id, found)
			}
		}
		var got []CallbackID
		taken := d.take()
		for _, c := range taken.all() {
			got = append(got, c.id)
		}
		same(t, got, want)
		if len(d.all()) != 0 {
			t.Fatal("something is left")
		}
	}
}

// TestManyWaitersOfOneFuture: removing n waiters must not cost n squared, which
// with this many would be minutes.
func TestManyWaitersOfOneFuture(t *testing.T) {
	const n, limit = 200_000, 20 * time.Second
	t.Run("callbacks", func(t *testing.T) {
		l, _ := newLoop(t)
		f := NewFuture[int](l)
		ids := make([]CallbackID, n)
		for i := range ids {
			ids[i] = f.AddDoneCallback(func(*Future[int]) { t.Error("called") })
		}
		start := time.Now()
		for i := range ids { // the oldest first, then from the end
			id := ids[i]
			if i%2 == 1 {
				id = ids[n-i]
			}
			if f.RemoveDoneCallback(id) != 1 {
				t.Fatal("not there")
			}
		}
		if took := time.Since(start); took > limit {
			t.Errorf("removing %d callbacks took %v", n, took)
		}
		must(t, f.SetResult(1))
		runTurns(t, l, 1)
	})
	t.Run("waits that end with their ctx", func(t *testing.T) {
		const waiting = 20_000
		inTask(t, func(ctx context.Context, l *Loop) error {
			f := NewFuture[int](l)
			short, end := context.WithCancel(ctx)
			left := waiting
			for range waiting {
				CreateTask(ctx, "", func(own context.Context) (int, error) {
					_, err := f.Await(&firstEnd{own, short})
					left--
					return 0, err
				})
			}
			pass(t, ctx, 1)
			start := time.Now()
			end()
			for left > 0 {
				must(t, Sleep(ctx, time.Millisecond))
			}
			if took := time.Since(start); took > limit {
				t.Errorf("ending %d waits took %v", waiting, took)
			}
			if len(f.calls.all()) != 0 {
				t.Error("a wait is still registered")
			}
			return nil
		})
	})
	t.Run("AsCompleted takes each future once without a search", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			aws := make([]Awaitable[int], n)
			for i := range aws {
				aws[i] = NewFuture[int](l)
			}
			for i := range aws {
				must(t, aws[n-1-i].(*Future[int]).SetResult(i))
			}
			start, i := time.Now(), 0
			for aw, err := range AsCompleted(ctx, aws) {
				must(t, err)
				if v, _ := aw.Result(); v != n-1-i {
					t.Fatalf("number %d is %d", i, v)
				}
				i++
			}
			if took := time.Since(start); i != n || took > limit {
				t.Errorf("%d of %d after %v", i, n, took)
			}
			return nil
		})
	})
	t.Run("AWT-05 AsCompleted after its limit: who ended first, then the rest in order", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			aws := make([]Awaitable[int], 4)
			for i := range aws {
				aws[i] = NewFuture[int](l)
			}
			must(t, aws[2].(*Future[int]).SetResult(0))
			must(t, aws[0].(*Future[int]).SetResult(0))
			var late []Awaitable[int]
			for aw, err := range AsCompleted(ctx, aws, WaitAtMost(time.Millisecond)) {
				if errors.Is(err, ErrTimeout) {
					late = append(late, aw)
				}
			}
			same(t, late, []Awaitable[int]{aws[1], aws[3]})
			return nil
		})
	})
}

// firstEnd is the ctx of a task that ends with another ctx too.
type firstEnd struct {
	context.Context
	end context.Context
}

func (c *firstEnd) Done() <-chan struct{} { return c.end.Done() }
func (c *firstEnd) Err() error            { return c.end.Err() }
