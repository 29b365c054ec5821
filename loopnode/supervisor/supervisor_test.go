package supervisor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// verdicts is a policy that answers from a list and keeps what it was asked.
type verdicts struct {
	*loopnode.DefaultPolicy
	mu     sync.Mutex
	answer func(loopnode.Failure) loopnode.Directive
	asked  []error
	fail   error // of NewLoop
	made   int
}

func (p *verdicts) OnFailure(f loopnode.Failure) loopnode.Directive {
	p.mu.Lock()
	p.asked = append(p.asked, f.Reason)
	p.mu.Unlock()
	if p.answer == nil {
		return p.DefaultPolicy.OnFailure(f)
	}
	return p.answer(f)
}

func (p *verdicts) NewLoop(name string) (*loopnode.Loop, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made++; p.made > 1 && p.fail != nil {
		return nil, p.fail
	}
	return p.DefaultPolicy.NewLoop(name)
}

func quietPolicy() *loopnode.DefaultPolicy {
	return &loopnode.DefaultPolicy{Config: loopnode.Config{Logger: hclog.NewNullLogger()}}
}

// watcher keeps what it is told about the actors it watches.
type watcher struct {
	of    []actors.Ref
	begun bool // it watches
	told  []error
}

func (w *watcher) Receive(c *actors.Context) {
	switch m := c.Message().(type) {
	case actors.Started:
		for _, r := range w.of {
			c.Watch(r)
		}
		w.begun = true
	case actors.Terminated:
		w.told = append(w.told, m.Reason)
	}
}

func newVerdicts(answer func(loopnode.Failure) loopnode.Directive) *verdicts {
	return &verdicts{DefaultPolicy: quietPolicy(), answer: answer}
}

// supervised starts cfg and tells each life's loop; the end of the test stops it.
func supervised(t *testing.T, cfg Config) (*Supervisor, <-chan *Life) {
	t.Helper()
	lives := make(chan *Life, 100)
	setup := cfg.Setup
	cfg.Setup = func(ctx context.Context, life *Life) error {
		if setup != nil {
			if err := setup(ctx, life); err != nil {
				return err
			}
		}
		lives <- life
		return nil
	}
	s, err := Start(cfg)
	testloop.Must(t, err)
	t.Cleanup(func() { stopSupervised(t, s) })
	return s, lives
}

func stopSupervised(t *testing.T, s *Supervisor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testloop.Patience)
	defer cancel()
	testloop.Must(t, s.Stop(ctx))
}

func comes[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(testloop.Patience):
		t.Fatal("nothing came")
	}
	return v
}

// panics makes n callbacks of the loop of life panic, one a turn.
func panics(life *Life, n int) {
	_ = life.Loop().Ref().CallSoonThreadsafe(func() {
		if n > 1 {
			panics(life, n-1)
		}
		panic("a callback fails")
	})
}

func TestStart(t *testing.T) {
	t.Run("a budget of failed callbacks: within it the loop goes on, past it comes a new life", func(t *testing.T) {
		p := newVerdicts(nil)
		s, lives := supervised(t, Config{Name: "gateway", Policy: p, Panics: 5})
		first := comes(t, lives)
		panics(first, 5)
		alive := make(chan struct{})
		testloop.Must(t, first.Loop().Ref().CallSoonThreadsafe(func() { first.Loop().CallLater(0, func() { close(alive) }) }))
		comes(t, alive)
		if ref, err := s.Ref(); err != nil || ref != first.Loop().Ref() || len(p.asked) != 0 {
			t.Fatal("within the budget:", ref, err, p.asked)
		}
		panics(first, 1)
		second := comes(t, lives)
		if second.Number() != 2 || second.Loop() == first.Loop() || second.Loop().Name() != "gateway" || s.Lives() != 2 {
			t.Fatal(second.Number(), second.Loop(), s.Lives())
		}
		if why := second.Reason(); !errors.Is(why, ErrTooManyPanics) || !errors.Is(first.Loop().CloseReason(), ErrTooManyPanics) {
			t.Fatal(why, first.Loop().CloseReason())
		}
	})
	t.Run("Resume goes on with the same loop and its queue", func(t *testing.T) {
		p := newVerdicts(func(loopnode.Failure) loopnode.Directive { return actors.Resume })
		s, lives := supervised(t, Config{Policy: p, Panics: 1})
		life := comes(t, lives)
		panics(life, 2)
		ran := make(chan struct{})
		testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("exit"))) }))
		testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { close(ran) }))
		comes(t, ran)
		if s.Lives() != 1 || life.Loop().IsClosed() {
			t.Fatal(s.Lives())
		}
	})
	t.Run("a fatal error ends the life; what lives on the loop is told why", func(t *testing.T) {
		boom := errors.New("the goroutine failed")
		sys, err := actors.New(actors.Options{Logger: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		home, _ := testloop.New(t)
		told := make(chan error, 1)
		s, lives := supervised(t, Config{Policy: newVerdicts(nil), Setup: func(ctx context.Context, life *Life) error {
			if life.Number() > 1 {
				return nil
			}
			life.Loop().OnClose(func() { told <- life.Loop().CloseReason() })
			_, err := sys.Spawn(life.Loop(), "lodger", func() actors.Actor { return actors.Func(func(*actors.Context) {}) })
			return err
		}})
		first := comes(t, lives)
		w := &watcher{of: []actors.Ref{sys.Ref(actors.Address{Path: "lodger"})}}
		_, err = sys.Spawn(home, "watcher", func() actors.Actor { return w })
		testloop.Must(t, err)
		for !w.begun {
			testloop.Must(t, home.RunOnce(testloop.Patience))
		}
		testloop.Must(t, first.Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(boom)) }))
		if err := comes(t, told); !errors.Is(err, boom) || !errors.Is(err, loopnode.ErrLoopClosed) {
			t.Fatal(err)
		}
		if second := comes(t, lives); !errors.Is(second.Reason(), boom) {
			t.Fatal(second.Reason())
		}
		for len(w.told) == 0 {
			testloop.Must(t, home.RunOnce(testloop.Patience))
		}
		if !errors.Is(w.told[0], actors.ErrLoopDied) || !errors.Is(w.told[0], boom) {
			t.Fatal(w.told)
		}
		stopSupervised(t, s)
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
	})
	t.Run("Stop and Escalate end it; Err tells why", func(t *testing.T) {
		boom := errors.New("boom")
		for _, d := range []loopnode.Directive{actors.Stop, actors.Escalate} {
			escalated := make(chan loopnode.Failure, 1)
			s, lives := supervised(t, Config{
				Policy:     newVerdicts(func(loopnode.Failure) loopnode.Directive { return d }),
				OnEscalate: func(f loopnode.Failure) { escalated <- f },
			})
			life := comes(t, lives)
			testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(boom)) }))
			comes(t, s.Done())
			_, err := s.Ref()
			if !errors.Is(s.Err(), boom) || !errors.Is(err, loopnode.ErrLoopClosed) || !errors.Is(err, boom) || !life.Loop().IsClosed() {
				t.Fatal(d, s.Err(), err)
			}
			if (len(escalated) == 1) != (d == actors.Escalate) {
				t.Fatal(d, "escalated:", len(escalated))
			}
		}
	})
	t.Run("too many restarts escalate", func(t *testing.T) {
		broken := errors.New("port taken")
		var decided []loopnode.Directive
		s, err := Start(Config{
			Policy:     newVerdicts(func(loopnode.Failure) loopnode.Directive { return actors.Undecided }),
			Strategy:   actors.Strategy{Restart: actors.Transient, Intensity: 3, Backoff: actors.Backoff{Min: time.Millisecond}},
			Setup:      func(context.Context, *Life) error { return broken },
			OnDecided:  func(f loopnode.Failure) { decided = append(decided, f.Directive) },
			OnEscalate: func(f loopnode.Failure) { panic("escalated") },
		})
		testloop.Must(t, err)
		comes(t, s.Done())
		testloop.Same(t, decided, []loopnode.Directive{actors.Restart, actors.Restart, actors.Restart, actors.Escalate})
		if !errors.Is(s.Err(), broken) || !errors.Is(s.Err(), actors.ErrTooManyRestarts) || s.Lives() != 4 {
			t.Fatal(s.Err(), s.Lives())
		}
	})
	t.Run("a loop that cannot be made anew counts as a failure, a policy that panics as Stop", func(t *testing.T) {
		none := errors.New("no descriptors")
		p := newVerdicts(nil)
		p.fail = none
		s, lives := supervised(t, Config{Policy: p, Strategy: actors.Strategy{Intensity: 2}})
		testloop.Must(t, comes(t, lives).Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("first"))) }))
		comes(t, s.Done())
		if !errors.Is(s.Err(), none) || !errors.Is(s.Err(), actors.ErrTooManyRestarts) {
			t.Fatal(s.Err())
		}
		s, lives = supervised(t, Config{Policy: newVerdicts(func(loopnode.Failure) loopnode.Directive { panic("no idea") })})
		testloop.Must(t, comes(t, lives).Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(none)) }))
		comes(t, s.Done())
		if !errors.Is(s.Err(), none) {
			t.Fatal(s.Err())
		}
	})
	t.Run("a loop that stops itself has ended; a permanent one comes back", func(t *testing.T) {
		s, lives := supervised(t, Config{Policy: newVerdicts(nil)})
		testloop.Must(t, comes(t, lives).Loop().Ref().Stop())
		comes(t, s.Done())
		testloop.Must(t, s.Err())
		_, lives = supervised(t, Config{Policy: newVerdicts(nil), Strategy: actors.Strategy{Restart: actors.Permanent}})
		testloop.Must(t, comes(t, lives).Loop().Ref().Stop())
		if second := comes(t, lives); second.Number() != 2 || !errors.Is(second.Reason(), actors.ErrStopped) {
			t.Fatal(second.Number(), second.Reason())
		}
	})
	t.Run("Stop cancels and awaits the tasks, also during a back-off", func(t *testing.T) {
		cleaned := false
		s, lives := supervised(t, Config{Policy: newVerdicts(nil), Setup: func(ctx context.Context, life *Life) error {
			loopnode.CreateTask(ctx, "worker", func(ctx context.Context) (int, error) {
				err := loopnode.Sleep(ctx, time.Hour)
				_ = loopnode.Sleep(ctx, 0)
				cleaned = true
				return 0, err
			})
			return nil
		}})
		comes(t, lives)
		stopSupervised(t, s)
		stopSupervised(t, s)
		if !cleaned || s.Err() != nil {
			t.Fatal(cleaned, s.Err())
		}
		decided := make(chan loopnode.Failure, 1)
		s, lives = supervised(t, Config{
			Policy: newVerdicts(nil), Strategy: actors.Strategy{Backoff: actors.Backoff{Min: time.Hour, Max: time.Hour}},
			OnDecided: func(f loopnode.Failure) { decided <- f },
		})
		testloop.Must(t, comes(t, lives).Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("x"))) }))
		if f := comes(t, decided); f.Delay != time.Hour || f.Restarts != 1 {
			t.Fatalf("%+v", f)
		}
		stopSupervised(t, s)
	})
	t.Run("no first loop is an error of Supervise", func(t *testing.T) {
		p := quietPolicy()
		p.Config.MaxWorkers = -1
		if _, err := Start(Config{Policy: p}); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Fatal(err)
		}
	})
}

type keptValue struct{ closed *[]string }

func (k keptValue) Close() error { *k.closed = append(*k.closed, "kept"); return nil }

func TestKeep(t *testing.T) {
	var closed []string
	opened := 0
	s, lives := supervised(t, Config{Policy: newVerdicts(nil), Setup: func(ctx context.Context, life *Life) error {
		_, err := Keep(life, "socket", func() (keptValue, error) { opened++; return keptValue{&closed}, nil })
		if err != nil {
			return err
		}
		if _, err = Keep(life, "socket", func() (*loopnode.Runner, error) { return loopnode.NewRunner(), nil }); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Errorf("another type: %v", err)
		}
		refused := errors.New("refused")
		if _, err = Keep(life, "other", func() (keptValue, error) { return keptValue{}, refused }); !errors.Is(err, refused) {
			t.Errorf("open's error: %v", err)
		}
		return nil
	}})
	testloop.Must(t, comes(t, lives).Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errors.New("x"))) }))
	comes(t, lives)
	if opened != 1 || len(closed) != 0 {
		t.Fatalf("opened %d times, closed %v", opened, closed)
	}
	stopSupervised(t, s)
	testloop.Same(t, closed, []string{"kept"})
}

// stuckAfter is when a callback counts as stuck here. A machine that is busy may let any
// callback stand for some time slices, and that one is not to count.
const stuckAfter = 300 * time.Millisecond

func TestStuckLoop(t *testing.T) {
	stuckPolicy := func(answer func(loopnode.Failure) loopnode.Directive) *verdicts {
		p := newVerdicts(answer)
		p.Config.Stuck = stuckAfter
		return p
	}
	// block makes the loop of life stuck until the function it returns is called.
	block := func(t *testing.T, life *Life) (release func()) {
		gate := make(chan struct{})
		testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { <-gate }))
		return sync.OnceFunc(func() { close(gate) })
	}
	quarantined := func(t *testing.T, s *Supervisor, want bool) {
		t.Helper()
		for deadline := time.Now().Add(testloop.Patience); ; {
			_, err := s.Ref()
			if errors.Is(err, loopnode.ErrStuck) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("quarantined: want %v, got %v", want, err)
			}
			<-time.After(time.Millisecond)
		}
	}
	t.Run("Resume: warned, then quarantined, and back when it moves", func(t *testing.T) {
		p := stuckPolicy(nil)
		s, lives := supervised(t, Config{Policy: p})
		release := block(t, comes(t, lives))
		defer release()
		quarantined(t, s, true) // begins before the policy is asked
		asked := func() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.asked) }
		for deadline := time.Now().Add(testloop.Patience); asked() < 2 && time.Now().Before(deadline); {
			<-time.After(time.Millisecond)
		}
		p.mu.Lock()
		var e *loopnode.StuckError
		if len(p.asked) < 2 || !errors.As(p.asked[0], &e) || e.For < stuckAfter || !strings.Contains(e.Frame, "TestStuckLoop") || e.Stack == "" {
			t.Errorf("asked %v", p.asked)
		}
		p.mu.Unlock()
		release()
		quarantined(t, s, false)
		if s.Lives() != 1 {
			t.Fatal(s.Lives())
		}
	})
	t.Run("Restart: no new work at once, a new life when it moves", func(t *testing.T) {
		s, lives := supervised(t, Config{Policy: stuckPolicy(func(loopnode.Failure) loopnode.Directive { return actors.Restart })})
		first := comes(t, lives)
		release := block(t, first)
		defer release()
		quarantined(t, s, true)
		if s.Lives() != 1 {
			t.Fatal("a new life beside one that is stuck")
		}
		release()
		if second := comes(t, lives); !errors.Is(second.Reason(), loopnode.ErrStuck) || !errors.Is(first.Loop().CloseReason(), loopnode.ErrStuck) {
			t.Fatal(second.Reason())
		}
		quarantined(t, s, false)
	})
	t.Run("Escalate: the program hears of it while the loop is stuck", func(t *testing.T) {
		escalated := make(chan loopnode.Failure, 1)
		s, lives := supervised(t, Config{
			Policy:     stuckPolicy(func(loopnode.Failure) loopnode.Directive { return actors.Escalate }),
			OnEscalate: func(f loopnode.Failure) { escalated <- f },
		})
		release := block(t, comes(t, lives))
		defer release()
		if f := comes(t, escalated); !errors.Is(f.Reason, loopnode.ErrStuck) || f.Loop != s.Name() {
			t.Fatal(f)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := s.Stop(ctx); !errors.Is(err, loopnode.ErrTimeout) {
			t.Fatal("Stop of a stuck loop:", err)
		}
		release()
		comes(t, s.Done())
	})
}

// The delays grow from failure to failure, and begin anew after a life that
// lasted longer than the period.
func TestBackoffBeginsAnew(t *testing.T) {
	decided := make(chan time.Duration, 10)
	_, lives := supervised(t, Config{
		Policy:    newVerdicts(nil),
		Strategy:  actors.Strategy{Period: time.Second, Intensity: 100, Backoff: actors.Backoff{Min: time.Millisecond, Max: time.Second}},
		OnDecided: func(f loopnode.Failure) { decided <- f.Delay },
	})
	fail := func(life *Life) time.Duration {
		testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(errBoom)) }))
		return comes(t, decided)
	}
	first := fail(comes(t, lives))
	second := fail(comes(t, lives))
	life := comes(t, lives)
	<-time.After(1100 * time.Millisecond) // this life lasts longer than the period
	if third := fail(life); second <= first || third > first*2 {
		t.Errorf("delays %v, %v and, after a life that lasted, %v", first, second, third)
	}
}

func TestWhatIsAFailureOfALoop(t *testing.T) {
	for name, why := range map[string]error{
		"a cancellation that nobody asked for": loopnode.ErrCancelled,
		"the stuck callback of another loop":   &loopnode.StuckError{},
		"the normal end of something else":     actors.ErrStopped,
	} {
		t.Run(name, func(t *testing.T) {
			lives := make(chan int, 2)
			s, err := Start(Config{Policy: newVerdicts(nil), Setup: func(_ context.Context, life *Life) error {
				lives <- life.Number()
				if life.Number() == 1 {
					return why
				}
				return nil
			}})
			testloop.Must(t, err)
			defer stopSupervised(t, s)
			comes(t, lives)
			if n := comes(t, lives); n != 2 {
				t.Error("life", n)
			}
		})
	}
}

func TestStopOnItsOwnLoop(t *testing.T) {
	stopped := make(chan error, 1)
	var s *Supervisor
	ready := make(chan struct{})
	s, err := Start(Config{Policy: newVerdicts(nil), Setup: func(ctx context.Context, life *Life) error {
		loopnode.Go(ctx, "stops", func(ctx context.Context) error {
			if _, _, err := loopnode.Recv(ctx, ready); err != nil {
				return err
			}
			err := s.Stop(ctx) // cancelled by the end of its own loop, at the latest
			stopped <- err
			return err
		})
		return nil
	}})
	testloop.Must(t, err)
	close(ready)
	comes(t, s.Done())
	testloop.IsErr(t, comes(t, stopped), loopnode.ErrCancelled)
}
