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

func TestATransportIsAnActor(t *testing.T) {
	within(t, func(ctx context.Context, here, there *probe) error {
		sys := here.t.Loop().Actors()
		actor := here.t.Ref().Actor()
		if a := actor.Address(); a != here.t.Ref().Address() {
			return fmt.Errorf("the actor is at %s", a)
		}
		ends := make(chan actors.Terminated, 2)
		sys.Watch(actor, func(e actors.Terminated) { ends <- e })
		_, err := aside(ctx, func() (any, error) {
			v, err := sys.Ask(ctx, actor, WriteRequest{[]byte("by message")})
			if err == nil && v != any(Accepted{}) {
				err = fmt.Errorf("the answer is %v", v)
			}
			if _, e := sys.Ask(ctx, actor, "nonsense"); !errors.Is(e, loopnode.ErrInvalidArgument) {
				err = errors.Join(err, fmt.Errorf("a message that it does not know: %v", e))
			}
			return v, errors.Join(err, sys.Send(actor, CloseRequest{}))
		})
		if err != nil {
			return err
		}
		if err := errors.Join(here.wait(ctx), there.wait(ctx)); err != nil {
			return err
		}
		if string(there.data) != "by message" {
			return fmt.Errorf("got %q", there.data)
		}
		e, err := aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		if err != nil || e.Who != actor || !errors.Is(e.Reason, actors.ErrStopped) {
			return fmt.Errorf("%v, %v", e, err)
		}
		_, err = aside(ctx, func() (any, error) { return sys.Ask(ctx, actor, WriteRequest{}) })
		if !errors.Is(err, actors.ErrStopped) {
			return fmt.Errorf("a write after the end: %v", err)
		}
		return nil
	})
}

func TestWhoWatchesATransportHearsWhyItWasLost(t *testing.T) {
	within(t, func(ctx context.Context, here, there *probe) error {
		ends := make(chan actors.Terminated, 1)
		here.t.Loop().Actors().Watch(here.t.Ref().Actor(), func(e actors.Terminated) { ends <- e })
		if err := errors.Join(there.t.PauseReading(), here.t.Write([]byte("never read"))); err != nil {
			return err
		}
		there.t.Abort() // unread input makes it a reset
		e, err := aside(ctx, func() (actors.Terminated, error) { return <-ends, nil })
		if err != nil || !errors.Is(e.Reason, syscall.ECONNRESET) {
			return fmt.Errorf("%v, %v", e.Reason, err)
		}
		return nil
	})
}

func TestStoppingTheActorClosesTheTransport(t *testing.T) {
	within(t, func(ctx context.Context, here, there *probe) error {
		actor := here.t.Ref().Actor()
		if err := here.t.Write([]byte("last words")); err != nil {
			return err
		}
		here.t.Loop().Actors().Stop(actor)
		if err := errors.Join(here.wait(ctx), there.wait(ctx)); err != nil {
			return err
		}
		if string(there.data) != "last words" || here.reason != nil {
			return fmt.Errorf("%q, %v", there.data, here.reason)
		}
		return nil
	})
}
