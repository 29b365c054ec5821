package loopnode

import (
	"context"
	"testing"
	"time"
)

func TestRecv(t *testing.T) {
	t.Run("a task receives while the loop goes on", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			ch := make(chan int)
			l.CallSoon(func() {
				// goroutine: owner: the test; ends when the value is taken.
				go func() { ch <- 7 }()
			})
			v, ok, err := Recv(ctx, ch)
			if v != 7 || !ok || err != nil {
				t.Error(v, ok, err)
			}
			close(ch)
			v, ok, err = Recv(ctx, ch)
			if v != 0 || ok || err != nil {
				t.Error("of a closed channel:", v, ok, err)
			}
			return nil
		})
	})
	t.Run("cancelling the task and the end of ctx end the wait", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			ch := make(chan int)
			k := Go(ctx, "waits", func(ctx context.Context) error { _, _, err := Recv(ctx, ch); return err })
			pass(t, ctx, 2)
			k.Cancel()
			_, err := k.Await(ctx)
			isErr(t, err, ErrCancelled)
			limit, stop := context.WithTimeout(ctx, time.Millisecond)
			defer stop()
			_, _, err = Recv(limit, ch)
			isErr(t, err, ErrTimeout)
			return nil
		})
	})
	t.Run("a value that came is returned, the cancellation comes with the next wait", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			ch := make(chan int)
			k := CreateTask(ctx, "waits", func(ctx context.Context) (int, error) {
				v, _, err := Recv(ctx, ch)
				must(t, err)
				isErr(t, Sleep(ctx, time.Hour), ErrCancelled)
				return v, nil
			})
			pass(t, ctx, 2)
			ch <- 9 // taken at once by the goroutine of Recv; the task does not run yet
			k.Cancel()
			v, err := k.Await(ctx)
			if v != 9 || err != nil {
				t.Error(v, err)
			}
			return nil
		})
	})
	t.Run("outside of a task it blocks, in a callback it is refused", func(t *testing.T) {
		l, _ := newLoop(t)
		ch := make(chan int, 1)
		l.CallSoon(func() {
			_, _, err := Recv(l.Context(context.Background()), ch)
			isErr(t, err, ErrWouldBlock)
			isErr(t, WaitDone(context.Background()), ErrInvalidArgument)
		})
		runTurns(t, l, 1)
		over, end := context.WithCancel(context.Background())
		end()
		_, _, err := Recv(over, ch)
		isErr(t, err, ErrCancelled)
		isErr(t, WaitDone(over), ErrCancelled)
	})
}

func TestWaitDone(t *testing.T) {
	inTask(t, func(ctx context.Context, l *Loop) error {
		limit, stop := context.WithTimeout(ctx, time.Millisecond)
		defer stop()
		isErr(t, WaitDone(limit), ErrTimeout)
		k := Go(ctx, "waits", WaitDone)
		pass(t, ctx, 2)
		k.Cancel()
		_, err := k.Await(ctx)
		isErr(t, err, ErrCancelled)
		return nil
	})
}

func TestGo(t *testing.T) {
	inTask(t, func(ctx context.Context, l *Loop) error {
		_, err := Go(ctx, "fails", func(context.Context) error { return errBoom }).Await(ctx)
		isErr(t, err, errBoom)
		_, err = Go(ctx, "nil", nil).Await(ctx)
		isErr(t, err, ErrInvalidArgument)
		return nil
	})
}
