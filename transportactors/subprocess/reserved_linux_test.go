package subprocess

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// TestStartBesideABusyPool: users' functions that all wait, for a child even, do
// not keep that child from being started.
func TestStartBesideABusyPool(t *testing.T) {
	gate := make(chan struct{})
	ctx, stop := context.WithTimeout(context.Background(), testkit.Patience)
	defer stop()
	testkit.Must(t, loopnode.Run(ctx, func(ctx context.Context) error {
		defer close(gate)
		for range 3 {
			loopnode.RunInExecutor(ctx, nil, func() (int, error) { <-gate; return 0, nil })
		}
		return loopnode.Timeout(ctx, 20*time.Second, func(ctx context.Context) error {
			p, err := ExecProcess(ctx, testkit.Program("exit", "3"))
			if err != nil {
				return err
			}
			if code, err := p.Wait(ctx); code != 3 {
				t.Error(code, err)
			}
			return nil
		})
	}, loopnode.WithConfig(loopnode.Config{MaxWorkers: 1, Logger: hclog.NewNullLogger()})))
}
