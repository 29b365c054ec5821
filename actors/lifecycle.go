package actors

import (
	pa "github.com/asynkron/protoactor-go/actor"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// hookKind names a life-cycle step.
type hookKind uint8

const (
	noHook hookKind = iota
	hookStarted
	hookRestarting
	hookStopping
	hookStopped
)

func (h hookKind) String() string {
	return [...]string{"receive", "started", "restarting", "stopping", "stopped"}[h]
}

type hook struct{ kind hookKind }

// stopNote asks an actor to end, with a reason.
type stopNote struct{ why error }

var (
	paStop    = &pa.Stop{}
	paRestart = &pa.Restart{}
	paResume  = &pa.ResumeMailbox{}
)

// runSystem handles the system messages that are queued now; later ones bring
// their own step.
func (c *cell) runSystem() {
	for range c.sysN.Load() {
		c.mu.Lock()
		m, ok := c.system.pop()
		c.mu.Unlock()
		if !ok {
			return
		}
		c.sysN.Add(-1)
		c.handle(m)
	}
}

// handle takes one system message: ours, or one of protoactor's behind the rules
// it does not keep itself: a stopping actor is not restarted, a restarting one
// not restarted twice.
func (c *cell) handle(m any) {
	switch m := m.(type) {
	case *pa.SuspendMailbox:
		c.suspended = true
	case *pa.ResumeMailbox:
		c.resume()
	case *pa.Restart:
		if c.phase == alive {
			c.step(m)
		}
	case *pa.Stop:
		c.stop(nil)
	case *stopNote:
		c.stop(m.why)
	case *watchNote:
		c.addWatcher(m)
	case *unwatchNote:
		delete(c.watchers, m.key)
	case *Terminated:
		c.notice(*m)
	case *nodeNote:
		c.nodeDown(m)
	default:
		c.step(m)
	}
}

func (c *cell) stop(why error) {
	if c.phase >= stopping {
		return
	}
	if c.why == nil {
		c.why = why
	}
	c.cancelBackoff()
	c.step(paStop)
}

// step lets protoactor take its life-cycle step, then runs the hooks it asked
// for. Why not inside: no way in which user code ends can then leave protoactor
// between two states.
func (c *cell) step(m any) {
	c.invoker.InvokeSystemMessage(m)
	c.runHooks()
}

// Receive is called by protoactor, on the loop: to deliver the current message,
// or to say which life-cycle step it takes.
func (c *cell) Receive(pctx pa.Context) {
	switch pctx.Message().(type) {
	case *pa.Started:
		c.pctx, c.phase = pctx, alive
		c.pending = append(c.pending, hook{hookStarted})
	case *pa.Restarting:
		c.phase, c.suspended = restarting, true // protoactor resumes when the children are gone
		c.pending = append(c.pending, hook{hookRestarting})
	case *pa.Stopping:
		c.phase = stopping
		c.pending = append(c.pending, hook{hookStopping})
	case *pa.Stopped:
		c.phase = stopped
		c.pending = append(c.pending, hook{hookStopped})
	case *pa.Terminated: // a child is gone; bury has told our side
	default:
		c.call()
	}
}

func (c *cell) runHooks() {
	for len(c.pending) > 0 {
		h := c.pending[0]
		c.pending = c.pending[1:]
		c.runHook(h.kind)
	}
	c.pending = nil
}

func (c *cell) runHook(kind hookKind) {
	var fault error = ErrGoexit
	came := false
	c.inHook = kind
	defer func() {
		c.inHook = noHook
		c.ctx.now = envelope{}
		c.hookDone(kind, fault)
		if !came {
			c.runHooks() // the goroutine is ending: nobody comes back for the rest
		}
	}()
	var p *guard.Panic
	switch kind {
	case hookStarted:
		p = c.begin()
	case hookRestarting:
		p = c.tell(Restarting{})
	case hookStopping:
		p = c.tell(Stopping{})
	case hookStopped:
		p = c.tell(Stopped{})
	}
	came, fault = true, nil
	if p != nil {
		fault = p
	}
}

func (c *cell) begin() *guard.Panic {
	c.comingBack, c.leaving, c.leaveWhy = false, false, nil
	c.startedAt = c.sys.opts.Now().UnixNano()
	return guard.Call(func() {
		if c.actor = c.make(); c.actor == nil {
			panic("the factory of actor " + c.path + " returned nil")
		}
		c.ctx.now = envelope{msg: Started{}}
		c.actor.Receive(&c.ctx)
	})
}

// tell hands a closing hook to the actor, when there is one.
func (c *cell) tell(m any) *guard.Panic {
	if c.actor == nil {
		return nil
	}
	c.ctx.now = envelope{msg: m}
	return guard.Call(func() { c.actor.Receive(&c.ctx) })
}

// hookDone goes on after a hook, whatever became of it.
func (c *cell) hookDone(kind hookKind, fault error) {
	switch kind {
	case hookStarted:
		if fault != nil {
			c.fail(kind, Started{}, fault)
		} else if c.leaving {
			c.leave()
		}
		return
	case hookRestarting:
		c.endLife()
	case hookStopped:
		c.endLife()
		c.bury(c.reason())
	}
	if fault != nil {
		c.sys.hookFailed(c, kind, fault)
	}
}

// endLife forgets what belonged to the actor of this life.
func (c *cell) endLife() {
	c.life++ // continuations of the old life are dropped
	c.actor = nil
	c.held = nil
	c.unwatchAll()
}

// bury ends the cell: what waits becomes dead letters, watchers are told once.
func (c *cell) bury(why error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.endWhy = true, why
	system, foreign := c.system, c.foreign
	c.system, c.foreign = ring[any]{}, ring[envelope]{}
	c.sysN.Store(0)
	c.mu.Unlock()

	c.phase = stopped
	local := c.local
	c.local, c.parked = ring[envelope]{}, ring[func()]{}
	for _, q := range []*ring[envelope]{&local, &foreign} {
		for env, ok := q.pop(); ok; env, ok = q.pop() {
			_ = c.refuse(env, why) // the sender learns it its own way
		}
	}
	for m, ok := system.pop(); ok; m, ok = system.pop() {
		refuseSystem(m, why)
	}
	for _, q := range c.open {
		q.settle(nil, why)
	}
	c.open = nil
	if c.parent != nil {
		c.parent.removeChild(c)
	}
	c.sys.forget(c)
	c.tellWatchers(why)
}
