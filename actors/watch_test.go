package actors

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watching spawns an actor that watches refs and writes down what ends.
func watching(t *testing.T, s *System, l Loop, b *book, also func(*Context), refs ...Ref) Ref {
	return spawn(t, s, l, "watcher", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				for _, r := range refs {
					ctx.Watch(r)
				}
			case Terminated:
				b.add("%s: %v", m.Who, m.Reason)
			}
			if also != nil {
				also(ctx)
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Backoff: Backoff{Min: time.Second}}))
}

func TestWatchTellsOnce(t *testing.T) {
	l, s := onHand(t)
	var b book
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	watching(t, s, l, &b, nil, r, r)
	l.settle()
	s.Stop(r)
	s.Stop(r)
	l.settle()
	b.want(t, "/a: "+ErrStopped.Error())
}

func TestWatchingNobodySaysSo(t *testing.T) {
	l, s := onHand(t)
	var b book
	watching(t, s, l, &b, nil, at("nobody"), Ref{})
	l.settle()
	b.want(t, "/nobody: "+ErrUnknown.Error(), "nobody: "+ErrUnknown.Error())
}

func TestWatchingAnEndedActorTellsItsReason(t *testing.T) {
	l, s := onHand(t)
	var b book
	r := spawn(t, s, l, "a", (&book{}).child("a"))
	must(t, s.Send(r, "end"))
	l.settle()
	watching(t, s, l, &b, nil, r)
	l.settle()
	b.want(t, "/a: end")
}

func TestUnwatchHoldsBackEvenWhatIsOnItsWay(t *testing.T) {
	l, s := onHand(t)
	var b book
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	watching(t, s, l, &b, func(ctx *Context) {
		if ctx.Message() == "unwatch" {
			ctx.Unwatch(r)
		}
	}, r)
	l.settle()
	w := s.Ref(Address{Path: "watcher"})
	must(t, s.Send(w, "unwatch"))
	s.Stop(r)
	l.settle()
	b.want(t)
}

func TestASuspendedWatcherHearsOfTheEndAfterItsResume(t *testing.T) {
	l := newHandLoop("hand")
	opts := fixedClock(l)
	s := system(t, opts)
	var b book
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	w := spawn(t, s, l, "p", func() Actor {
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				ctx.Watch(r)
			case Terminated:
				b.add("ended %v", m.Reason == ErrStopped)
			}
		})
	})
	l.settle()
	c := w.at.(*cell)
	c.suspended = true
	s.Stop(r)
	l.settle()
	b.want(t)
	c.postSystem(paResume)
	l.settle()
	b.want(t, "ended true")
}

func TestARestartedWatcherWatchesOnlyWhatItsNewLifeAskedFor(t *testing.T) {
	l, s := onHand(t)
	var b book
	x := spawn(t, s, l, "x", func() Actor { return ponger{} })
	lives := 0
	w := spawn(t, s, l, "w", func() Actor {
		lives++
		return Func(func(ctx *Context) {
			switch m := ctx.Message().(type) {
			case Started:
				if lives == 1 {
					ctx.Watch(x)
				}
			case Terminated:
				b.add("%v", m.Reason)
			case string:
				panic(m)
			}
		})
	}, WithStrategy(Strategy{Restart: Transient}))
	must(t, s.Send(w, "boom"))
	l.settle()
	s.Stop(x)
	l.settle()
	b.want(t)
	if lives != 2 || len(x.at.(*cell).watchers) != 0 {
		t.Fatal("the old watch is still there")
	}
}

func TestACancelledWatchIsNotCalled(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	calls := 0
	cancel := s.Watch(r, func(Terminated) { calls++ })
	s.Watch(r, func(Terminated) { calls += 10 })
	cancel()
	cancel()
	s.Stop(r)
	l.settle()
	if calls != 10 {
		t.Fatal(calls)
	}
}

func TestEveryWatchIsAnsweredOnceWhileActorsComeAndGo(t *testing.T) {
	s := system(t, quiet())
	loops := []*goLoop{newGoLoop(t, "a"), newGoLoop(t, "b")}
	const rounds = 200
	var heard atomic.Int64
	var all sync.WaitGroup
	all.Add(2 * rounds)
	for i := range rounds {
		r := spawn(t, s, loops[i%2], "", func() Actor { return ponger{} })
		var times [2]atomic.Int32
		tell := func(n int) func(Terminated) {
			return func(e Terminated) {
				if times[n].Add(1) != 1 || !errors.Is(e.Reason, ErrStopped) {
					t.Errorf("told again, or %v", e.Reason)
				}
				heard.Add(1)
				all.Done()
			}
		}
		all.Go(func() { s.Watch(r, tell(0)) })
		all.Go(func() { s.Stop(r) })
		all.Go(func() { s.Watch(r, tell(1)) })
	}
	all.Wait()
	if heard.Load() != 2*rounds {
		t.Fatal(heard.Load())
	}
}

func TestALoopsEndInTheMiddleOfEverythingLeavesNobodyWaiting(t *testing.T) {
	s := system(t, quiet())
	echo := func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				_, _ = ctx.Spawn("", func() Actor { return ponger{} })
			}
			_ = ctx.Reply(ctx.Message())
		})
	}
	for range 40 {
		l := newGoLoop(t, "loop")
		var busy sync.WaitGroup
		for range 4 {
			busy.Go(func() {
				for {
					r, err := s.Spawn(l, "", echo)
					if err != nil {
						if !errors.Is(err, ErrLoopDied) {
							t.Error(err)
						}
						return
					}
					var told sync.WaitGroup
					told.Add(1)
					s.Watch(r, func(Terminated) { told.Done() })
					if v, err := s.Ask(t.Context(), r, 1); (v == nil) == (err == nil) {
						t.Errorf("%v and %v", v, err)
					}
					s.Stop(r)
					told.Wait()
				}
			})
		}
		for range 20 {
			r, err := s.Spawn(l, "", echo)
			must(t, err)
			_, err = s.Ask(t.Context(), r, 1)
			must(t, err)
		}
		l.stop()
		s.LoopClosed(l)
		busy.Wait()
	}
	must(t, s.Shutdown(t.Context()))
}

func TestOrderPerSenderAcrossGoroutinesAndRestarts(t *testing.T) {
	s := system(t, quiet())
	type item struct{ from, n int }
	const senders, each = 4, 500
	next := make([]int, senders)
	total := 0
	done := make(chan struct{})
	r := spawn(t, s, newGoLoop(t, "target"), "target", func() Actor {
		return Func(func(ctx *Context) {
			m, ok := ctx.Message().(item)
			if !ok {
				return
			}
			if m.n != next[m.from] {
				t.Errorf("sender %d: %d before %d", m.from, m.n, next[m.from])
			}
			next[m.from]++
			if total++; total == senders*each {
				close(done)
			}
			if total%100 == 0 {
				panic("a life ends")
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Intensity: -1, Backoff: Backoff{Min: time.Millisecond, Max: time.Millisecond}}))
	var wg sync.WaitGroup
	for from := range senders {
		wg.Go(func() {
			for n := range each {
				if err := s.Send(r, item{from, n}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	recv(t, done, "all messages")
}

func TestAWatchThatPanicsKeepsNobodyElseFromHearing(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	heard := 0
	s.Watch(r, func(Terminated) { heard++ })
	s.Watch(r, func(Terminated) { panic("from a watch") })
	s.Watch(r, func(Terminated) { heard++ })
	l.settle()
	s.Stop(r)
	l.settle()
	if heard != 2 {
		t.Errorf("%d of 2 watchers heard of the end", heard)
	}
}

func TestAnActorThatCannotStartAnswersWhoFoundIt(t *testing.T) {
	l, s := onHand(t)
	c, err := s.reserve(l, nil, "a", func() Actor { return ponger{} }, spawnOptions{})
	must(t, err)
	s.publishName(c) // the first thing Start does
	q := &pendingAsk{replyAddress: replyAddress{sys: s}, done: make(chan struct{})}
	must(t, s.send(at("a"), envelope{"ping", Ref{at: q}}))
	ended := make(chan Terminated, 1)
	s.Watch(at("a"), func(t Terminated) { ended <- t })
	l.closed = true
	if s.start(c) == nil {
		t.Fatal("it started on a closed loop")
	}
	recv(t, q.done, "an answer")
	if !errors.Is(q.err, ErrLoopDied) || !errors.Is(recv(t, ended, "the end").Reason, ErrLoopDied) {
		t.Error(q.err)
	}
}

// TestTheNameIsFreeBeforeAnybodyIsTold: who hears of an actor's end and looks for its name
// at once, an asker whose message waited or a watcher, finds nobody.
func TestTheNameIsFreeBeforeAnybodyIsTold(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "a", func() Actor { return ponger{} })
	l.settle()
	told := 0
	look := func(who string) {
		told++
		if err := s.Send(RefOf(Address{Path: "a"}), "x"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s hears of the end and finds the old actor: %v", who, err)
		}
	}
	s.Stop(r)
	s.AskFunc(r, "question", func(_ any, err error) {
		if !errors.Is(err, ErrStopped) {
			t.Errorf("the asker hears %v", err)
		}
		look("the asker")
	})
	s.Watch(r, func(Terminated) { look("the watcher") })
	l.settle()
	if told != 2 {
		t.Fatalf("%d of 2 were told", told)
	}
}
