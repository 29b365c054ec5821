package tasksync

import (
	"context"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

func drain[T any](t testing.TB, q *Queue[T]) (out []T) {
	t.Helper()
	for !q.Empty() {
		v, err := q.TryGet()
		testloop.Must(t, err)
		out = append(out, v)
	}
	return out
}

func TestQueue(t *testing.T) {
	t.Run("each kind has its order", func(t *testing.T) {
		fifo, lifo := NewQueue[int](0), NewLIFO[int](0)
		type job struct{ rank, name int }
		rank := NewPriorityQueue(0, func(a, b job) bool { return a.rank < b.rank })
		for i := range 200 {
			testloop.Must(t, fifo.TryPut(i))
			testloop.Must(t, lifo.TryPut(i))
			testloop.Must(t, rank.TryPut(job{-i / 2, i}))
		}
		f, l, r := drain(t, fifo), drain(t, lifo), drain(t, rank)
		for i := range 200 {
			if f[i] != i || l[i] != 199-i {
				t.Fatalf("place %d: %d, %d", i, f[i], l[i])
			}
			if i > 0 && (r[i].rank < r[i-1].rank || r[i].rank == r[i-1].rank && r[i].name < r[i-1].name) {
				t.Fatalf("%v after %v", r[i], r[i-1])
			}
		}
		for i := range 500 { // the ring moves while it is in use
			testloop.Must(t, fifo.TryPut(i))
			if i%3 == 0 {
				continue
			}
			if _, err := fifo.TryGet(); err != nil {
				t.Fatal(err)
			}
		}
		rest := drain(t, fifo)
		for i := range rest {
			if rest[i] != 500-len(rest)+i {
				t.Fatalf("place %d: %d", i, rest[i])
			}
		}
	})
	t.Run("a full queue makes puts wait, an empty one gets, in order", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			q := NewQueue[int](1)
			var got []int
			getter := func(ctx context.Context) error {
				v, err := q.Get(ctx)
				got = append(got, v)
				return err
			}
			a, b := chore(ctx, getter), chore(ctx, getter)
			testloop.Pass(t, ctx, 2)
			testloop.Must(t, q.Put(ctx, 1))
			testloop.IsErr(t, q.TryPut(2), ErrQueueFull)
			p := chore(ctx, func(ctx context.Context) error { return q.Put(ctx, 2) })
			ended(t, ctx, a, b, p)
			testloop.Same(t, got, []int{1, 2})
			_, err := q.TryGet()
			testloop.IsErr(t, err, ErrQueueEmpty)
			return nil
		})
	})
	t.Run("cancelled waiters hand their turn on and leave no trace", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			q := NewQueue[int](1)
			get := func(ctx context.Context) (int, error) { return q.Get(ctx) }
			a, b := loopnode.CreateTask(ctx, "", get), loopnode.CreateTask(ctx, "", get)
			testloop.Pass(t, ctx, 1)
			testloop.Must(t, q.TryPut(7))
			a.Cancel()
			v, err := b.Await(ctx)
			testloop.Must(t, err)
			testloop.Must(t, q.TryPut(8))
			put := func(ctx context.Context) error { return q.Put(ctx, 9) }
			c, d := chore(ctx, put), chore(ctx, put)
			testloop.Pass(t, ctx, 1)
			w, err := q.TryGet()
			testloop.Must(t, err)
			c.Cancel()
			ended(t, ctx, d)
			testloop.Same(t, []int{v, w, q.Len()}, []int{7, 8, 1})
			if !a.Cancelled() || !c.Cancelled() || q.getters.list.Len()+q.putters.list.Len() != 0 {
				t.Error("somebody is left in the queue")
			}
			return nil
		})
	})
	t.Run("join waits until all work is done", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			q := NewQueue[int](0)
			testloop.Must(t, q.Join(ctx))
			testloop.Must(t, q.TryPut(1))
			testloop.Must(t, q.TryPut(2))
			drain(t, q)
			k := chore(ctx, q.Join)
			testloop.Must(t, q.TaskDone())
			testloop.Pass(t, ctx, 2)
			if k.Done() {
				t.Error("join did not wait")
			}
			testloop.Must(t, q.TaskDone())
			ended(t, ctx, k)
			testloop.IsErr(t, q.TaskDone(), ErrTooManyDone)
			return nil
		})
	})
	t.Run("shutdown wakes all, what is there can still be got unless it is immediate", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			q := NewQueue[int](1)
			testloop.Must(t, q.TryPut(1))
			put := chore(ctx, func(ctx context.Context) error { return q.Put(ctx, 2) })
			testloop.Pass(t, ctx, 1)
			q.Shutdown(false)
			_, err := put.Await(ctx)
			testloop.IsErr(t, err, ErrQueueShutdown)
			v, err := q.Get(ctx)
			testloop.Same(t, []int{v}, []int{1})
			testloop.Must(t, err)
			_, err = q.Get(ctx)
			testloop.IsErr(t, err, ErrQueueShutdown)

			q = NewQueue[int](0)
			get := loopnode.CreateTask(ctx, "", q.Get)
			testloop.Pass(t, ctx, 1)
			q.Shutdown(true)
			_, err = get.Await(ctx)
			testloop.IsErr(t, err, ErrQueueShutdown)
			q = NewQueue[int](0)
			testloop.Must(t, q.TryPut(1))
			join := chore(ctx, q.Join)
			testloop.Pass(t, ctx, 1)
			q.Shutdown(true)
			ended(t, ctx, join)
			testloop.IsErr(t, q.TryPut(1), ErrQueueShutdown)
			return nil
		})
	})
	t.Run("a time limit on get leaves the item for others", func(t *testing.T) {
		testloop.InTask(t, func(ctx context.Context, l *loopnode.Loop) error {
			q := NewQueue[int](0)
			_, err := loopnode.WaitFor(ctx, q.Get, time.Millisecond)
			testloop.IsErr(t, err, loopnode.ErrTimeout)
			testloop.Must(t, q.Put(ctx, 4))
			v, err := q.Get(ctx)
			testloop.Same(t, []int{v}, []int{4})
			return err
		})
	})
}
