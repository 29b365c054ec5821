package transportactors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

func TestStartFactoryExits(t *testing.T) {
	starts := map[string]func(ctx context.Context) error{
		"CreateDatagramEndpoint": func(ctx context.Context) error {
			_, _, err := CreateDatagramEndpoint(ctx, func() *catcher { runtime.Goexit(); return nil }, "udp4", "127.0.0.1:0", "")
			return err
		},
		"ConnectReadPipe": func(ctx context.Context) error {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			defer r.Close()
			defer w.Close()
			_, _, err = ConnectReadPipe(ctx, func() *probe { runtime.Goexit(); return nil }, r)
			return err
		},
	}
	for name, start := range starts {
		t.Run(name+" leaves nothing behind when the factory calls runtime.Goexit", func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				l, _ := loopnode.Running(ctx)
				if _, err := aside(ctx, func() (int, error) { return 0, nil }); err != nil {
					return err
				}
				before := descriptors()
				_, err := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, start(ctx) }).Await(ctx)
				if !errors.Is(err, loopnode.ErrGoexit) {
					return fmt.Errorf("the task ended with %v", err)
				}
				if err := until(ctx, func() bool { return len(base.Members[any](l)) == 0 }); err != nil {
					return fmt.Errorf("something still lives on the loop: %w", err)
				}
				if after := descriptors(); after > before {
					return fmt.Errorf("%d descriptors before, %d after", before, after)
				}
				return nil
			})
		})
	}
}
