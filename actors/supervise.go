package actors

import (
	"cmp"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/internal/budget"
)

// A failure of an actor (a panic, Goexit, Exit with an error) suspends the actor
// and goes to the supervisor: the actor's own, if it was spawned WithStrategy,
// otherwise the one its parent has for its children. The supervisor decides
//
//	Resume    the actor goes on with the next message
//	Restart   the life ends, after the back-off a new one begins
//	Stop      the actor ends
//	Escalate  the failure becomes the parent's; at the top Options.OnFailure is asked
//
// Invariant: for a suspended actor exactly one of these follows, so it is never
// suspended for ever. That holds even when a user's Decide ends the goroutine: the
// decision is then Stop, made on the way out.

// supervisor is a strategy with its budget. Owned by the loop of those it
// supervises.
type supervisor struct {
	sys      *System
	strategy Strategy
	restarts budget.Window
}

func newSupervisor(s *System, st Strategy) *supervisor {
	return &supervisor{sys: s, strategy: st}
}

// report is a failure on its way up, as protoactor's reason.
type report struct {
	child *cell
	life  uint64
	from  *report // the child's failure that was escalated into this one, or nil
	err   error
	msg   any
	hook  hookKind
	// normal: the actor ended itself without an error. Why a field:
	// errors.Is(err, ErrStopped) is also true when it failed with another actor's end.
	normal bool
}

// failed reports the failure of the current message to the supervisor.
func (c *cell) failed(err error) {
	c.refuseAsk(err)
	c.fail(noHook, c.ctx.current.msg, err)
}

// refuseAsk answers the Ask whose message is the current one with an error, so
// that its sender does not wait for the deadline.
func (c *cell) refuseAsk(err error) {
	if q, ok := c.ctx.current.sender.at.(asked); ok {
		q.settle(nil, err)
	}
}

func (c *cell) fail(kind hookKind, msg any, err error) {
	c.exiting, c.exitErr = false, nil
	if c.phase != alive {
		c.sys.hookFailed(c, kind, err)
		return
	}
	c.escalate(&report{child: c, life: c.life, err: err, msg: msg, hook: kind})
}

// escalate suspends the actor and hands the failure to its parent. The message
// stays with the report: protoactor needs only the reason.
func (c *cell) escalate(r *report) {
	c.suspended = true // protoactor's own order to suspend comes as a message
	c.invoker.EscalateFailure(r, nil)
}

// exit ends an actor that called Exit or End.
func (c *cell) exit() {
	err := c.exitErr
	c.exiting, c.exitErr = false, nil
	switch {
	case c.exitForGood:
		c.stop(cmp.Or(err, ErrStopped))
	case err != nil:
		c.failed(err)
	case c.lifetimeBy(c.supervisor().strategy) != Permanent:
		c.stop(ErrStopped)
	default:
		c.refuseAsk(ErrStopped)
		c.escalate(&report{child: c, life: c.life, err: ErrStopped, msg: c.ctx.current.msg, normal: true})
	}
}

func (c *cell) supervisor() *supervisor {
	if c.own != nil {
		return c.own
	}
	return c.parent.ofChildren
}

// lifetimeBy is the actor's own lifetime, or the strategy's.
func (c *cell) lifetimeBy(st Strategy) Lifetime {
	if c.lifetime != nil {
		return *c.lifetime
	}
	return st.Restart
}

// handle answers one failure. Loop goroutine of the child.
func (s *supervisor) handle(r *report) {
	c := r.child
	if c.phase != alive || c.restartDue || r.life != c.life {
		return // a sibling's failure restarts it already, or it ends
	}
	f := &Failure{Who: c.ref(), Reason: r.err, Normal: r.normal, Message: r.msg, Hook: r.hook.String(), Loop: c.host.loop.Name()}
	decided := false
	defer func() {
		if !decided { // a user's Decide has ended the goroutine; Failure.Ask has put that into Reason
			f.Directive = Stop
		}
		s.sys.publish(*f)
		s.apply(r, f)
	}()
	s.decide(c, f)
	decided = true
}

// decide fills in the directive and what belongs to it. It may not return.
func (s *supervisor) decide(c *cell, f *Failure) {
	err := f.Reason
	f.Directive = s.directive(c, f)
	if f.Directive == Restart && !s.admit(c) {
		intensity, period := s.strategy.Limits()
		f.Reason = fmt.Errorf("%w: %d within %v: %w", ErrTooManyRestarts, intensity, period, err)
		f.Directive = s.strategy.Exceeded
		if f.Directive == Undecided || f.Directive == Restart {
			f.Directive = Escalate
		}
	}
	if f.Directive == Escalate && c.parent == nil {
		f.Directive = s.policy(f)
	}
	if f.Directive == Resume && c.actor == nil {
		f.Directive = Stop // its factory failed: there is nothing to resume
	}
	if f.Directive == Restart {
		f.Delay = s.delay(c)
		f.Restarts = s.restarts.Len()
	}
}

func (s *supervisor) directive(c *cell, f *Failure) Directive {
	if d := f.Ask(s.strategy.Decide); d != Undecided {
		return d
	}
	switch c.lifetimeBy(s.strategy) {
	case Permanent:
		return Restart
	case Transient:
		if !f.Normal {
			return Restart
		}
	}
	return Stop
}

// policy asks Options.OnFailure about a failure that an actor at the top escalates.
func (s *supervisor) policy(f *Failure) Directive {
	if d := f.Ask(s.sys.opts.OnFailure); d != Undecided && d != Escalate {
		return d
	}
	return Stop
}

// admit counts a restart, unless the budget is spent.
func (s *supervisor) admit(c *cell) bool {
	intensity, period := s.strategy.Limits()
	return s.restarts.Admit(s.sys.now(c.host), intensity, period)
}

// delay is the back-off of the next restart of c, which it counts.
func (s *supervisor) delay(c *cell) time.Duration {
	if _, period := s.strategy.Limits(); s.sys.now(c.host)-c.startedAt >= int64(period) {
		c.streak = 0 // the last life lasted
	}
	d := s.strategy.Backoff.Delay(c.streak, s.sys.opts.Rand())
	c.streak++
	return d
}

func (s *supervisor) apply(r *report, f *Failure) {
	c := r.child
	switch f.Directive {
	case Resume:
		c.postSystem(paResume)
		for from := r.from; from != nil; from = from.from {
			from.child.postSystem(paResume) // its failure was answered along with this one
		}
	case Restart:
		for _, k := range s.restartedWith(c) {
			if k != c && k.lifetimeBy(s.strategy) == Temporary {
				k.postSystem(&stopNote{ErrStopped})
				continue // a temporary actor is never restarted
			}
			k.orderRestart(f.Delay, f.Reason)
		}
	case Escalate:
		c.parent.escalate(&report{child: c.parent, life: c.parent.life, from: r, err: f.Reason, msg: r.msg, hook: r.hook})
	default:
		c.postSystem(&stopNote{f.Reason})
	}
}

// restartedWith are the actors that restart together with c, itself included, in spawn
// order.
func (s *supervisor) restartedWith(c *cell) []*cell {
	if c.own != nil || s.strategy.Scope == OneForOne {
		return []*cell{c}
	}
	var list []*cell
	seen := s.strategy.Scope == OneForAll
	for _, k := range c.parent.children {
		seen = seen || k == c
		if seen && k.own == nil && k.phase == alive {
			list = append(list, k)
		}
	}
	return list
}

// orderRestart restarts the actor after d; until then it takes no messages. The
// life is over now: the Asks that it has taken are answered, because nobody will
// do it later and the back-off may be long.
func (c *cell) orderRestart(d time.Duration, reason error) {
	c.dropBackoff()
	c.suspended = true
	c.setRestartDue(true)
	c.settleTaken(fmt.Errorf("%s restarts before it has answered: %w", c.path, reason))
	if d <= 0 {
		c.postSystem(paRestart)
		return
	}
	c.cancelBackoff = c.host.after(d, func() {
		c.cancelBackoff = nil
		c.postSystem(paRestart)
	})
}

func (c *cell) setRestartDue(due bool) {
	c.restartDue = due
	if c.restartShown.Load() != due {
		c.restartShown.Store(due)
	}
}

// dropBackoff forgets a delayed restart.
func (c *cell) dropBackoff() {
	if c.cancelBackoff != nil {
		c.cancelBackoff()
	}
	c.cancelBackoff = nil
}
