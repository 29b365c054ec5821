package subprocess

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestIgnoredSignals(t *testing.T) {
	const suicide = "kill -USR2 $$; exit 7"
	end := func(ctx context.Context, want int) {
		t.Helper()
		p, err := ShellProcess(ctx, suicide)
		testkit.Must(t, err)
		if code, err := p.Wait(ctx); code != want || err != nil {
			t.Errorf("the child ended with %d, %v; want %d", code, err, want)
		}
	}
	testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		defer signal.Reset(syscall.SIGUSR2)
		end(ctx, -int(syscall.SIGUSR2))
		signal.Ignore(syscall.SIGUSR2)
		end(ctx, 7) // an ignored signal stays ignored
		handled := make(chan os.Signal, 1)
		signal.Notify(handled, syscall.SIGUSR2)
		end(ctx, -int(syscall.SIGUSR2))
		signal.Stop(handled)
		return nil
	})
}
