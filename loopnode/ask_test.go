package loopnode

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

func TestATaskAsksAnActorOfItsOwnLoop(t *testing.T) {
	err := Run(context.Background(), func(ctx context.Context) error {
		l, err := Running(ctx)
		if err != nil {
			return err
		}
		sys := l.Actors()
		mute := make(chan struct{})
		ref, err := sys.Spawn(l, "", func() actors.Actor {
			return actors.Func(func(c *actors.Context) {
				switch c.Message() {
				case "hello":
					_ = c.Reply("world")
				case "mute":
					close(mute)
				}
			})
		})
		if err != nil {
			return err
		}
		defer sys.Stop(ref)
		if v, err := Ask(ctx, sys, ref, "hello"); v != "world" || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		if _, err := sys.Ask(ctx, ref, "hello"); !errors.Is(err, actors.ErrWouldBlock) {
			t.Errorf("System.Ask on the loop: %v", err)
		}
		if err := sys.Shutdown(ctx); !errors.Is(err, actors.ErrWouldBlock) {
			t.Errorf("Shutdown on the loop: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := Ask(short, sys, ref, "mute"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an actor that does not answer: %v", err)
		}
		<-mute // it came before the deadline
		for _, i := range sys.Actors() {
			if i.Ref == ref && i.Asks != 0 {
				t.Errorf("%d given up Asks are kept", i.Asks)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
