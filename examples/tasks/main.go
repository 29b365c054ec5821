// Command tasks shows tasks, a timer and a cancellation on one loop.
//
//	go run ./examples/tasks
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func main() {
	show := func(ctx context.Context) error { return run(ctx, os.Stdout) }
	if err := loopnode.Run(context.Background(), show); err != nil {
		fmt.Fprintln(os.Stderr, "tasks:", err)
		os.Exit(1)
	}
}

// run is the main task. It never blocks the loop: each wait takes ctx and lets
// other tasks and callbacks run meanwhile.
func run(ctx context.Context, out io.Writer) error {
	loop, err := loopnode.Running(ctx)
	if err != nil {
		return err
	}
	loop.CallLater(15*time.Millisecond, func() { fmt.Fprintln(out, "a timer, between the two") })
	work := func(name string, d time.Duration) *loopnode.Task[string] {
		return loopnode.CreateTask(ctx, name, func(ctx context.Context) (string, error) {
			return name + " is done", loopnode.Sleep(ctx, d)
		})
	}
	slow, quick := work("slow", 60*time.Millisecond), work("quick", time.Millisecond)
	for _, task := range []*loopnode.Task[string]{quick, slow} {
		text, err := task.Await(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, text)
	}
	return cancelled(ctx, out)
}

// cancelled shows that a task can clean up when it is cancelled.
func cancelled(ctx context.Context, out io.Writer) error {
	forever := loopnode.CreateTask(ctx, "forever", func(ctx context.Context) (string, error) {
		err := loopnode.Sleep(ctx, time.Hour)
		fmt.Fprintln(out, "forever cleans up")
		return "", err
	})
	if err := loopnode.Sleep(ctx, 0); err != nil { // let it start
		return err
	}
	forever.Cancel("enough")
	_, err := forever.Await(ctx)
	if !errors.Is(err, loopnode.ErrCancelled) {
		return fmt.Errorf("the task ended with %v", err)
	}
	fmt.Fprintln(out, "forever was", err)
	return nil
}
