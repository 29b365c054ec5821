// Package supervisor runs a loop on a goroutine of its own and, when the loop
// fails, closes it and makes a new one under the same name. What is kept with
// Keep, such as a listening socket, outlives the loops.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/budget"
	"github.com/loopmesh/loopmesh/loopnode"
)

// ErrTooManyPanics: more callbacks of a supervised loop failed than it may.
var ErrTooManyPanics = errors.New("too many callbacks of the loop failed")

// Config describes a loop that is run, watched and, when it fails, made
// anew. The zero value works but runs nothing: give it a Setup.
type Config struct {
	// Name is the loop's in every life; default: what the policy gives the first.
	Name string
	// Policy makes the loops and answers failures; nil is loopnode.EventLoopPolicy.
	Policy loopnode.Policy
	// Strategy answers what the policy leaves Undecided, and bounds restarts:
	// Intensity within Period, with Backoff; Exceeded (default Escalate) answers
	// the failure that is one too many. Permanent also restarts a loop that was
	// stopped by Loop.Stop.
	Strategy actors.Strategy
	// Setup makes what lives on the loop, as the first task of each life. An error
	// is a failure of the loop. What it keeps with Keep outlives the loop.
	Setup func(ctx context.Context, life *Life) error
	// Panics is how many callbacks may fail within Period: the next one is a
	// failure of the loop. Zero is 100, negative no limit.
	Panics int
	// Period is the window of Panics; zero is 10 s.
	Period time.Duration
	// OnEscalate hears what nobody here could answer, before the loop ends for
	// good, or while it is stuck for good: a program that exits by policy does it
	// here. nil: only Err tells. It runs on a goroutine of its own, for which the
	// supervisor or the watchdog waits.
	OnEscalate func(loopnode.Failure)
	// OnDecided hears every failure with what was decided. As OnEscalate.
	OnDecided func(loopnode.Failure)
}

// Supervisor runs one loop under one name, for as many lives as its policy gives
// it. Its methods: any goroutine.
//
//	callback panics           the exception handler; over the budget: a failure
//	fatal error, failed Setup a failure
//	callback does not return  logged; from twice Config.Stuck on, and at once when
//	                          the policy does not say Resume, Ref refuses the loop
//	                          until it moves. Go cannot kill code: Restart and Stop
//	                          take effect when it returns
//	failure                   Resume: the same loop goes on; Restart: it is closed
//	                          with the reason, so that connections and actors on it
//	                          are told, and a new one is made and set up; Stop: it
//	                          is closed; Escalate: OnEscalate is called, then Stop
type Supervisor struct {
	cfg    Config
	policy loopnode.Policy
	log    hclog.Logger // the first loop's

	panics budget.Window // loop goroutine

	mu       sync.Mutex
	name     string
	loop     *loopnode.Loop // nil between lives and at the end
	life     int
	born     time.Time
	streak   int // restarts in a row, for Backoff
	restarts budget.Window
	stuck    *loopnode.StuckError
	away     bool              // quarantined
	decided  *loopnode.Failure // while the loop was stuck; applied once the callback returns
	kept     map[string]io.Closer
	order    []string // of kept
	err      error

	start    time.Time
	quit     chan struct{}
	quitOnce sync.Once
	done     chan struct{}
}

// Start makes the first loop and runs it on a goroutine of its own. It does
// not wait for Setup. The error is the policy's NewLoop's.
func Start(cfg Config) (*Supervisor, error) {
	if cfg.Panics == 0 {
		cfg.Panics = 100
	}
	if cfg.Period <= 0 {
		cfg.Period = 10 * time.Second
	}
	s := &Supervisor{
		cfg: cfg, policy: cfg.Policy, name: cfg.Name, kept: map[string]io.Closer{},
		start: time.Now(), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if s.policy == nil {
		s.policy = loopnode.EventLoopPolicy()
	}
	l, err := s.newLoop()
	if err != nil {
		return nil, err
	}
	s.name, s.log = l.Name(), l.Logger()
	s.begin(l)
	// goroutine: owner: the Supervisor; ends after Stop or the last life, once the loop is closed.
	go s.run(l)
	return s, nil
}

// newLoop asks the policy. What that throws is why there is no loop.
func (s *Supervisor) newLoop() (l *loopnode.Loop, err error) {
	if thrown := apart(func() { l, err = s.policy.NewLoop(s.name) }); thrown != nil {
		return nil, thrown
	}
	if err == nil && l == nil {
		err = fmt.Errorf("%w: NewLoop of the policy returned no loop", loopnode.ErrInvalidArgument)
	}
	return l, err
}

// Name is the loop's name in every life.
func (s *Supervisor) Name() string { return s.name }

// Ref is the loop of the present life. Errors: loopnode.ErrLoopClosed between two lives
// and after the last, loopnode.ErrStuck while the loop is quarantined.
func (s *Supervisor) Ref() (loopnode.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.loop == nil && s.err != nil:
		return loopnode.Ref{}, fmt.Errorf("%w: %s: %w", loopnode.ErrLoopClosed, s.name, s.err)
	case s.loop == nil:
		return loopnode.Ref{}, fmt.Errorf("%w: %s has no loop at this moment", loopnode.ErrLoopClosed, s.name)
	case s.away:
		return loopnode.Ref{}, fmt.Errorf("loop %s is quarantined: %w", s.name, s.stuck)
	}
	return s.loop.Ref(), nil
}

// Lives is how many loops there have been.
func (s *Supervisor) Lives() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

// Done is closed when the last life is over and everything is closed.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// Err is the failure that ended it; nil while it lives, and after Stop.
func (s *Supervisor) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stop ends the loop in the order of Run and waits for that, or for ctx: tasks
// are cancelled and awaited, the loop is closed, what was kept is closed. A loop
// that is stuck ends when it moves.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.quitOnce.Do(func() { close(s.quit) })
	s.mu.Lock()
	l := s.loop
	s.mu.Unlock()
	if l != nil {
		_ = l.Ref().Stop() // closed: it is on its way
	}
	if _, _, err := loopnode.Recv(ctx, s.done); err != nil {
		return fmt.Errorf("%w: supervised loop %s has not ended", err, s.name)
	}
	return nil
}

func (s *Supervisor) stopping() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}
