package subprocess_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// A server that is started again when it fails, after 1, 2, 4 … seconds, at most
// five times a minute.
func ExampleSupervision() {
	server := subprocess.Supervision{
		Strategy: actors.Strategy{
			Restart: actors.Transient, Intensity: 5, Period: time.Minute,
			Backoff: actors.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.2},
		},
		Start: func(ctx context.Context) (*subprocess.Process, error) {
			return subprocess.ExecProcess(ctx, []string{"my-server", "--port", "8080"}, subprocess.WithGroupKill())
		},
		OnEvent: func(e subprocess.Event) { fmt.Println(e.Kind, e.PID, e.Err) },
	}
	err := loopnode.Run(context.Background(), func(ctx context.Context) error { return server.Run(ctx) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
