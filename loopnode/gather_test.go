package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// after is a task that returns v, err after n turns; it ends early when cancelled.
func after(ctx context.Context, n int, v int, err error) *Task[int] {
	return CreateTask(ctx, "", func(ctx context.Context) (int, error) {
		for range n {
			if err := Sleep(ctx, 0); err != nil {
				return 0, err
			}
		}
		return v, err
	})
}

// asleep is a task that sleeps until it is cancelled.
func asleep(ctx context.Context) *Task[int] {
	return CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
}

// pass lets n turns pass.
func pass(t testing.TB, ctx context.Context, n int) {
	t.Helper()
	for range n {
		must(t, Sleep(ctx, 0))
	}
}

func isErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

var errBoom = errors.New("boom")

func TestGather(t *testing.T) {
	t.Run("AWT-01 results come in argument order, duplicates in each place", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			slow, fast := after(ctx, 3, 1, nil), after(ctx, 0, 2, nil)
			got, err := Gather(ctx, slow, fast, slow)
			same(t, got, []int{1, 2, 1})
			none := GatherFuture[int](ctx)
			if v, err := none.Result(); !none.Done() || len(v) != 0 || err != nil {
				t.Errorf("gathering nothing: %v, %v", v, err)
			}
			other, _ := newLoop(t)
			_, mixed := Gather(ctx, NewFuture[int](l), NewFuture[int](other))
			isErr(t, mixed, ErrWrongLoop)
			return err
		})
	})
	t.Run("AWT-02 the first failure comes at once, the others run on and fail unheard", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var reported []string
			l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) { reported = append(reported, ec.Message) })
			late := after(ctx, 5, 0, errors.New("late"))
			_, err := Gather(ctx, after(ctx, 0, 0, errBoom), late)
			isErr(t, err, errBoom)
			if late.Done() {
				t.Error("gather waited for the other child")
			}
			pass(t, ctx, 8)
			l.reportUnretrieved()
			if !late.Done() || late.Cancelled() || len(reported) != 0 {
				t.Errorf("done %v cancelled %v reported %v", late.Done(), late.Cancelled(), reported)
			}
			return nil
		})
	})
	t.Run("AWT-03 failures and cancellations are kept as outcomes", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			gone := NewFuture[int](l)
			gone.Cancel("why")
			got, err := GatherAll(ctx, after(ctx, 0, 7, nil), after(ctx, 1, 0, errBoom), Awaitable[int](gone))
			if len(got) != 3 || got[0].Value != 7 || got[0].Err != nil {
				t.Fatalf("got %v", got)
			}
			isErr(t, got[1].Err, errBoom)
			isErr(t, got[2].Err, ErrCancelled)
			return err
		})
	})
	t.Run("AWT-04 cancelling it cancels the children; a cancelled child does not make it cancelled", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			a, b, done := asleep(ctx), asleep(ctx), after(ctx, 0, 1, nil)
			outer := GatherAllFuture(ctx, a, b, done)
			pass(t, ctx, 2)
			if !outer.Cancel() || outer.Done() {
				t.Error("cancel is a request to the children")
			}
			_, err := outer.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !a.Cancelled() || !b.Cancelled() || done.Cancelled() || outer.Cancel() {
				t.Error("not all unfinished children were cancelled")
			}
			child := asleep(ctx)
			outer2 := GatherFuture(ctx, child, after(ctx, 9, 1, nil))
			child.Cancel()
			_, err = outer2.Await(ctx)
			isErr(t, err, ErrCancelled)
			if outer2.Cancelled() {
				t.Error("the gathering itself was not cancelled")
			}
			return nil
		})
	})
	t.Run("cancelling the waiting task reaches the children", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			a, b := asleep(ctx), asleep(ctx)
			k := CreateTask(ctx, "", func(ctx context.Context) ([]int, error) { return Gather(ctx, a, b) })
			pass(t, ctx, 2)
			k.Cancel()
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !a.Cancelled() || !b.Cancelled() || !k.Cancelled() {
				t.Error("not cancelled")
			}
			return nil
		})
	})
}

func TestShield(t *testing.T) {
	t.Run("AWT-10 the shield takes the cancellation, not what it shields", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			inner := NewFuture[int](l)
			outer := Shield[int](ctx, inner)
			outer.Cancel()
			if !outer.Cancelled() || inner.Done() {
				t.Error("the cancellation went through")
			}
			second := Shield[int](ctx, inner)
			inner.Cancel()
			_, err := second.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !second.Cancelled() || Shield[int](ctx, inner) != inner {
				t.Error("a done future is returned itself")
			}
			v, err := Shield(ctx, after(ctx, 1, 5, nil)).Await(ctx)
			same(t, []int{v}, []int{5})
			return err
		})
	})
	t.Run("AWT-11 a failure after the shield was cancelled is reported once", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			var reported []string
			l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) {
				if ec.Exception != errBoom {
					t.Errorf("reported %v", ec.Exception)
				}
				reported = append(reported, ec.Message)
			})
			inner := NewFuture[int](l)
			a, b := Shield[int](ctx, inner), Shield[int](ctx, inner)
			a.Cancel()
			b.Cancel()
			pass(t, ctx, 2)
			must(t, inner.SetException(errBoom))
			pass(t, ctx, 2)
			l.reportUnretrieved()
			if len(reported) != 1 || !strings.Contains(reported[0], "shielded") {
				t.Errorf("reported %q", reported)
			}
			return nil
		})
	})
}

func TestWait(t *testing.T) {
	t.Run("AWT-05 waiting tells done from pending and neither fails nor cancels", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			bad, slow := after(ctx, 1, 0, errBoom), asleep(ctx)
			done, pending, err := Wait(ctx, []Waiter{bad, slow, bad}, WaitUntil(FirstCompleted))
			must(t, err)
			same(t, done, []Waiter{bad})
			same(t, pending, []Waiter{slow})

			gone := asleep(ctx)
			l.CallSoon(func() { gone.Cancel() })
			bad = after(ctx, 6, 0, errBoom)
			done, pending, err = Wait(ctx, []Waiter{gone, bad, slow}, WaitUntil(FirstException))
			must(t, err)
			same(t, done, []Waiter{gone, bad})
			same(t, pending, []Waiter{slow})

			done, pending, err = Wait(ctx, []Waiter{slow}, WaitAtMost(time.Millisecond))
			must(t, err)
			if len(done) != 0 || len(pending) != 1 || slow.Cancelling() != 0 {
				t.Errorf("after the time limit: done %v pending %v", done, pending)
			}
			if len(slow.calls.all()) != 0 {
				t.Error("the wait left a callback behind")
			}
			slow.Cancel()
			done, _, err = Wait(ctx, []Waiter{slow, bad})
			must(t, err)
			same(t, done, []Waiter{slow, bad})
			_, _, err = Wait(ctx, nil)
			isErr(t, err, ErrInvalidArgument)
			_, _, err = Wait(ctx, []Waiter{bad}, WaitUntil(9))
			isErr(t, err, ErrInvalidArgument)
			return nil
		})
	})
}

func TestAsCompleted(t *testing.T) {
	t.Run("AWT-21 awaitables come as they end, each once and itself; the loop can be taken up again", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			a, b, c := after(ctx, 6, 1, nil), after(ctx, 0, 2, nil), after(ctx, 3, 3, nil)
			seq := AsCompleted(ctx, []Awaitable[int]{a, b, c, a})
			var got []Awaitable[int]
			for aw, err := range seq {
				must(t, err)
				got = append(got, aw)
				break
			}
			for aw, err := range seq {
				must(t, err)
				got = append(got, aw)
			}
			same(t, got, []Awaitable[int]{b, c, a})
			slow, more := asleep(ctx), NewFuture[int](l)
			fast := after(ctx, 0, 1, nil)
			var errs []error
			got = nil
			for aw, err := range AsCompleted(ctx, []Awaitable[int]{slow, more, fast}, WaitAtMost(20*time.Millisecond)) {
				got, errs = append(got, aw), append(errs, err)
			}
			same(t, got, []Awaitable[int]{fast, slow, more})
			same(t, errs, []error{nil, ErrTimeout, ErrTimeout})
			if slow.Done() {
				t.Error("the time limit cancelled an awaitable")
			}
			slow.Cancel()
			return nil
		})
	})
	t.Run("cancelling the loop over it ends it with the cancellation", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			never := NewFuture[int](l)
			var last error
			k := CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				for _, err := range AsCompleted(ctx, []Awaitable[int]{never}) {
					last = err
				}
				return 0, last
			})
			pass(t, ctx, 2)
			k.Cancel()
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			if !k.Cancelled() || never.Done() {
				t.Error("wrong end")
			}
			return nil
		})
	})
}
