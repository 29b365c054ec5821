package loopnode_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// A generator makes values one at a time and may wait in between. Leaving the range
// closes it: yield returns ErrGeneratorExit and the body cleans up.
func ExampleNewGenerator() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		ticks := loopnode.NewGenerator(func(ctx context.Context, yield func(int) error) error {
			for i := 1; ; i++ {
				if err := loopnode.Sleep(ctx, time.Millisecond); err != nil {
					return err
				}
				if err := yield(i); err != nil {
					fmt.Println("closed:", errors.Is(err, loopnode.ErrGeneratorExit))
					return err
				}
			}
		})
		for tick, err := range ticks.All(ctx) {
			if err != nil {
				return err
			}
			fmt.Println("tick", tick)
			if tick == 2 {
				break
			}
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// tick 1
	// tick 2
	// closed: true
	// <nil>
}

// Gather takes awaitables of one type; Any gives those of others, also of another
// gather.
func ExampleFuture_Any() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		size := loopnode.CreateTask(ctx, "", func(context.Context) (int, error) { return 42, nil })
		name := loopnode.CreateTask(ctx, "", func(context.Context) (string, error) { return "answer", nil })
		more := loopnode.GatherFuture(ctx, size, size)
		all, err := loopnode.Gather(ctx, size.Any(), name.Any(), more.Any())
		fmt.Println(all...)
		return err
	})
	fmt.Println(err)
	// Output:
	// 42 answer [42 42]
	// <nil>
}

// ToThread runs code that blocks on the executor; Recv and WaitDone wait for channels
// and contexts without blocking the loop.
func ExampleRecv() {
	results := make(chan string, 1)
	go func() { results <- "from a goroutine" }() // ends when it has sent
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		v, ok, err := loopnode.Recv(ctx, results)
		fmt.Println(v, ok)
		return err
	})
	fmt.Println(err)
	// Output:
	// from a goroutine true
	// <nil>
}
