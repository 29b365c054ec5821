package tasksync_test

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
)

// A queue hands items from task to task; Join waits until all of them are done.
func ExampleNewQueue() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		jobs := tasksync.NewQueue[string](1)
		worker := loopnode.Go(ctx, "worker", func(ctx context.Context) error {
			for {
				job, err := jobs.Get(ctx)
				if err != nil {
					return err
				}
				fmt.Println("does", job)
				if err := jobs.TaskDone(); err != nil {
					return err
				}
			}
		})
		for _, job := range []string{"one", "two", "three"} {
			if err := jobs.Put(ctx, job); err != nil { // waits while the queue is full
				return err
			}
		}
		err := jobs.Join(ctx)
		worker.Cancel()
		return err
	})
	fmt.Println(err)
	// Output:
	// does one
	// does two
	// does three
	// <nil>
}

// A semaphore limits how many tasks are in a place at a time.
func ExampleNewSemaphore() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		places, err := tasksync.NewSemaphore(2)
		if err != nil {
			return err
		}
		inside, most := 0, 0
		err = loopnode.WithTaskGroup(ctx, func(_ context.Context, g *loopnode.TaskGroup) error {
			for range 5 {
				g.Go("", func(ctx context.Context) error {
					if err := places.Acquire(ctx); err != nil {
						return err
					}
					inside++
					most = max(most, inside)
					err := loopnode.Sleep(ctx, 0)
					inside--
					if err != nil {
						return err
					}
					return places.Release()
				})
			}
			return nil
		})
		fmt.Println("at most", most)
		return err
	})
	fmt.Println(err)
	// Output:
	// at most 2
	// <nil>
}

// The zero value of a Lock is an open lock.
func ExampleLock() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		var lock tasksync.Lock
		if err := lock.Acquire(ctx); err != nil {
			return err
		}
		fmt.Println("locked:", lock.Locked())
		return lock.Release()
	})
	fmt.Println(err)
	// Output:
	// locked: true
	// <nil>
}
