package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// What the life cycle underneath gets wrong when left alone, and we must not.

func TestEveryWaiterOfAnAnswerIsWoken(t *testing.T) {
	q := &pendingAsk{replyAddress: replyAddress{sys: system(t, quiet())}, done: make(chan struct{})}
	var wg sync.WaitGroup
	got := make(chan any, 8)
	for range cap(got) {
		wg.Go(func() {
			<-q.done
			got <- q.answer
		})
	}
	must(t, q.deliver(envelope{msg: 42}))
	wg.Wait()
	for range cap(got) {
		if v := <-got; v != 42 {
			t.Fatalf("a waiter got %v", v)
		}
	}
}

func TestALateSecondAnswerChangesNothing(t *testing.T) {
	s := system(t, quiet())
	l := newGoLoop(t, "loop")
	again := make(chan error, 1)
	to := spawn(t, s, l, "twice", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "ask" {
				_ = ctx.Reply("first")
				again <- ctx.Reply("second")
			}
		})
	})
	v, err := s.Ask(context.Background(), to, "ask")
	if v != "first" || err != nil {
		t.Fatalf("got %v, %v", v, err)
	}
	if err := recv(t, again, "the second reply"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("the second reply was taken: %v", err)
	}
	if v != "first" || s.DeadLetterCount() != 1 {
		t.Fatalf("answer %v, %d dead letters", v, s.DeadLetterCount())
	}
}

func TestAnswersRacingWithTheDeadlineSettleOnce(t *testing.T) {
	s := system(t, quiet())
	to := spawn(t, s, newGoLoop(t, "loop"), "echo", func() Actor { return ponger{} })
	for i := range 500 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel() // goroutine: owner: this round; ends at once
		v, err := s.Ask(ctx, to, i)
		if (err == nil) == (v == nil) || err == nil && v != i {
			t.Fatalf("round %d: %v and %v", i, v, err)
		}
	}
}

func TestBackoffDoublesUpToItsMaximum(t *testing.T) {
	l, s := onHand(t)
	var at []time.Duration
	r := spawn(t, s, l, "a", func() Actor {
		at = append(at, l.now)
		return Func(func(ctx *Context) {
			if ctx.Message() == "boom" {
				panic("boom")
			}
		})
	}, WithStrategy(Strategy{Restart: Transient, Intensity: -1, Period: time.Hour, Backoff: Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}}))
	l.settle()
	var gaps []time.Duration
	for range 6 {
		must(t, s.Send(r, "boom"))
		l.settle()
		from := l.now
		for n := len(at); len(at) == n; {
			l.advance(time.Millisecond)
		}
		gaps = append(gaps, at[len(at)-1]-from)
	}
	if got := fmt.Sprint(gaps); got != "[10ms 20ms 40ms 80ms 100ms 100ms]" {
		t.Fatal(got)
	}
	if d := (Backoff{Min: time.Second, Jitter: 0.5}).Delay(1, 0.999999); d > 1001*time.Millisecond || d < time.Second {
		t.Fatalf("jitter of one half gave %v of 2s", d)
	}
}

func TestMessagesThatWaitForARestartStayInOrderWithTheirSenders(t *testing.T) {
	l, s := onHand(t)
	var b book
	target := spawn(t, s, l, "target", b.recorder(func(ctx *Context, life int) {
		if ctx.Message() == "boom" {
			panic("boom")
		}
		if !ctx.Sender().IsZero() {
			b.add("from %s", ctx.Sender())
		}
	}), WithStrategy(Strategy{Restart: Transient, Backoff: Backoff{Min: time.Second}}))
	spawn(t, s, l, "sender", func() Actor {
		return Func(func(ctx *Context) {
			if is[Started](ctx) {
				for _, m := range []string{"boom", "a", "b", "c"} {
					must(t, ctx.Send(target, m))
				}
			}
		})
	})
	l.settle()
	must(t, s.Send(target, "outside"))
	l.settle()
	b.want(t, "Started#1", "boom#1")
	l.advance(time.Second)
	b.want(t, "Started#1", "boom#1", "Restarting#1", "Started#2", "a#2", "from /sender", "b#2", "from /sender", "c#2", "from /sender", "outside#2")
}

func TestShutdownStopsEveryActorAndMayBeCalledAgain(t *testing.T) {
	s := system(t, quiet())
	var b book
	started := make(chan error, 3)
	for i := range cap(started) {
		l := newGoLoop(t, fmt.Sprint("loop", i))
		spawn(t, s, l, fmt.Sprint("parent", i), func() Actor {
			return Func(func(ctx *Context) {
				switch {
				case is[Started](ctx):
					_, err := ctx.Spawn("child", func() Actor { return Func(func(*Context) {}) })
					started <- err
				case is[Stopped](ctx):
					b.add("stopped with %d children", len(ctx.Children()))
				}
			})
		})
	}
	for range cap(started) {
		must(t, recv(t, started, "a start"))
	}
	must(t, s.Shutdown(context.Background()))
	must(t, s.Shutdown(context.Background()))
	b.want(t, "stopped with 0 children", "stopped with 0 children", "stopped with 0 children")
	if _, err := s.Spawn(newHandLoop("x"), "late", func() Actor { return ponger{} }); !errors.Is(err, ErrShutdown) {
		t.Fatalf("spawn after shutdown: %v", err)
	}
}

func TestShutdownIsBoundedWhenALoopDoesNotRun(t *testing.T) {
	l, s := onHand(t)
	spawn(t, s, l, "a", func() Actor { return ponger{} })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestTerminatedCarriesTheReason(t *testing.T) {
	l, s := onHand(t)
	cause := errors.New("disk full")
	for _, c := range []struct {
		name string
		end  func(*Context)
		is   func(error) bool
	}{
		{"stopped", func(ctx *Context) { ctx.Stop(ctx.Self()) }, func(err error) bool { return err == ErrStopped }},
		{"left", func(ctx *Context) { ctx.Exit(nil) }, func(err error) bool { return err == ErrStopped }},
		{"failed", func(ctx *Context) { ctx.Exit(cause) }, func(err error) bool { return errors.Is(err, cause) }},
		{"panicked", func(*Context) { panic(cause) }, func(err error) bool {
			var p *guard.Panic
			return errors.As(err, &p) && len(p.Stack) > 0 && errors.Is(err, cause)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := spawn(t, s, l, "who", func() Actor {
				return Func(func(ctx *Context) {
					if ctx.Message() == "end" {
						c.end(ctx)
					}
				})
			})
			var got []Terminated
			s.Watch(r, func(t Terminated) { got = append(got, t) })
			must(t, s.Send(r, "end"))
			l.settle()
			if len(got) != 1 || got[0].Who != r || !c.is(got[0].Reason) {
				t.Fatalf("got %v", got)
			}
		})
	}
}

func TestAPanicInStoppingDoesNotBringTheActorBack(t *testing.T) {
	l, s := onHand(t)
	var b book
	failures := s.Failures(8)
	defer failures.Close()
	r := spawn(t, s, l, "a", b.recorder(func(ctx *Context, _ int) {
		if is[Stopping](ctx) {
			panic("no")
		}
	}), WithStrategy(Strategy{Restart: Permanent}))
	ended := 0
	s.Watch(r, func(Terminated) { ended++ })
	l.settle()
	s.Stop(r)
	l.settle()
	b.want(t, "Started#1", "Stopping#1", "Stopped#1")
	if f := <-failures.C(); ended != 1 || f.Hook != "stopping" || f.Directive != Stop {
		t.Fatalf("%d ends, %+v", ended, f)
	}
}

func TestAPanicInStoppedDoesNotHoldTheParent(t *testing.T) {
	l, s := onHand(t)
	var b book
	parent := spawn(t, s, l, "parent", b.recorder(func(ctx *Context, _ int) {
		if is[Started](ctx) {
			_, err := ctx.Spawn("child", func() Actor {
				return Func(func(ctx *Context) {
					if is[Stopped](ctx) {
						panic("no")
					}
				})
			})
			must(t, err)
		}
	}))
	l.settle()
	childEnds := 0
	s.Watch(s.Ref(Address{Path: "parent/child"}), func(Terminated) { childEnds++ })
	s.Stop(parent)
	l.settle()
	b.want(t, "Started#1", "Stopping#1", "Stopped#1")
	if childEnds != 1 {
		t.Fatalf("the child's watcher heard %d ends", childEnds)
	}
	must(t, s.Shutdown(context.Background()))
}

func TestStopDoesNotWaitForABackoff(t *testing.T) {
	l, s := onHand(t)
	var b book
	r := spawn(t, s, l, "a", b.recorder(func(ctx *Context, _ int) {
		if ctx.Message() == "boom" {
			panic("boom")
		}
	}), WithStrategy(Strategy{Restart: Transient, Backoff: Backoff{Min: time.Minute}}))
	must(t, s.Send(r, "boom"))
	must(t, s.Send(r, "waits"))
	l.settle()
	s.Stop(r)
	l.settle()
	b.want(t, "Started#1", "boom#1", "Stopping#1", "Stopped#1")
	l.advance(time.Hour)
	b.want(t, "Started#1", "boom#1", "Stopping#1", "Stopped#1")
	if s.DeadLetterCount() != 1 {
		t.Fatalf("%d dead letters", s.DeadLetterCount())
	}
}

func TestAContinuationDoesNotOutliveItsLife(t *testing.T) {
	l, s := onHand(t)
	var b book
	slow := spawn(t, s, l, "slow", func() Actor {
		return Func(func(ctx *Context) {
			if ctx.Message() == "q" {
				from := ctx.Sender()
				ctx.After(time.Second, func() { _ = ctx.Send(from, "answer") })
			}
		})
	})
	r := spawn(t, s, l, "asker", b.recorder(func(ctx *Context, life int) {
		switch {
		case is[Started](ctx):
			ctx.Ask(slow, "q", time.Hour, func(v any, err error) { b.add("%v %v for life %d", v, err, life) })
			ctx.After(time.Second, func() { b.add("timer of life %d", life) })
		case ctx.Message() == "boom":
			panic("boom")
		}
	}), WithStrategy(Strategy{Restart: Transient}))
	l.settle()
	must(t, s.Send(r, "boom"))
	l.settle()
	l.advance(time.Minute)
	b.want(t, "Started#1", "boom#1", "Restarting#1", "Started#2", "timer of life 2", "answer <nil> for life 2")
}

func TestAMailboxGivesItsMemoryBackAfterABurst(t *testing.T) {
	l, s := onHand(t)
	r := spawn(t, s, l, "sink", func() Actor { return Func(func(*Context) {}) })
	l.settle()
	for i := range 100_000 {
		must(t, s.Send(r, i))
	}
	c := r.at.(*cell)
	if len(c.foreign.buf) < 100_000 {
		t.Fatal("the burst did not wait in the mailbox")
	}
	l.settle()
	if n := len(c.foreign.buf); n > ringKeep {
		t.Fatalf("%d slots are kept", n)
	}
}
