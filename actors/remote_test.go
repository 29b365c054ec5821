package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	pa "github.com/asynkron/protoactor-go/actor"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// link joins two systems by their routes, as package cluster does over a network.
func link(t *testing.T) (a, b *System, la, lb *goLoop) {
	a, b = system(t, quiet()), system(t, quiet())
	a.Identify("a", 1)
	b.Identify("b", 2)
	join := func(from, to *System) Route {
		return func(addr Address, msg any, sender Ref) error {
			if !to.isHere(addr) {
				return fmt.Errorf("%w: %s", ErrNodeDown, addr)
			}
			var back Ref
			if !sender.IsZero() {
				back = RefOf(from.Export(sender))
			}
			return to.Deliver(addr, msg, back, nil)
		}
	}
	a.RouteRemote(join(a, b))
	b.RouteRemote(join(b, a))
	watch := func(to *System) WatchRoute {
		return func(addr Address, ended func(error)) func() {
			return to.Watch(RefOf(Address{Path: addr.Path}), func(e Terminated) { ended(e.Reason) })
		}
	}
	a.RouteWatches(watch(b))
	b.RouteWatches(watch(a))
	return a, b, newGoLoop(t, "la"), newGoLoop(t, "lb")
}

func TestAskingAcrossNodes(t *testing.T) {
	a, b, _, lb := link(t)
	spawn(t, b, lb, "echo", func() Actor {
		return Func(func(ctx *Context) {
			switch ctx.Message() {
			case "boom":
				_ = ctx.ReplyError(errors.New("boom"))
			case "hello":
				_ = ctx.Reply("hello, " + ctx.Sender().Address().Node)
			}
		})
	})
	far := RefOf(Address{Node: "b", Incarnation: 2, Path: "echo"})
	v, err := a.Ask(context.Background(), far, "hello")
	if err != nil || v != "hello, a" {
		t.Fatal(v, err)
	}
	if _, err := a.Ask(context.Background(), far, "boom"); err == nil || err.Error() != "boom" {
		t.Fatal(err)
	}
	if _, err := a.Ask(context.Background(), RefOf(Address{Node: "b", Path: "nobody"}), "x"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if _, err := a.Ask(context.Background(), RefOf(Address{Node: "b", Incarnation: 1, Path: "echo"}), "x"); !errors.Is(err, ErrNodeDown) {
		t.Fatalf("another life of the node: %v", err)
	}
	if len(a.registered) != 0 {
		t.Fatalf("%d names of answered questions are kept", len(a.registered))
	}
}

func TestAnAskOfAnotherNodeHearsAtOnceThatNoAnswerWillCome(t *testing.T) {
	a, b, _, lb := link(t)
	spawn(t, b, lb, "brittle", func() Actor {
		return Func(func(ctx *Context) {
			switch ctx.Message() {
			case "panic":
				panic("broken")
			case "leave":
				ctx.End(errors.New("closing time"))
			}
		})
	}, WithLifetime(Transient))
	far := RefOf(Address{Node: "b", Path: "brittle"})
	var p *guard.Panic
	if _, err := a.Ask(context.Background(), far, "panic"); !errors.As(err, &p) {
		t.Fatalf("a panic in the handler: %v", err)
	}
	if _, err := a.Ask(context.Background(), far, "leave"); err == nil || err.Error() != "closing time" {
		t.Fatalf("the end of the one who was asked: %v", err)
	}
	if _, err := a.Ask(context.Background(), far, "anybody"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("End was followed by a new life: %v", err)
	}
}

func TestAnotherNodeCannotFillAMailbox(t *testing.T) {
	o := quiet()
	o.RemoteLimit = 3
	s, l := system(t, o), newHandLoop("l")
	s.Identify("me", 1)
	got := 0
	r := spawn(t, s, l, "slow", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "m" {
				got++
			}
		})
	})
	l.settle()
	here := s.Export(r)
	for range 3 {
		must(t, s.Deliver(here, "m", Ref{}, nil))
	}
	if err := s.Deliver(here, "m", Ref{}, nil); !errors.Is(err, ErrMailboxFull) {
		t.Fatal(err)
	}
	must(t, s.Send(r, "m")) // senders of this process are not counted out
	l.settle()
	if got != 4 {
		t.Fatalf("%d of 4 messages arrived", got)
	}
	must(t, s.Deliver(here, "m", Ref{}, nil))
	l.settle()
}

func TestWatchingAcrossNodes(t *testing.T) {
	a, b, la, lb := link(t)
	target := spawn(t, b, lb, "target", func() Actor { return (&book{}).child("target")() })
	far := RefOf(b.Export(target))
	ends := make(chan Terminated, 4)
	spawn(t, a, la, "watcher", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				ctx.Watch(far)
				ctx.Watch(RefOf(Address{Node: "b", Path: "nobody"}))
			case Terminated:
				ends <- m
			}
		})
	})
	if e := recv(t, ends, "the one who never was"); !errors.Is(e.Reason, ErrUnknown) {
		t.Fatal(e)
	}
	a.Watch(far, func(e Terminated) { ends <- e })
	quiet := a.Watch(far, func(Terminated) { t.Error("called after cancel") })
	quiet()
	must(t, a.Send(far, "end"))
	for range 2 {
		if e := recv(t, ends, "the end"); e.Who != far || e.Reason.Error() != "end" {
			t.Fatal(e)
		}
	}
	if len(a.registered) != 0 {
		t.Fatalf("%d names are kept", len(a.registered))
	}
}

func TestStoppingAcrossNodes(t *testing.T) {
	a, b, _, lb := link(t)
	r := spawn(t, b, lb, "x", func() Actor { return ponger{} })
	ends := make(chan Terminated, 1)
	b.Watch(r, func(e Terminated) { ends <- e })
	a.Stop(RefOf(b.Export(r)))
	recv(t, ends, "the end")
}

func TestWithoutARouteThereIsAnErrorAndADeadLetter(t *testing.T) {
	s := system(t, quiet())
	dead := s.DeadLetters(4)
	defer dead.Close()
	far := RefOf(Address{Node: "b", Path: "x"})
	if err := s.Send(far, "m"); !errors.Is(err, ErrNoRoute) {
		t.Fatal(err)
	}
	if d := <-dead.C(); d.To != far || d.Message != "m" || !errors.Is(d.Err, ErrNoRoute) {
		t.Fatal(d)
	}
	if err := s.Deliver(Address{Node: "b", Path: "x"}, "m", Ref{}, nil); !errors.Is(err, ErrNoRoute) {
		t.Fatal(err)
	}
	told := make(chan Terminated, 1)
	s.Watch(far, func(e Terminated) { told <- e })
	if e := recv(t, told, "the refusal"); !errors.Is(e.Reason, ErrNoRoute) {
		t.Fatal(e)
	}
	s.RouteRemote(func(Address, any, Ref) error { return nil })
	must(t, s.Send(far, "m"))
	s.RouteRemote(nil)
	if err := s.Send(far, "m"); !errors.Is(err, ErrNoRoute) {
		t.Fatal(err)
	}
}

func TestWhatProtoactorItselfSendsElsewhereTakesTheSameRoute(t *testing.T) {
	s := system(t, quiet())
	got := make(chan string, 4)
	s.RouteRemote(func(to Address, msg any, _ Ref) error {
		got <- fmt.Sprintf("%s %v", to, msg)
		return nil
	})
	pid := pa.NewPID("b@7", "x")
	s.core().Root.Send(pid, "m")
	s.core().Root.Stop(pid)
	if a, b := <-got, <-got; a != "b@7/x m" || b != "b@7/x {}" {
		t.Fatal(a, b)
	}
	process, _ := s.core().ProcessRegistry.Get(pid)
	process.SendSystemMessage(pid, &pa.Watch{}) // refused: protoactor's life cycle stays here
	if s.DeadLetterCount() != 1 {
		t.Fatal(s.DeadLetterCount())
	}
}

func TestOwnAddressesAreLocal(t *testing.T) {
	l, s := onHand(t)
	s.Identify("me", 3)
	r := spawn(t, s, l, "x", func() Actor { return ponger{} })
	for _, a := range []Address{{Path: "x"}, {Node: "me", Path: "x"}, {Node: "me", Incarnation: 3, Path: "x"}} {
		if s.Ref(a) != r {
			t.Errorf("%s is not the actor", a)
		}
	}
	if s.Ref(Address{Node: "me", Incarnation: 2, Path: "x"}) == r {
		t.Error("an older life of this node is not this one")
	}
	if a := s.Export(r); a.String() != "me@3/x" {
		t.Error(a)
	}
}

func TestTheDefaultSystemIsOne(t *testing.T) {
	var wg sync.WaitGroup
	first := Default()
	for range 4 {
		wg.Go(func() {
			if s := Default(); s != first {
				t.Error("two systems")
			}
		})
	}
	wg.Wait()
}
