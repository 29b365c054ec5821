package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

func TestHooksComeInOrderAroundChildren(t *testing.T) {
	l, s := onHand(t)
	var b book
	child := func(n string) func() Actor {
		return func() Actor { return Func(func(ctx *Context) { b.add("%s %s", n, name(ctx.Message())) }) }
	}
	r := spawn(t, s, l, "p", func() Actor {
		return Func(func(ctx *Context) {
			b.add("p %s", name(ctx.Message()))
			if is[Started](ctx) {
				for _, n := range []string{"a", "b"} {
					_, err := ctx.Spawn(n, child(n))
					must(t, err)
				}
			}
		})
	})
	l.settle()
	s.Stop(r)
	l.settle()
	b.want(t, "p Started", "a Started", "b Started", "p Stopping", "b Stopping", "b Stopped", "a Stopping", "a Stopped", "p Stopped")
}

func TestARestartEndsTheChildrenFirst(t *testing.T) {
	l, s := onHand(t)
	var b book
	r := spawn(t, s, l, "p", b.recorder(func(ctx *Context, life int) {
		switch {
		case is[Started](ctx):
			_, err := ctx.Spawn("c", func() Actor {
				return Func(func(c *Context) { b.add("child of %d %s", life, name(c.Message())) })
			})
			must(t, err)
		case is[Restarting](ctx):
			if _, err := ctx.Spawn("late", func() Actor { return ponger{} }); !errors.Is(err, ErrStopped) {
				t.Errorf("a child was started while restarting: %v", err)
			}
		case ctx.Message() == "boom":
			panic("boom")
		}
	}), WithStrategy(Strategy{Restart: Transient}))
	l.settle()
	must(t, s.Send(r, "boom"))
	l.settle()
	b.want(t, "Started#1", "child of 1 Started", "boom#1", "Restarting#1", "child of 1 Stopping", "child of 1 Stopped", "Started#2", "child of 2 Started")
}

func TestATakenNameIsAnErrorAndRunsNoFactory(t *testing.T) {
	l, s := onHand(t)
	spawn(t, s, l, "a", func() Actor { return ponger{} })
	l.settle()
	_, err := s.Spawn(l, "a", func() Actor { t.Error("the factory ran"); return ponger{} })
	if !errors.Is(err, ErrNameTaken) {
		t.Fatal(err)
	}
	for _, bad := range []string{"$1", "a//b", "/a", "a/", "a\n"} {
		if _, err := s.Spawn(l, bad, func() Actor { return ponger{} }); !errors.Is(err, ErrBadAddress) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s.Stop(s.Ref(Address{Path: "a"}))
	l.settle()
	spawn(t, s, l, "a", func() Actor { return ponger{} })
	spawn(t, s, l, "eventstream", func() Actor { return ponger{} }) // not a name of ours: free
}

func TestARefNeverReachesASuccessor(t *testing.T) {
	l, s := onHand(t)
	var b book
	old := spawn(t, s, l, "a", b.recorder(nil))
	byName := RefOf(Address{Path: "a"})
	l.settle()
	s.Stop(old)
	l.settle()
	next := spawn(t, s, l, "a", b.recorder(nil))
	if old == next || old.Address() != next.Address() {
		t.Fatal("the refs of two actors must differ, their addresses not")
	}
	if err := s.Send(old, "old"); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	must(t, s.Send(byName, "by name"))
	l.settle()
	b.want(t, "Started#1", "Stopping#1", "Stopped#1", "Started#1", "by name#1")
}

func TestMessagesTakeTurnsWithEverythingElseOnTheLoop(t *testing.T) {
	l, s := onHand(t)
	var b book
	greedy := func() Actor {
		return Func(func(ctx *Context) {
			b.add("%s %v", ctx.Self().Address().Path, ctx.Message())
			if n, ok := ctx.Message().(int); ok && n < 3 {
				_ = ctx.Send(ctx.Self(), n+1)
			}
		})
	}
	x, y := spawn(t, s, l, "x", greedy), spawn(t, s, l, "y", greedy)
	l.settle()
	b.lines = nil
	must(t, s.Send(x, 1))
	must(t, s.Send(y, 1))
	must(t, l.Post(func() { b.add("callback") }))
	l.settle()
	b.want(t, "x 1", "y 1", "callback", "x 2", "y 2", "x 3", "y 3")
}

func TestAReplayAfterARestartYieldsToOthers(t *testing.T) {
	l, s := onHand(t)
	got := 0
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			switch ctx.Message().(type) {
			case error:
				panic("boom")
			case int:
				got++
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Backoff: Backoff{Min: time.Second}}))
	must(t, s.Send(r, errors.New("boom")))
	for i := range 10 * replayBatch {
		must(t, s.Send(r, i))
	}
	l.settle()
	l.now += time.Second
	for _, timer := range l.timers {
		timer.fn()
	}
	for before := got; ; before = got {
		if l.turn() == 0 {
			break
		}
		if got-before > replayBatch {
			t.Fatalf("%d messages in one turn", got-before)
		}
	}
	if got != 10*replayBatch {
		t.Fatalf("%d of %d messages", got, 10*replayBatch)
	}
}

func TestAMessageToAnActorThatPanicsOnItAnswersTheAsker(t *testing.T) {
	s := system(t, quiet())
	r := spawn(t, s, newGoLoop(t, "loop"), "a", func() Actor {
		return Func(func(ctx *Context) {
			switch ctx.Message() {
			case "boom":
				panic("boom")
			case "refuse":
				_ = ctx.ReplyError(errors.New("not today"))
			case "leave":
				ctx.Exit(nil)
			}
		})
	}, WithStrategy(Strategy{Restart: Transient}))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var p *guard.Panic
	if _, err := s.Ask(ctx, r, "boom"); !errors.As(err, &p) {
		t.Fatal(err)
	}
	if _, err := s.Ask(ctx, r, "refuse"); err == nil || err.Error() != "not today" {
		t.Fatal(err)
	}
	if _, err := s.Ask(ctx, r, "leave"); !errors.Is(err, ErrStopped) {
		t.Fatalf("the end of the one who was asked: %v", err)
	}
	if _, err := s.Ask(ctx, r, "gone"); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if _, err := s.Ask(ctx, RefOf(Address{Path: "nobody"}), "x"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

func TestAskKeepsTheCallersDeadlineAndCancellation(t *testing.T) {
	s := system(t, quiet())
	r := spawn(t, s, newGoLoop(t, "loop"), "mute", func() Actor { return Func(func(*Context) {}) })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Ask(ctx, r, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	cause := errors.New("never mind")
	stop(cause)
	if _, err := s.Ask(ctx, r, "x"); err == nil {
		t.Fatal("a cancelled ask succeeded")
	}
	c := r.at.(*cell)
	if n := c.UserMessageCount(); n > 1 {
		t.Fatalf("%d messages wait", n)
	}
}

func TestAskOnALoopTimesOutByTheLoopsClock(t *testing.T) {
	l, s := onHand(t)
	mute := spawn(t, s, l, "mute", func() Actor { return Func(func(*Context) {}) })
	var b book
	spawn(t, s, l, "asker", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				ctx.Ask(mute, "x", time.Second, func(v any, err error) { b.add("%v %v", v, err) })
				ctx.Ask(RefOf(Address{Path: "nobody"}), "x", time.Second, func(_ any, err error) { b.add("unknown %v", errors.Is(err, ErrUnknown)) })
			}
		})
	})
	l.settle()
	b.want(t, "unknown true")
	l.advance(time.Second)
	b.want(t, "unknown true", "<nil> context deadline exceeded: /mute has not answered within 1s")
}

// exitTurn runs one turn whose goroutine may end in it.
func exitTurn(l *handLoop) {
	done := make(chan struct{})
	// goroutine: owner: the caller; ends with the turn.
	go func() {
		defer close(done)
		l.turn()
	}()
	<-done
}

func TestGoexitInAHookLosesNobody(t *testing.T) {
	for _, where := range []string{"Started", "m", "Stopping", "Stopped", "Restarting"} {
		t.Run(where, func(t *testing.T) {
			l, s := onHand(t)
			var b book
			quit := true
			r := spawn(t, s, l, "p", b.recorder(func(ctx *Context, _ int) {
				if is[Started](ctx) {
					_, _ = ctx.Spawn("c", func() Actor { return Func(func(*Context) {}) })
				}
				if quit && name(ctx.Message()) == where {
					quit = false
					runtime.Goexit()
				}
				if ctx.Message() == "boom" {
					panic("boom")
				}
			}), WithStrategy(Strategy{Restart: Transient}))
			ends := 0
			s.Watch(r, func(Terminated) { ends++ })
			drain := func() {
				for range 20 {
					exitTurn(l)
				}
			}
			drain()
			for _, m := range []string{"m", "boom"} {
				_ = s.Send(r, m)
				drain()
			}
			s.Stop(r)
			drain()
			got := b.read()
			if n := len(got); ends != 1 || got[n-1][:7] != "Stopped" || got[n-2][:8] != "Stopping" {
				t.Fatalf("%d ends after %q", ends, got)
			}
			must(t, s.Shutdown(context.Background()))
		})
	}
}

func TestTheLoopsEndEndsItsActors(t *testing.T) {
	l, s := onHand(t)
	other := newHandLoop("other")
	var b book
	r := spawn(t, s, l, "p", b.recorder(func(ctx *Context, _ int) {
		if is[Started](ctx) {
			_, err := ctx.Spawn("c", func() Actor {
				return Func(func(ctx *Context) { b.add("child %s", name(ctx.Message())) })
			})
			must(t, err)
		}
	}))
	spawn(t, s, other, "w", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				ctx.Watch(r)
				ctx.Ask(r, "never read", 0, func(_ any, err error) { b.add("asker: %v", errors.Is(err, ErrLoopDied)) })
			case Terminated:
				b.add("watcher: %v", errors.Is(m.Reason, ErrLoopDied))
			}
		})
	})
	l.settle()
	other.settle()
	l.close()
	s.LoopClosed(l)
	s.LoopClosed(l)
	other.settle()
	got := b.read()
	want := "[Started#1 child Started Stopping#1 child Stopping child Stopped Stopped#1 "
	if len(got) != 8 || fmt.Sprint(got)[:len(want)] != want || got[6][len(got[6])-4:] != "true" || got[7][len(got[7])-4:] != "true" {
		t.Fatalf("%q", got)
	}
	if err := s.Send(r, "late"); !errors.Is(err, ErrLoopDied) {
		t.Fatal(err)
	}
	if _, err := s.Ask(context.Background(), r, "late"); !errors.Is(err, ErrLoopDied) {
		t.Fatal(err)
	}
	if _, err := s.Spawn(l, "x", func() Actor { return ponger{} }); !errors.Is(err, ErrLoopDied) {
		t.Fatal(err)
	}
	late := make(chan Terminated, 1)
	s.Watch(r, func(t Terminated) { late <- t })
	if e := <-late; !errors.Is(e.Reason, ErrLoopDied) {
		t.Fatal(e)
	}
}

func TestAskFailsAtOnceOnALoopThatIsClosedButNotReported(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	l.settle()
	l.close()
	if _, err := s.Ask(context.Background(), r, "x"); !errors.Is(err, ErrLoopDied) {
		t.Fatal(err)
	}
	told := make(chan Terminated, 2)
	s.Watch(r, func(t Terminated) { told <- t })
	if e := recv(t, told, "the end"); !errors.Is(e.Reason, ErrLoopDied) {
		t.Fatal(e)
	}
	s.LoopClosed(l)
	if len(told) != 0 {
		t.Fatal("told twice")
	}
}
