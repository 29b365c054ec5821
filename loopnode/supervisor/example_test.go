package supervisor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/supervisor"
)

// A loop that gets a new life when it fails.
func ExampleStart() {
	lives, ended := make(chan int, 2), errors.New("told to end")
	s, err := supervisor.Start(supervisor.Config{
		Name:   "example-gate",
		Policy: &loopnode.DefaultPolicy{Config: loopnode.Config{Logger: hclog.NewNullLogger()}},
		Setup: func(ctx context.Context, life *supervisor.Life) error {
			lives <- life.Number()
			if life.Number() == 1 {
				return ended // a Setup that fails is a failure of the loop
			}
			fmt.Println("before:", errors.Is(life.Reason(), ended))
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-lives, <-lives)
	fmt.Println(s.Stop(context.Background()), s.Lives())
	// Unordered output:
	// before: true
	// 1 2
	// <nil> 2
}
