package loopnode

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

func TestALoopIsAnActor(t *testing.T) {
	sys, err := actors.New(actors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, _ := newLoop(t, quiet, func(c *Config) { c.Name, c.Actors = "self", sys })
	self, err := l.Ref().Actor()
	must(t, err)
	if a := self.Address(); a != l.Ref().Address() {
		t.Fatalf("the actor is at %s, the loop at %s", a, l.Ref().Address())
	}
	if again, err := l.Ref().Actor(); err != nil || again != self {
		t.Fatalf("another actor: %s, %v", again, err)
	}
	ends := make(chan actors.Terminated, 2)
	sys.Watch(self, func(e actors.Terminated) { ends <- e })
	ran, answered := false, make(chan error, 1)
	// goroutine: owner: the test; ends when the loop has answered
	go func() {
		v, err := sys.Ask(context.Background(), self, func() { ran = true })
		if err == nil && v != any(Called{}) {
			err = errors.New("another answer")
		}
		if _, e := sys.Ask(context.Background(), self, "nonsense"); !errors.Is(e, ErrInvalidArgument) {
			err = errors.Join(err, e, errors.New("a message that it does not know is not answered so"))
		}
		sys.Stop(self)
		answered <- err
	}()
	must(t, l.RunForever()) // until Stop
	must(t, <-answered)
	if !ran {
		t.Fatal("the function did not run")
	}
	if e := <-ends; e.Who != self || !errors.Is(e.Reason, actors.ErrStopped) {
		t.Fatal(e)
	}
	must(t, l.Close())
	must(t, sys.Shutdown(context.Background()))
}

func TestWhoWatchesALoopHearsWhyItClosed(t *testing.T) {
	sys, err := actors.New(actors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, _ := newLoop(t, quiet, func(c *Config) { c.Name, c.Actors = "self", sys })
	self, err := l.Ref().Actor()
	must(t, err)
	ends := make(chan actors.Terminated, 1)
	sys.Watch(self, func(e actors.Terminated) { ends <- e })
	runTurns(t, l, 3)
	why := errors.New("the lights went out")
	must(t, l.CloseWith(why))
	if e := <-ends; !errors.Is(e.Reason, why) || !errors.Is(e.Reason, actors.ErrLoopDied) {
		t.Fatal(e)
	}
	if _, err := sys.Ask(context.Background(), self, func() {}); !errors.Is(err, actors.ErrLoopDied) {
		t.Fatal(err)
	}
}

func TestAFunctionSentToALoopEndsOnlyItself(t *testing.T) {
	sys, err := actors.New(actors.Options{})
	must(t, err)
	l, log := newLoop(t, quiet, func(c *Config) { c.Name, c.Actors = "self", sys })
	self, err := l.Ref().Actor()
	must(t, err)
	type answer struct {
		v   any
		err error
	}
	answers := make(chan answer, 3)
	// goroutine: owner: the test; ends when the loop has answered
	go func() {
		limit, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		for _, fn := range []func(){func() { panic("boom") }, runtime.Goexit, func() {}} {
			v, err := sys.Ask(limit, self, fn)
			answers <- answer{v, err}
		}
		sys.Stop(self)
	}()
	must(t, l.RunForever())
	if a := <-answers; a.err == nil || !strings.Contains(a.err.Error(), "boom") {
		t.Error("after a panic:", a)
	}
	if a := <-answers; a.err == nil {
		t.Error("after Goexit:", a)
	}
	if a := <-answers; a.err != nil || a.v != any(Called{}) {
		t.Error("the actor does not go on:", a)
	}
	if !strings.Contains(log.String(), "Exception in function sent to the loop") {
		t.Error(log)
	}
	must(t, l.Close())
	must(t, sys.Shutdown(context.Background()))
}
