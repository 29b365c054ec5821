package supervisor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// run is the supervisor's goroutine: one life after the other.
func (s *Supervisor) run(l *loopnode.Loop) {
	defer close(s.done)
	defer s.closeKept()
	var why error
	for l != nil {
		f := s.live(l, why)
		s.end()
		if f == nil {
			return
		}
		why = f.Reason
		l = s.next(f)
	}
}

// begin makes l the present life. Before the run of l.
func (s *Supervisor) begin(l *loopnode.Loop) {
	s.panics.Reset()
	loopaccess.Of(l).Supervise((*follower)(s))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loop, s.born = l, time.Now()
	s.life++
}

func (s *Supervisor) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loop, s.stuck, s.away, s.decided = nil, nil, false, nil
}

// live is one life: nil when it ended as it was asked to. The loop is closed
// when it returns.
func (s *Supervisor) live(l *loopnode.Loop, why error) *loopnode.Failure {
	s.setup(l, why)
	for !s.stopping() {
		f := s.verdict(l.RunForever())
		switch {
		case f == nil || s.stopping():
		case f.Directive == actors.Resume && !l.IsClosed():
			s.panics.Reset()
			s.moves()
			continue
		default:
			_ = l.CloseWith(f.Reason) // descriptors are gone either way
			return f
		}
		break
	}
	if err := loopaccess.Of(l).TeardownAndClose(); err != nil {
		l.Logger().Warn("ending the loop failed", "loop", s.name, "error", err)
	}
	return nil
}

// setup queues the first task of the life.
func (s *Supervisor) setup(l *loopnode.Loop, why error) {
	if s.cfg.Setup == nil {
		return
	}
	life := &Life{s: s, loop: l, n: s.Lives(), reason: why}
	k := loopnode.CreateTask(l.Context(context.Background()), "setup", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.cfg.Setup(ctx, life)
	})
	loopaccess.ShowTaskAs(k.Context(), s.cfg.Setup)
	ended := func() {
		// Cancelling counts requests: a Setup that returns a cancellation nobody asked
		// for has failed.
		if err := k.Exception(); err != nil && k.Cancelling() == 0 {
			panic(loopnode.Fatal(fmt.Errorf("setting up loop %s: %w", s.name, err)))
		}
	}
	if k.Loop() == nil { // the loop's TaskFactory refused it
		l.CallSoon(ended)
		return
	}
	k.AddDoneCallback(func(*loopnode.Future[struct{}]) { ended() })
}

// verdict is what follows from the end of a run; nil: it was asked to end.
func (s *Supervisor) verdict(err error) *loopnode.Failure {
	s.mu.Lock()
	decided := s.decided
	s.mu.Unlock()
	switch {
	case decided != nil:
		return decided
	case err != nil:
		return s.decide(&loopnode.Failure{Reason: err})
	case s.cfg.Strategy.Restart == actors.Permanent && !s.stopping():
		return s.decide(&loopnode.Failure{Reason: actors.ErrStopped, Normal: true})
	}
	return nil
}

// next makes the loop of the next life; nil ends the supervision.
func (s *Supervisor) next(f *loopnode.Failure) *loopnode.Loop {
	for {
		if f.Directive != actors.Restart {
			s.mu.Lock()
			s.err = f.Reason
			s.mu.Unlock()
			return nil
		}
		if !s.pause(f.Delay) {
			return nil
		}
		l, err := s.newLoop()
		if err == nil {
			s.begin(l)
			return l
		}
		f = s.decide(&loopnode.Failure{Reason: fmt.Errorf("making loop %s anew: %w", s.name, err)})
	}
}

// pause waits out a back-off; false: Stop was called.
func (s *Supervisor) pause(d time.Duration) bool {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.quit:
		}
	}
	return !s.stopping()
}

// follower is the Supervisor as its loop sees it.
type follower Supervisor

// CallbackFailed counts a failed callback. Loop goroutine.
func (f *follower) CallbackFailed(last error) error {
	if f.panics.Admit(int64(time.Since(f.start)), f.cfg.Panics, f.cfg.Period) {
		return nil
	}
	return fmt.Errorf("%w: more than %d within %v, the last one: %w", ErrTooManyPanics, f.cfg.Panics, f.cfg.Period, last)
}

// Moves hears that the stuck callback has returned. Watchdog's goroutine.
func (f *follower) Moves() { (*Supervisor)(f).moves() }

// Stuck hears of a callback that does not return. Watchdog's goroutine.
func (f *follower) Stuck(err error, still func() bool) {
	if e := (*loopnode.StuckError)(nil); errors.As(err, &e) {
		(*Supervisor)(f).hung(e, still)
	}
}

// moves ends the quarantine, unless the end of this life is decided already.
func (s *Supervisor) moves() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.decided == nil {
		s.stuck, s.away = nil, false
	}
}

// hung quarantines a loop that is reported stuck for the second time, and asks
// what to do with it.
func (s *Supervisor) hung(e *loopnode.StuckError, still func() bool) {
	s.mu.Lock()
	already := s.decided != nil
	if !already {
		s.away = s.stuck != nil // the second report
		s.stuck = e
	}
	s.mu.Unlock()
	if already {
		return
	}
	f := s.decide(&loopnode.Failure{Reason: e})
	if f.Directive == actors.Resume || !still() {
		return // a verdict that comes when the callback has returned is too late
	}
	s.mu.Lock()
	l := s.loop
	s.decided, s.away = f, true
	s.mu.Unlock()
	_ = l.Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(e)) }) // as soon as it moves
}

// decide answers a failure and tells who wants to know. Any goroutine.
func (s *Supervisor) decide(f *loopnode.Failure) *loopnode.Failure {
	f.Loop, f.At = s.name, time.Now()
	f.Directive = f.Ask(asked(s.policy.OnFailure))
	if f.Directive == actors.Undecided {
		f.Directive = f.Ask(asked(s.cfg.Strategy.Decide))
	}
	if f.Directive == actors.Undecided {
		f.Directive = s.byLifetime(f.Reason)
	}
	s.budgeted(f)
	s.log.Warn("supervised loop failed", "loop", s.name, "directive", f.Directive, "error", f.Reason, "restarts", f.Restarts, "delay", f.Delay)
	tell(s.cfg.OnDecided, *f)
	if f.Directive == actors.Escalate {
		tell(s.cfg.OnEscalate, *f)
	}
	return f
}

// byLifetime is the answer of a strategy without an opinion.
func (s *Supervisor) byLifetime(why error) loopnode.Directive {
	switch {
	case isStuck(why):
		return actors.Resume
	case s.cfg.Strategy.Restart == actors.Temporary:
		return actors.Stop
	}
	return actors.Restart
}

// budgeted holds restarts to the strategy's limits.
func (s *Supervisor) budgeted(f *loopnode.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Directive == actors.Restart {
		intensity, period := s.cfg.Strategy.Limits()
		if !s.born.IsZero() && time.Since(s.born) >= period {
			s.streak = 0 // the life that ends lasted: the back-off begins anew
		}
		s.born = time.Time{} // counts once: the next life has not begun
		if s.restarts.Admit(int64(time.Since(s.start)), intensity, period) {
			f.Delay = s.cfg.Strategy.Backoff.Delay(s.streak, rand.Float64())
			s.streak++
		} else {
			f.Reason = fmt.Errorf("%w: %d within %v: %w", actors.ErrTooManyRestarts, intensity, period, f.Reason)
			if f.Directive = s.cfg.Strategy.Exceeded; f.Directive == actors.Undecided || f.Directive == actors.Restart {
				f.Directive = actors.Escalate
			}
		}
	}
	f.Restarts = s.restarts.Len()
}

// isStuck tells the watchdog's own report from an error of the user's that wraps
// one, of another loop.
func isStuck(why error) bool {
	_, is := why.(*loopnode.StuckError)
	return is
}
