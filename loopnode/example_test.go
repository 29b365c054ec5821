package loopnode_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// A program of its own: Run makes the loop, and ends everything when main has.
func ExampleRun() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		quick := loopnode.CreateTask(ctx, "quick", func(ctx context.Context) (string, error) {
			return "quick is done", loopnode.Sleep(ctx, time.Millisecond)
		})
		fmt.Println("main waits")
		fmt.Println(quick.Await(ctx))
		return nil
	})
	fmt.Println(err)
	// Output:
	// main waits
	// quick is done <nil>
	// <nil>
}

// An end in good order: main is cancelled once, and the waits after that are not. A
// program makes ctx with signal.NotifyContext, for SIGTERM.
func ExampleRun_end() {
	ctx, stop := context.WithCancel(context.Background())
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		stop()
		fmt.Println("cancelled:", errors.Is(loopnode.WaitDone(ctx), loopnode.ErrCancelled))
		return loopnode.Timeout(ctx, time.Second, func(ctx context.Context) error {
			defer fmt.Println("all is let go")
			return loopnode.Sleep(ctx, time.Millisecond)
		})
	})
	fmt.Println(err)
	// Output:
	// cancelled: true
	// all is let go
	// <nil>
}

// A loop by hand: callbacks run in the order of the calls, a turn later.
func ExampleNew() {
	loop, err := loopnode.New(loopnode.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	loop.CallSoon(func() {
		loop.CallSoon(func() {
			fmt.Println("the next turn")
			loop.CallLater(time.Millisecond, func() { fmt.Println("timer"); loop.Stop() })
		})
		fmt.Println("first")
	})
	loop.CallSoon(func() { fmt.Println("second") })
	fmt.Println("nothing has run yet")
	fmt.Println(loop.RunForever())
	// Output:
	// nothing has run yet
	// first
	// second
	// the next turn
	// timer
	// <nil>
}

// A future joins code that is called with code that waits.
func ExampleNewFuture() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		answer := loopnode.NewFuture[int](loop)
		answer.AddDoneCallback(func(f *loopnode.Future[int]) { fmt.Println("done:", f.Done()) })
		loop.CallSoon(func() { _ = answer.SetResult(42) })
		fmt.Println(answer.Await(ctx))
		return nil
	})
	// Output:
	// done: true
	// 42 <nil>
}

// Another goroutine talks to a loop through its Ref.
func ExampleRef_CallSoonThreadsafe() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		ref, all := loop.Ref(), loopnode.NewFuture[int](loop)
		counter := 0 // the loop's alone: no lock
		for range 10 {
			go func() {
				_ = ref.CallSoonThreadsafe(func() {
					if counter++; counter == 10 {
						_ = all.SetResult(counter)
					}
				})
			}()
		}
		fmt.Println(all.Await(ctx))
		return nil
	})
	// Output: 10 <nil>
}

// A task hears of its cancellation at its next wait, and may clean up.
func ExampleCreateTask() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		task := loopnode.CreateTask(ctx, "patient", func(ctx context.Context) (int, error) {
			err := loopnode.Sleep(ctx, time.Hour)
			fmt.Println("woken:", err)
			return 0, err
		})
		if err := loopnode.Sleep(ctx, 0); err != nil { // one turn: the task starts
			return err
		}
		task.Cancel("enough")
		_, err := task.Await(ctx)
		fmt.Println(errors.Is(err, loopnode.ErrCancelled), task.Cancelled())
		return nil
	})
	// Output:
	// woken: cancelled: enough
	// true true
}

// Results come in the order of the arguments, whoever was first.
func ExampleGather() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		after := func(d time.Duration) *loopnode.Task[string] {
			return loopnode.CreateTask(ctx, "", func(ctx context.Context) (string, error) {
				return d.String(), loopnode.Sleep(ctx, d)
			})
		}
		fmt.Println(loopnode.Gather(ctx, after(3*time.Millisecond), after(time.Millisecond)))
		return nil
	})
	// Output: [3ms 1ms] <nil>
}

// One task fails, the others are cancelled, and all have ended afterwards.
func ExampleWithTaskGroup() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		err := loopnode.WithTaskGroup(ctx, func(ctx context.Context, g *loopnode.TaskGroup) error {
			g.Go("long", func(ctx context.Context) error {
				err := loopnode.Sleep(ctx, time.Hour)
				fmt.Println("long:", errors.Is(err, loopnode.ErrCancelled))
				return err
			})
			g.Go("bad", func(context.Context) error { return errors.New("no disk") })
			return nil
		})
		var group *loopnode.GroupError
		if errors.As(err, &group) {
			fmt.Println(group.Errs)
		}
		return nil
	})
	// Output:
	// long: true
	// [no disk]
}

// A time limit for everything inside.
func ExampleTimeout() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		err := loopnode.Timeout(ctx, time.Millisecond, func(ctx context.Context) error {
			return loopnode.Sleep(ctx, time.Hour)
		})
		fmt.Println(errors.Is(err, loopnode.ErrTimeout), errors.Is(err, loopnode.ErrCancelled))
		return nil
	})
	// Output: true false
}

// What blocks goes to the executor, and the loop goes on meanwhile.
func ExampleRunInExecutor() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		sum := loopnode.RunInExecutor(ctx, nil, func() (int, error) { return 1 + 2, nil })
		fmt.Println(sum.Await(ctx))
		return nil
	})
	// Output: 3 <nil>
}

// A panic comes out of Await as a *Panic, with its stack.
func ExamplePanic() {
	_ = loopnode.Run(context.Background(), func(ctx context.Context) error {
		task := loopnode.CreateTask(ctx, "", func(context.Context) (int, error) { panic("no such shelf") })
		_, err := task.Await(ctx)
		var p *loopnode.Panic
		fmt.Println(err, errors.As(err, &p), p != nil && len(p.Stack) > 0)
		return nil
	})
	// Output: panic: no such shelf true true
}
