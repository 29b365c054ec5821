package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/coro"
)

func TestShutdownBesideSpawnLeavesNobodyAlive(t *testing.T) {
	for range 50 {
		s := system(t, quiet())
		loops := []*goLoop{newGoLoop(t, "a"), newGoLoop(t, "b")}
		begun, done := make(chan struct{}), make(chan struct{})
		// goroutine: owner: the test; ends when the system refuses to spawn.
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				if _, err := s.Spawn(loops[i%2], "", func() Actor { return ponger{} }); err != nil {
					return
				}
				if i == 3 {
					close(begun)
				}
			}
		}()
		<-begun
		must(t, s.Shutdown(t.Context()))
		<-done
	}
}

func TestAnActorThatIsPublishedWhileTheSystemClosesEnds(t *testing.T) {
	l, s := onHand(t)
	c, err := s.reserve(l, nil, "a", func() Actor { return ponger{} }, spawnOptions{})
	must(t, err)
	if tops := s.beginShutdown(); len(tops) != 0 {
		t.Fatal("a reserved name was found")
	}
	must(t, s.start(c))
	l.settle()
	recv(t, s.drained, "the end of the actor")
}

func TestAnAskTakenByALifeThatFailsIsAnswered(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "boom" {
				panic("boom")
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Backoff: Backoff{Min: time.Hour}}))
	var got error
	s.AskFunc(r, "never answered", func(_ any, err error) { got = err })
	must(t, s.Send(r, "boom"))
	l.settle() // the back-off of an hour has begun
	var p *Panic
	if !errors.As(got, &p) {
		t.Fatalf("%v", got)
	}
	if n := s.Actors()[0].Asks; n != 0 {
		t.Fatalf("%d Asks are kept", n)
	}
}

func TestAForwardedAskDoesNotEndWithTheForwarder(t *testing.T) {
	l, s := onHand(t)
	back := spawn(t, s, l, "back", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "q" {
				from := ctx.Sender()
				ctx.After(time.Second, func() { _ = ctx.Send(from, "answer") })
			}
		})
	})
	front := spawn(t, s, l, "front", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "q" {
				must(t, ctx.Forward(back))
				ctx.Exit(nil)
			}
		})
	})
	got := ""
	s.AskFunc(front, "q", func(v any, err error) { got = fmt.Sprintf("%v %v", v, err) })
	l.settle()
	l.advance(time.Second)
	if got != "answer <nil>" {
		t.Fatal(got)
	}
}

// heap is the live memory in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestEndedActorsReleaseTheirTimersAndAsks(t *testing.T) {
	const n, size = 100_000, 1 << 10
	l, s := onHand(t)
	mute := spawn(t, s, l, "mute", func() Actor { return Func(func(*Context) {}) })
	l.settle()
	before := heap()
	for range n / 100 {
		for range 100 {
			r := spawn(t, s, l, "", func() Actor {
				return Func(func(ctx *Context) {
					if is[Started](ctx) {
						kept := make([]byte, size)
						ctx.After(time.Hour, func() { kept[0]++ })
						ctx.Ask(mute, "q", time.Hour, func(any, error) { kept[1]++ })
					}
				})
			})
			s.Stop(r)
		}
		l.settle()
	}
	if kept := heap() - before; kept > 16<<20 {
		t.Fatalf("%d MiB are kept for actors that have ended", kept>>20)
	}
	if len(l.timers) != 0 {
		t.Fatalf("%d timers are left", len(l.timers))
	}
	if n := mute.at.(*cell).info().Asks; n != 0 {
		t.Fatalf("%d Asks are kept by the actor that was asked", n)
	}
	runtime.KeepAlive(s)
}

// turns runs turns whose goroutine may end in one.
func turns(l *handLoop) {
	for range 20 {
		exitTurn(l)
	}
}

// onItsOwn runs fn on a goroutine that fn may end.
func onItsOwn(fn func()) {
	done := make(chan struct{})
	// goroutine: owner: the caller; ends with fn.
	go func() {
		defer close(done)
		fn()
	}()
	<-done
}

func TestGoexitInAStoppingHookWhileTheLoopClosesLosesNobody(t *testing.T) {
	for _, where := range []string{"Stopping", "Stopped"} {
		t.Run(where, func(t *testing.T) {
			l, s := onHand(t)
			ends := 0
			for i := range 4 {
				r := spawn(t, s, l, fmt.Sprint("a", i), func() Actor {
					return Func(func(ctx *Context) {
						if name(ctx.Message()) == where {
							runtime.Goexit()
						}
					})
				})
				s.Watch(r, func(Terminated) { ends++ })
			}
			l.settle()
			l.close()
			onItsOwn(func() { s.LoopClosed(l) })
			if ends != 4 {
				t.Fatalf("%d of 4 watchers were told", ends)
			}
			must(t, s.Shutdown(t.Context()))
		})
	}
}

func TestGoexitInAWatchCallbackKeepsNobodyFromHearing(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	heard := 0
	for range 3 {
		s.Watch(r, func(Terminated) { heard++; runtime.Goexit() })
	}
	l.settle()
	s.Stop(r)
	turns(l)
	if heard != 3 {
		t.Fatalf("%d of 3 watchers were told", heard)
	}
	must(t, s.Shutdown(t.Context()))
}

func TestGoexitInACallbackOfANodesEndKeepsNobodyFromHearing(t *testing.T) {
	s := system(t, quiet())
	s.RouteRemote(func(Address, any, Ref) error { return nil })
	heard := 0
	for i := range 3 {
		s.AskFunc(RefOf(Address{Node: "b", Path: fmt.Sprint(i)}), "q", func(any, error) { heard++; runtime.Goexit() })
	}
	onItsOwn(func() { s.NodeDown("b", 0) })
	if heard != 3 {
		t.Fatalf("%d of 3 who asked were told", heard)
	}
}

func TestGoexitInATerminatedHandlerLosesNoMessage(t *testing.T) {
	l, s := onHand(t)
	x := spawn(t, s, l, "x", func() Actor { return ponger{} })
	var b book
	var self *Context
	w := spawn(t, s, l, "w", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				self = ctx
				ctx.Watch(x)
			case Terminated:
				runtime.Goexit()
			case string:
				b.add("%s", m)
			}
		})
	}, WithStrategy(Strategy{Decide: func(Failure) Directive { return Resume }}))
	l.settle()
	must(t, self.Send(w, "local"))
	s.Stop(x)
	w.at.(*cell).postSystem(&watchEnd{w.at.(*cell).watching[x], ErrStopped}) // handled ahead of the message
	turns(l)
	must(t, self.Send(w, "next"))
	turns(l)
	b.want(t, "local", "next")
}

func TestGoexitInDecideStopsTheActor(t *testing.T) {
	l, s := onHand(t)
	var why error
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "boom" {
				panic("boom")
			}
		})
	}, WithStrategy(Strategy{Decide: func(Failure) Directive { runtime.Goexit(); return Resume }}))
	s.Watch(r, func(e Terminated) { why = e.Reason })
	must(t, s.Send(r, "boom"))
	turns(l)
	if !errors.Is(why, ErrGoexit) {
		t.Fatalf("the actor is suspended for ever, or ended with %v", why)
	}
}

func TestALimitedMailboxRefuses(t *testing.T) {
	l, s := onHand(t)
	got := 0
	r := spawn(t, s, l, "slow", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "m" {
				got++
			}
		})
	}, WithMailboxLimit(3))
	var self *Context
	spawn(t, s, l, "near", func() Actor { return Func(func(ctx *Context) { self = ctx }) })
	l.settle()
	must(t, s.Send(r, "m"))
	must(t, self.Send(r, "m"))
	must(t, self.Send(r, "m"))
	if err := s.Send(r, "m"); !errors.Is(err, ErrMailboxFull) {
		t.Fatal(err)
	}
	if err := self.Send(r, "m"); !errors.Is(err, ErrMailboxFull) {
		t.Fatal(err)
	}
	if _, err := s.Ask(t.Context(), r, "m"); !errors.Is(err, ErrMailboxFull) {
		t.Fatal(err)
	}
	if i := s.Actors()[1]; i.Queued != 3 || i.Limit != 3 || i.Ref != r {
		t.Fatalf("%+v", i)
	}
	l.settle()
	must(t, s.Send(r, "m"))
	l.settle()
	if got != 4 {
		t.Fatal(got)
	}
}

func TestALimitDoesNotHoldBackTheActorsOwnTimersAndAnswers(t *testing.T) {
	l, s := onHand(t)
	echo := spawn(t, s, l, "echo", func() Actor { return ponger{} })
	got := 0
	spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				for range 5 {
					ctx.After(0, func() { got++ })
					ctx.Ask(echo, "q", 0, func(any, error) { got++ })
				}
			}
		})
	}, WithMailboxLimit(1))
	l.settle()
	l.advance(time.Second)
	if got != 10 {
		t.Fatal(got)
	}
}

func TestAskOnALoopsGoroutineIsRefused(t *testing.T) {
	s := system(t, quiet())
	r := spawn(t, s, newGoLoop(t, "loop"), "a", func() Actor { return ponger{} })
	var err error
	w := coro.New()
	w.Start(func() { _, err = s.Ask(context.Background(), r, "q") })
	w.Resume()
	w.Close()
	if !errors.Is(err, ErrWouldBlock) {
		t.Fatal(err)
	}
}

// TestAskOfAMarkedGoroutine: programs may use the mark of a loop's goroutine, too.
func TestAskOfAMarkedGoroutine(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s := system(t, quiet())
	if _, err := s.Ask(context.Background(), RefOf(Address{Path: "nobody"}), "q"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

func TestANilContextIsAnError(t *testing.T) {
	s := system(t, quiet())
	var none context.Context
	if _, err := s.Ask(none, RefOf(Address{Path: "a"}), 1); err == nil {
		t.Error("Ask")
	}
	if err := s.Shutdown(none); err == nil {
		t.Error("Shutdown")
	}
}

func TestOneForAllEndsTemporarySiblings(t *testing.T) {
	l, s := onHand(t)
	var b book
	spawn(t, s, l, "p", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				_, err := ctx.Spawn("t", b.child("t"), WithLifetime(Temporary))
				must(t, err)
				_, err = ctx.Spawn("x", b.child("x"))
				must(t, err)
			}
		})
	}, WithChildren(Strategy{Restart: Transient, Scope: OneForAll}))
	l.settle()
	b.lines = nil
	var why error
	s.Watch(s.Ref(Address{Path: "p/t"}), func(e Terminated) { why = e.Reason })
	must(t, s.Send(at("p/x"), "boom"))
	l.settle()
	if why != ErrStopped {
		t.Fatalf("the temporary sibling: %v, %q", why, b.read())
	}
}

func TestReplyErrorNilIsAnErrorForBoth(t *testing.T) {
	l, s := onHand(t)
	var here, there error
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "q" {
				here = ctx.ReplyError(nil)
			}
		})
	})
	s.AskFunc(r, "q", func(_ any, err error) { there = err })
	l.settle()
	if here == nil || there == nil {
		t.Fatal(here, there)
	}
}

func TestTheRestartBudgetRunsOnTheLoopsClock(t *testing.T) {
	l := newHandLoop("hand")
	opts := fixedClock(l)
	wall := time.Unix(1_700_000_000, 0)
	opts.Now = func() time.Time { wall = wall.Add(-time.Hour); return wall } // set back again and again
	s := system(t, opts)
	lives := 0
	r := spawn(t, s, l, "a", func() Actor {
		lives++
		return Func(func(ctx *Context) {
			if ctx.Message() == "boom" {
				panic("boom")
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Intensity: 1, Period: time.Second}))
	for range 5 {
		must(t, s.Send(r, "boom"))
		l.settle()
		l.advance(2 * time.Second)
	}
	if lives != 6 {
		t.Fatalf("%d lives", lives)
	}
}
