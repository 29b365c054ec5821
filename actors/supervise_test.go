package actors

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// family spawns a parent with children a, b and c; "boom" makes a child panic,
// "exit" makes it leave, "end" makes it leave with an error.
func family(t *testing.T, s *System, l *handLoop, b *book, st Strategy, opts ...SpawnOption) {
	spawn(t, s, l, "p", func() Actor {
		return Func(func(ctx *Context) {
			b.add("p %s", name(ctx.Message()))
			if !is[Started](ctx) {
				return
			}
			for _, n := range []string{"a", "b", "c"} {
				_, err := ctx.Spawn(n, b.child(n), opts...)
				must(t, err)
			}
		})
	}, WithChildren(st))
	l.settle()
	b.lines = nil
}

func (b *book) child(n string) func() Actor {
	return b.recorderOf(n, func(ctx *Context) {
		switch ctx.Message() {
		case "boom":
			panic("boom")
		case "exit":
			ctx.Exit(nil)
		case "end":
			ctx.Exit(errors.New("end"))
		}
	})
}

func (b *book) recorderOf(who string, also func(*Context)) func() Actor {
	life := 0
	return func() Actor {
		life++
		n := life
		return Func(func(ctx *Context) {
			b.add("%s%d %s", who, n, name(ctx.Message()))
			also(ctx)
		})
	}
}

func at(path string) Ref { return RefOf(Address{Path: path}) }

func TestScopes(t *testing.T) {
	for _, c := range []struct {
		scope Scope
		want  []string
	}{
		{OneForOne, []string{"b1 boom", "b1 Restarting", "b2 Started"}},
		{OneForAll, []string{"b1 boom", "a1 Restarting", "a2 Started", "b1 Restarting", "b2 Started", "c1 Restarting", "c2 Started"}},
		{RestForOne, []string{"b1 boom", "b1 Restarting", "b2 Started", "c1 Restarting", "c2 Started"}},
	} {
		for _, delay := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprint(c.scope, delay), func(t *testing.T) {
				l, s := onHand(t)
				var b book
				family(t, s, l, &b, Strategy{Restart: Transient, Scope: c.scope, Backoff: Backoff{Min: delay}})
				must(t, s.Send(at("p/b"), "boom"))
				l.settle()
				l.advance(delay)
				b.want(t, c.want...)
			})
		}
	}
}

func TestASecondFailureDuringAGroupsRestartCountsOnce(t *testing.T) {
	l, s := onHand(t)
	var b book
	family(t, s, l, &b, Strategy{Restart: Transient, Scope: OneForAll, Intensity: 1})
	must(t, s.Send(at("p/a"), "boom"))
	must(t, s.Send(at("p/b"), "boom"))
	l.settle()
	slices.Sort(b.lines)
	b.want(t, "a1 Restarting", "a1 boom", "a2 Started", "b1 Restarting", "b1 boom", "b2 Started", "c1 Restarting", "c2 Started")
}

func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		life Lifetime
		msg  string
		want []string
	}{
		{Temporary, "exit", []string{"a1 exit", "a1 Stopping", "a1 Stopped"}},
		{Temporary, "boom", []string{"a1 boom", "a1 Stopping", "a1 Stopped"}},
		{Transient, "exit", []string{"a1 exit", "a1 Stopping", "a1 Stopped"}},
		{Transient, "end", []string{"a1 end", "a1 Restarting", "a2 Started"}},
		{Transient, "boom", []string{"a1 boom", "a1 Restarting", "a2 Started"}},
		{Permanent, "exit", []string{"a1 exit", "a1 Restarting", "a2 Started"}},
		{Permanent, "boom", []string{"a1 boom", "a1 Restarting", "a2 Started"}},
	} {
		t.Run(c.life.String()+" "+c.msg, func(t *testing.T) {
			l, s := onHand(t)
			var b book
			family(t, s, l, &b, Strategy{}, WithLifetime(c.life))
			must(t, s.Send(at("p/a"), c.msg))
			l.settle()
			b.want(t, c.want...)
		})
	}
	t.Run("a permanent actor obeys a stop", func(t *testing.T) {
		l, s := onHand(t)
		var b book
		family(t, s, l, &b, Strategy{Restart: Permanent})
		s.Stop(at("p/a"))
		l.settle()
		b.want(t, "a1 Stopping", "a1 Stopped")
	})
}

func TestTheBudgetIsTheSupervisorsAndItsPeriodPasses(t *testing.T) {
	l, s := onHand(t)
	var b book
	family(t, s, l, &b, Strategy{Restart: Transient, Intensity: 2, Period: time.Second, Exceeded: Stop})
	events := s.Failures(16)
	defer events.Close()
	boom := func(who string) {
		must(t, s.Send(at("p/"+who), "boom"))
		l.settle()
	}
	boom("a")
	boom("b")
	l.advance(2 * time.Second)
	boom("a")
	boom("b")
	boom("c") // the third within a second
	b.want(t, "a1 boom", "a1 Restarting", "a2 Started", "b1 boom", "b1 Restarting", "b2 Started",
		"a2 boom", "a2 Restarting", "a3 Started", "b2 boom", "b2 Restarting", "b3 Started", "c1 boom", "c1 Stopping", "c1 Stopped")
	var last Failure
	for len(events.C()) > 0 {
		last = <-events.C()
	}
	if !errors.Is(last.Reason, ErrTooManyRestarts) || last.Directive != Stop || last.Message != "boom" {
		t.Fatalf("%+v", last)
	}
}

func TestEscalationGoesUpToTheSystemsPolicy(t *testing.T) {
	for _, c := range []struct {
		answer Directive
		want   []string
	}{
		{Undecided, []string{"a1 boom", "p Stopping", "a1 Stopping", "a1 Stopped", "p Stopped"}},
		{Escalate, []string{"a1 boom", "p Stopping", "a1 Stopping", "a1 Stopped", "p Stopped"}},
		{Resume, []string{"a1 boom", "a1 next"}},
		{Restart, []string{"a1 boom", "p Restarting", "a1 Stopping", "a1 Stopped", "p Started", "a2 Started"}},
	} {
		t.Run(c.answer.String(), func(t *testing.T) {
			l := newHandLoop("hand")
			opts := fixedClock(l)
			var asked []Failure
			opts.OnFailure = func(f Failure) Directive { asked = append(asked, f); return c.answer }
			opts.Strategy = Strategy{Decide: func(Failure) Directive { return Escalate }}
			s := system(t, opts)
			var b book
			child := b.child("a")
			spawn(t, s, l, "p", func() Actor {
				return Func(func(ctx *Context) {
					b.add("p %s", name(ctx.Message()))
					if is[Started](ctx) {
						_, err := ctx.Spawn("a", child)
						must(t, err)
					}
				})
			}, WithChildren(Strategy{Decide: func(Failure) Directive { return Escalate }}))
			l.settle()
			b.lines = nil
			a := s.Ref(Address{Path: "p/a"})
			must(t, s.Send(a, "boom"))
			must(t, s.Send(a, "next"))
			l.settle()
			b.want(t, c.want...)
			if len(asked) != 1 || asked[0].Who.Address().Path != "p" {
				t.Fatalf("the policy was asked %v", asked)
			}
		})
	}
}

func TestADecisionThatPanicsStopsTheActor(t *testing.T) {
	l, s := onHand(t)
	var b book
	family(t, s, l, &b, Strategy{Decide: func(Failure) Directive { panic("undecided") }})
	must(t, s.Send(at("p/a"), "boom"))
	l.settle()
	b.want(t, "a1 boom", "a1 Stopping", "a1 Stopped")
}

func TestAFactoryThatFailsIsSupervised(t *testing.T) {
	l, s := onHand(t)
	tries := 0
	r := spawn(t, s, l, "a", func() Actor {
		tries++
		switch tries {
		case 1:
			panic("no database")
		case 2:
			return nil
		}
		return ponger{}
	}, WithStrategy(Strategy{Restart: Permanent, Backoff: Backoff{Min: time.Second}}))
	l.settle()
	l.advance(10 * time.Second)
	if tries != 3 {
		t.Fatalf("%d tries", tries)
	}
	must(t, s.Send(r, "x"))
}

func TestALifeThatLastsBeginsTheBackoffAnew(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", (&book{}).child("a"), WithStrategy(Strategy{Restart: Transient, Period: time.Minute, Backoff: Backoff{Min: time.Second}}))
	l.settle()
	events := s.Failures(8)
	defer events.Close()
	for _, rest := range []time.Duration{0, 0, time.Hour} {
		l.advance(rest)
		must(t, s.Send(r, "boom"))
		l.settle()
		l.advance(10 * time.Second)
	}
	var delays []time.Duration
	for len(events.C()) > 0 {
		delays = append(delays, (<-events.C()).Delay)
	}
	if fmt.Sprint(delays) != "[1s 2s 1s]" {
		t.Fatal(delays)
	}
}

func TestASubscriberThatDoesNotReadLosesEventsAndSeesHowMany(t *testing.T) {
	l, s := onHand(t)
	slow := s.Failures(2)
	r := spawn(t, s, l, "a", (&book{}).child("a"), WithStrategy(Strategy{Decide: func(Failure) Directive { return Resume }}))
	for range 5 {
		must(t, s.Send(r, "boom"))
	}
	l.settle()
	if len(slow.C()) != 2 || slow.Dropped() != 3 {
		t.Fatalf("%d kept, %d dropped", len(slow.C()), slow.Dropped())
	}
	slow.Close()
	slow.Close()
	for range slow.C() {
	}
}

func TestADecisionThatPanicsIsPartOfTheReason(t *testing.T) {
	cause := errors.New("the failure")
	f := Failure{Reason: cause}
	d := f.Ask(func(Failure) Directive { panic("no idea") })
	var p *guard.Panic
	if d != Stop || !errors.Is(f.Reason, cause) || !errors.As(f.Reason, &p) {
		t.Errorf("%v because of %v", d, f.Reason)
	}
}

func TestATransientActorThatFailsWithAnothersEndIsRestarted(t *testing.T) {
	l, s := onHand(t)
	var b book
	target := spawn(t, s, l, "target", func() Actor { return ponger{} })
	l.settle()
	s.Stop(target)
	l.settle()
	r := spawn(t, s, l, "a", b.recorder(func(ctx *Context, _ int) {
		switch ctx.Message() {
		case "use":
			ctx.Exit(ctx.Send(target, "m")) // wraps the target's ErrStopped
		case "leave":
			ctx.Exit(nil)
		}
	}), WithLifetime(Transient))
	must(t, s.Send(r, "use"))
	l.settle()
	b.want(t, "Started#1", "use#1", "Restarting#1", "Started#2")
	must(t, s.Send(r, "leave"))
	l.settle()
	b.want(t, "Started#1", "use#1", "Restarting#1", "Started#2", "leave#2", "Stopping#2", "Stopped#2")
}

func TestOnlyANormalEndIsMarkedNormal(t *testing.T) {
	l, s := onHand(t)
	failures := s.Failures(8)
	defer failures.Close()
	r := spawn(t, s, l, "a", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case error:
				ctx.Exit(m)
			case string:
				ctx.Exit(nil)
			}
		})
	}, WithLifetime(Permanent))
	must(t, s.Send(r, ErrStopped))
	must(t, s.Send(r, "leave"))
	l.settle()
	for _, want := range []bool{false, true} {
		if f := <-failures.C(); f.Normal != want || f.Directive != Restart {
			t.Errorf("%+v", f)
		}
	}
}
