package subprocess

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestAChildIsAnActor(t *testing.T) {
	testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		tr, p, err := execProbe(ctx, testkit.Program("cat"))
		testkit.Must(t, err)
		sys, actor := tr.Loop().Actors(), tr.Actor()
		ends := make(chan actors.Terminated, 1)
		sys.Watch(actor, func(e actors.Terminated) { ends <- e })
		_, err = testkit.Aside(ctx, func() (any, error) {
			return sys.Ask(ctx, actor, transportactors.WriteRequest{Data: []byte("by message")})
		})
		testkit.Must(t, err)
		testkit.Must(t, p.until(ctx, 1, "by message"))
		_, err = testkit.Aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, SignalRequest{99}) })
		if !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error(err)
		}
		_, err = testkit.Aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, "nonsense") })
		if !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error("a message that it does not know:", err)
		}
		_, err = testkit.Aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, SignalRequest{int(syscall.SIGKILL)}) })
		testkit.Must(t, err)
		e, err := testkit.Aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		testkit.Must(t, err)
		var exit *ExitError
		if e.Who != actor || !errors.As(e.Reason, &exit) || exit.Code != -9 || exit.PID != tr.PID() {
			return fmt.Errorf("%v", e.Reason)
		}
		testkit.Must(t, p.wait(ctx))

		tr, p, err = execProbe(ctx, testkit.Program("cat"))
		testkit.Must(t, err)
		sys.Stop(tr.Actor())
		testkit.Must(t, p.wait(ctx))
		if code, _ := tr.Returncode(); code != -9 {
			t.Error("stopping the actor did not end the child", code)
		}
		tr, p, err = execProbe(ctx, testkit.Program("exit", "0"))
		testkit.Must(t, err)
		testkit.Must(t, p.wait(ctx))
		sys.Watch(tr.Actor(), func(e actors.Terminated) { ends <- e })
		e, err = testkit.Aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		if err != nil || !(errors.Is(e.Reason, actors.ErrStopped) || errors.Is(e.Reason, actors.ErrUnknown)) {
			t.Error(e.Reason, err)
		}
		return nil
	})
}
