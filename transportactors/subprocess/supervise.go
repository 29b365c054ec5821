package subprocess

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/budget"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// ExitError is how a child ended that was to end otherwise.
type ExitError struct {
	PID int
	// Code is the exit code, or -N when signal N killed the child.
	Code int
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("process %d ended: %s", e.PID, outcome(e.Code))
}

// Supervision describes a command that is started, watched, and started
// again when it ends. The zero value needs a Start.
type Supervision struct {
	// Start starts the command, as a rule with ExecProcess, and begins to
	// read what it pipes: a pipe that nobody reads stops the child. An error is a
	// failure.
	Start func(ctx context.Context) (*Process, error)
	// Strategy says which ends are followed by a new start, how many restarts
	// there may be (10 in 10 s by default) and after which delays. Temporary: none.
	// Transient: after a failure, that is a code other than 0, a signal, or an
	// error of Start. Permanent: after every end. Decide may answer a failure
	// itself; Resume counts as Restart. Scope and Exceeded do not matter here.
	Strategy actors.Strategy
	// Grace is how long a child has to end after SIGTERM, before it is killed, when
	// the supervision ends first. Zero is 5 s, negative kills at once.
	Grace time.Duration
	// OnEvent hears what happens, on the loop; it must not block. nil: nobody.
	OnEvent func(Event)
}

// EventKind is what happened to a supervised command.
type EventKind uint8

const (
	// Started: a child runs; PID is its number.
	Started EventKind = iota
	// Ended: a child has ended; Err is nil or the failure.
	Ended
	// Restarting: Start is called again after Delay.
	Restarting
	// GivenUp: there is no other start; Err says why.
	GivenUp
)

// String is the name in small letters.
func (k EventKind) String() string {
	return [...]string{"started", "ended", "restarting", "given up"}[min(k, GivenUp)]
}

// Event is one thing that happened to a supervised command.
type Event struct {
	Kind EventKind
	// PID is the child's, 0 when Start failed.
	PID int
	// Err is an *ExitError, or why Start failed.
	Err error
	// Life counts the starts from 1.
	Life int
	// Restarts is how many restarts lie within the strategy's period.
	Restarts int
	// Delay is the back-off before the next start.
	Delay time.Duration
}

// Run starts the command, waits for its end, starts it again as the strategy
// says, and so on. It returns nil when a child ended well and is not to be
// started again; the failure when that is not to be answered by a restart, with
// actors.ErrTooManyRestarts when the budget is spent. Call it in a task of its
// own: cancelling that task, or ending ctx, ends the child (SIGTERM, then
// SIGKILL after Grace), waits for that, and returns the cancellation. Errors
// besides: loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop.
func (s Supervision) Run(ctx context.Context) error {
	if s.Start == nil {
		return invalid("Supervision needs a Start")
	}
	l, err := base.Home(ctx)
	if err != nil {
		return err
	}
	r := &processRun{Supervision: s, loop: l}
	for {
		err, over := r.live(ctx)
		if over {
			return err
		}
		delay, again := r.answer(err)
		if !again {
			return r.verdict(err)
		}
		r.tell(Event{Kind: Restarting, Err: err, Delay: delay})
		if err := loopnode.Sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// processRun is one Run. Owned by its task.
type processRun struct {
	Supervision
	loop     *loopnode.Loop
	life     int
	pid      int
	born     loopnode.Instant
	streak   int // restarts in a row, for Backoff
	restarts budget.Window
	spent    bool
}

// live is one life; over: the supervision itself was ended.
func (r *processRun) live(ctx context.Context) (failure error, over bool) {
	r.life++
	r.pid, r.born = 0, r.loop.Time()
	p, err := r.start(ctx)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrLoopClosed)):
		return err, true
	case err != nil:
		r.tell(Event{Kind: Ended, Err: err})
		return err, false
	}
	r.pid = p.PID()
	r.tell(Event{Kind: Started})
	code, err := p.Wait(ctx)
	if err != nil {
		r.finish(ctx, p)
		return err, true
	}
	if code != 0 {
		failure = &ExitError{p.PID(), code}
	}
	r.tell(Event{Kind: Ended, Err: failure})
	p.Close() // Why: a grandchild may hold a pipe for ever
	return failure, false
}

// start calls Start; one that panics or returns nothing has failed.
func (r *processRun) start(ctx context.Context) (p *Process, err error) {
	if fault := guard.Call(func() { p, err = r.Start(ctx) }); fault != nil {
		return nil, fault
	}
	if p == nil && err == nil {
		err = invalid("Supervision.Start returned no process")
	}
	return p, err
}

const defaultGrace = 5 * time.Second

// finish ends the child of a supervision that ends.
func (r *processRun) finish(ctx context.Context, p *Process) {
	ctx = context.WithoutCancel(ctx)
	grace := r.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	if grace > 0 && p.Terminate() == nil {
		// A second cancellation only cuts the grace short.
		_ = loopnode.Timeout(ctx, grace, func(ctx context.Context) error { _, err := p.Wait(ctx); return err })
	}
	p.Close()
	if _, err := p.Wait(ctx); err != nil {
		return // cancelled again: the loop reaps
	}
	code, _ := p.Returncode()
	r.tell(Event{Kind: Ended, Err: &ExitError{p.PID(), code}})
}

// answer says whether there is another start, and when.
func (r *processRun) answer(failure error) (delay time.Duration, again bool) {
	intensity, period := r.Strategy.Limits()
	if !r.wanted(failure) {
		return 0, false
	}
	now := r.loop.Time()
	if !r.restarts.Admit(int64(now), intensity, period) {
		r.spent = true
		return 0, false
	}
	if now.Sub(r.born) >= period {
		r.streak = 0 // the last life lasted
	}
	delay = r.Strategy.Backoff.Delay(r.streak, rand.Float64())
	r.streak++
	return delay, true
}

// wanted asks Decide about a failure, then the lifetime.
func (r *processRun) wanted(failure error) bool {
	d := actors.Undecided
	if failure != nil && r.Strategy.Decide != nil {
		f := actors.Failure{Loop: r.loop.Name(), Reason: failure, Restarts: r.restarts.Len(), At: time.Now()}
		if fault := guard.Call(func() { d = r.Strategy.Decide(f) }); fault != nil {
			d = actors.Stop
		}
	}
	switch d {
	case actors.Restart, actors.Resume:
		return true
	case actors.Stop, actors.Escalate:
		return false
	}
	return r.Strategy.Restart == actors.Permanent || r.Strategy.Restart == actors.Transient && failure != nil
}

// verdict is what Run returns when there is no other start.
func (r *processRun) verdict(failure error) error {
	if r.spent {
		intensity, period := r.Strategy.Limits()
		if failure == nil {
			failure = errors.New("the command keeps ending")
		}
		failure = fmt.Errorf("%w: %d within %v: %w", actors.ErrTooManyRestarts, intensity, period, failure)
	}
	if failure != nil {
		r.tell(Event{Kind: GivenUp, Err: failure})
	}
	return failure
}

func (r *processRun) tell(e Event) {
	if r.OnEvent == nil {
		return
	}
	e.PID, e.Life, e.Restarts = r.pid, r.life, r.restarts.Len()
	if fault := guard.Call(func() { r.OnEvent(e) }); fault != nil {
		r.loop.CallExceptionHandler(loopnode.ExceptionContext{Message: "Exception in Supervision.OnEvent", Exception: fault})
	}
}
