package transportactors

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestAChildIsAnActor(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		tr, p, err := execProbe(ctx, program("cat"))
		must(t, err)
		sys, actor := tr.Loop().Actors(), tr.Actor()
		ends := make(chan actors.Terminated, 1)
		sys.Watch(actor, func(e actors.Terminated) { ends <- e })
		_, err = aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, WriteRequest{[]byte("by message")}) })
		must(t, err)
		must(t, p.until(ctx, 1, "by message"))
		_, err = aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, SignalRequest{99}) })
		if !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error(err)
		}
		_, err = aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, SignalRequest{int(syscall.SIGKILL)}) })
		must(t, err)
		e, err := aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		must(t, err)
		var exit *ExitError
		if e.Who != actor || !errors.As(e.Reason, &exit) || exit.Code != -9 || exit.Pid != tr.Pid() {
			return fmt.Errorf("%v", e.Reason)
		}
		must(t, p.wait(ctx))

		tr, p, err = execProbe(ctx, program("cat"))
		must(t, err)
		sys.Stop(tr.Actor())
		must(t, p.wait(ctx))
		if code, _ := tr.Returncode(); code != -9 {
			t.Error("stopping the actor did not end the child", code)
		}
		tr, p, err = execProbe(ctx, program("exit", "0"))
		must(t, err)
		must(t, p.wait(ctx))
		sys.Watch(tr.Actor(), func(e actors.Terminated) { ends <- e })
		e, err = aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		if err != nil || !(errors.Is(e.Reason, actors.ErrStopped) || errors.Is(e.Reason, actors.ErrUnknown)) {
			t.Error(e.Reason, err)
		}
		return nil
	})
}
