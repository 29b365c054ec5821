package loopnode

import (
	"context"
	"testing"
	"time"
)

func drain[T any](t testing.TB, q *Queue[T]) (out []T) {
	t.Helper()
	for !q.Empty() {
		v, err := q.TryGet()
		must(t, err)
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
			must(t, fifo.TryPut(i))
			must(t, lifo.TryPut(i))
			must(t, rank.TryPut(job{-i / 2, i}))
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
			must(t, fifo.TryPut(i))
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
		inTask(t, func(ctx context.Context, l *Loop) error {
			q := NewQueue[int](1)
			var got []int
			getter := func(ctx context.Context) error {
				v, err := q.Get(ctx)
				got = append(got, v)
				return err
			}
			a, b := chore(ctx, getter), chore(ctx, getter)
			pass(t, ctx, 2)
			must(t, q.Put(ctx, 1))
			isErr(t, q.TryPut(2), ErrQueueFull)
			p := chore(ctx, func(ctx context.Context) error { return q.Put(ctx, 2) })
			ended(t, ctx, a, b, p)
			same(t, got, []int{1, 2})
			_, err := q.TryGet()
			isErr(t, err, ErrQueueEmpty)
			return nil
		})
	})
	t.Run("cancelled waiters hand their turn on and leave no trace", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			q := NewQueue[int](1)
			get := func(ctx context.Context) (int, error) { return q.Get(ctx) }
			a, b := CreateTask(ctx, "", get), CreateTask(ctx, "", get)
			pass(t, ctx, 1)
			must(t, q.TryPut(7))
			a.Cancel()
			v, err := b.Await(ctx)
			must(t, err)
			must(t, q.TryPut(8))
			put := func(ctx context.Context) error { return q.Put(ctx, 9) }
			c, d := chore(ctx, put), chore(ctx, put)
			pass(t, ctx, 1)
			w, err := q.TryGet()
			must(t, err)
			c.Cancel()
			ended(t, ctx, d)
			same(t, []int{v, w, q.Len()}, []int{7, 8, 1})
			if !a.Cancelled() || !c.Cancelled() || q.getters.list.Len()+q.putters.list.Len() != 0 {
				t.Error("somebody is left in the queue")
			}
			return nil
		})
	})
	t.Run("join waits until all work is done", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			q := NewQueue[int](0)
			must(t, q.Join(ctx))
			must(t, q.TryPut(1))
			must(t, q.TryPut(2))
			drain(t, q)
			k := chore(ctx, q.Join)
			must(t, q.TaskDone())
			pass(t, ctx, 2)
			if k.Done() {
				t.Error("join did not wait")
			}
			must(t, q.TaskDone())
			ended(t, ctx, k)
			isErr(t, q.TaskDone(), ErrInvalidState)
			return nil
		})
	})
	t.Run("shutdown wakes all, what is there can still be got unless it is immediate", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			q := NewQueue[int](1)
			must(t, q.TryPut(1))
			put := chore(ctx, func(ctx context.Context) error { return q.Put(ctx, 2) })
			pass(t, ctx, 1)
			q.Shutdown(false)
			_, err := put.Await(ctx)
			isErr(t, err, ErrQueueShutdown)
			v, err := q.Get(ctx)
			same(t, []int{v}, []int{1})
			must(t, err)
			_, err = q.Get(ctx)
			isErr(t, err, ErrQueueShutdown)

			q = NewQueue[int](0)
			get := CreateTask(ctx, "", q.Get)
			pass(t, ctx, 1)
			q.Shutdown(true)
			_, err = get.Await(ctx)
			isErr(t, err, ErrQueueShutdown)
			q = NewQueue[int](0)
			must(t, q.TryPut(1))
			join := chore(ctx, q.Join)
			pass(t, ctx, 1)
			q.Shutdown(true)
			ended(t, ctx, join)
			isErr(t, q.TryPut(1), ErrQueueShutdown)
			return nil
		})
	})
	t.Run("a time limit on get leaves the item for others", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			q := NewQueue[int](0)
			_, err := WaitFor(ctx, q.Get, time.Millisecond)
			isErr(t, err, ErrTimeout)
			must(t, q.Put(ctx, 4))
			v, err := q.Get(ctx)
			same(t, []int{v}, []int{4})
			return err
		})
	})
}
