package subprocess

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m, programs) }

// programs are started by the tests as children, besides those of testkit.
var programs = map[string]func(args []string){
	// relay runs "tell fds" in a child of its own, started here.
	"relay": func([]string) {
		inRun(func(ctx context.Context) error {
			p, err := ExecProcess(ctx, testkit.Program("tell", "fds"))
			if err != nil {
				return err
			}
			_, err = p.Wait(ctx)
			return err
		})
	},
	// mortal starts a child that is to die with it, says its number and hangs.
	"mortal": func([]string) {
		inRun(func(ctx context.Context) error {
			p, err := ExecProcess(ctx, testkit.Program("silent"), WithDeathSignal(syscall.SIGKILL))
			if err != nil {
				return err
			}
			fmt.Println(p.PID())
			_, err = p.Wait(ctx)
			return err
		})
	},
}

// inRun runs fn in a loop and prints why it failed.
func inRun(fn func(ctx context.Context) error) {
	if err := loopnode.Run(context.Background(), fn); err != nil {
		fmt.Println(err)
	}
}
