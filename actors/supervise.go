package actors

import (
	"cmp"
	"fmt"
	"time"

	pa "github.com/asynkron/protoactor-go/actor"

	"github.com/loopmesh/loopmesh/internal/budget"
)

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
	why   error
	msg   any
	hook  hookKind
	// normal: the actor ended itself without an error. Why a mark of its own:
	// errors.Is(why, ErrStopped) is also true for a failure with another's end.
	normal bool
}

// failed takes what went wrong in the current message to the supervisor.
func (c *cell) failed(why error) {
	c.refuseAsk(why)
	c.fail(noHook, c.ctx.now.msg, why)
}

// refuseAsk answers the Ask whose message is the current one with an error, so
// that its sender does not wait for the deadline.
func (c *cell) refuseAsk(why error) {
	if q, ok := c.ctx.now.sender.at.(asked); ok {
		q.settle(nil, why)
	}
}

func (c *cell) fail(kind hookKind, msg any, why error) {
	c.leaving, c.leaveWhy = false, nil
	if c.phase != alive {
		c.sys.hookFailed(c, kind, why)
		return
	}
	c.escalate(&report{child: c, life: c.life, why: why, msg: msg, hook: kind})
}

// escalate suspends the actor and hands the failure to its parent. The message
// stays with the report: protoactor needs only the reason.
func (c *cell) escalate(r *report) {
	c.suspended = true // protoactor's own order to suspend comes as a message
	c.invoker.EscalateFailure(r, nil)
}

// leave ends an actor that called Exit or End.
func (c *cell) leave() {
	why := c.leaveWhy
	c.leaving, c.leaveWhy = false, nil
	if c.leaveForGood {
		c.stop(cmp.Or(why, ErrStopped))
		return
	}
	if why != nil {
		c.failed(why)
		return
	}
	if c.lives(c.supervisor().strategy) != Permanent {
		c.stop(ErrStopped)
		return
	}
	c.refuseAsk(ErrStopped)
	c.escalate(&report{child: c, life: c.life, why: ErrStopped, msg: c.ctx.now.msg, normal: true})
}

func (c *cell) supervisor() *supervisor {
	if c.own != nil {
		return c.own
	}
	return c.parent.below
}

func (c *cell) lives(st Strategy) Lifetime {
	if c.lifetime != nil {
		return *c.lifetime
	}
	return st.Restart
}

// HandleFailure is protoactor's question to a parent about a child.
func (c *cell) HandleFailure(_ *pa.ActorSystem, _ pa.Supervisor, _ *pa.PID, _ *pa.RestartStatistics, reason, _ interface{}) {
	if r, ok := reason.(*report); ok {
		r.child.supervisor().handle(r)
	}
}

// top is protoactor's guardian of the actors that have no parent.
type top struct{}

// HandleFailure is protoactor's question to the top about an actor there.
func (*top) HandleFailure(_ *pa.ActorSystem, _ pa.Supervisor, _ *pa.PID, _ *pa.RestartStatistics, reason, _ interface{}) {
	if r, ok := reason.(*report); ok {
		r.child.supervisor().handle(r)
	}
}

// handle answers one failure. Loop goroutine of the child.
func (s *supervisor) handle(r *report) {
	c := r.child
	if c.phase != alive || c.comingBack || r.life != c.life {
		return // a sibling's failure restarts it already, or it ends
	}
	f := Failure{Who: c.ref(), Reason: r.why, Normal: r.normal, Message: r.msg, Hook: r.hook.String(), Loop: c.host.loop.Name()}
	f.Directive = s.directive(c, &f)
	if f.Directive == Restart && !s.admit() {
		intensity, period := s.strategy.Limits()
		f.Reason = fmt.Errorf("%w: %d within %v: %w", ErrTooManyRestarts, intensity, period, r.why)
		f.Directive = s.strategy.Exceeded
		if f.Directive == Undecided || f.Directive == Restart {
			f.Directive = Escalate
		}
	}
	if f.Directive == Escalate && c.parent == nil {
		f.Directive = s.policy(&f)
	}
	if f.Directive == Resume && c.actor == nil {
		f.Directive = Stop // its factory failed: there is nothing to resume
	}
	if f.Directive == Restart {
		f.Delay = s.delay(c)
		f.Restarts = s.restarts.Len()
	}
	s.sys.publish(f)
	s.apply(r, f)
}

func (s *supervisor) directive(c *cell, f *Failure) Directive {
	if d := f.Ask(s.strategy.Decide); d != Undecided {
		return d
	}
	switch c.lives(s.strategy) {
	case Permanent:
		return Restart
	case Transient:
		if !f.Normal {
			return Restart
		}
	}
	return Stop
}

// policy answers what the top could not.
func (s *supervisor) policy(f *Failure) Directive {
	if d := f.Ask(s.sys.opts.OnFailure); d != Undecided && d != Escalate {
		return d
	}
	return Stop
}

// admit counts a restart, unless the budget is spent.
func (s *supervisor) admit() bool {
	intensity, period := s.strategy.Limits()
	return s.restarts.Admit(s.sys.opts.Now().UnixNano(), intensity, period)
}

// delay is the back-off of the next restart of c, which it counts.
func (s *supervisor) delay(c *cell) time.Duration {
	if _, period := s.strategy.Limits(); s.sys.opts.Now().UnixNano()-c.startedAt >= int64(period) {
		c.streak = 0 // the last life lasted
	}
	d := s.strategy.Backoff.Delay(c.streak, s.sys.opts.Rand())
	c.streak++
	return d
}

func (s *supervisor) apply(r *report, f Failure) {
	c := r.child
	switch f.Directive {
	case Resume:
		c.postSystem(paResume)
		for from := r.from; from != nil; from = from.from {
			from.child.postSystem(paResume) // its failure was answered along with this one
		}
	case Restart:
		for _, t := range s.along(c) {
			t.comeBack(f.Delay)
		}
	case Escalate:
		c.parent.escalate(&report{child: c.parent, life: c.parent.life, from: r, why: f.Reason, msg: r.msg, hook: r.hook})
	default:
		c.postSystem(&stopNote{f.Reason})
	}
}

// along is whom the restart of c takes along, in spawn order.
func (s *supervisor) along(c *cell) []*cell {
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

// comeBack restarts the actor after d; until then it takes no messages.
func (c *cell) comeBack(d time.Duration) {
	c.cancelBackoff()
	c.comingBack, c.suspended = true, true
	if d <= 0 {
		c.postSystem(paRestart)
		return
	}
	c.backoff = c.host.after(d, func() {
		c.backoff = nil
		c.postSystem(paRestart)
	})
}

// cancelBackoff forgets a delayed restart.
func (c *cell) cancelBackoff() {
	if c.backoff != nil {
		c.backoff()
	}
	c.backoff = nil
}
