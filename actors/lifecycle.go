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
type stopNote struct{ reason error }

// runSystem handles the system messages that are queued now; later ones bring
// their own step.
func (c *cell) runSystem() {
	for range c.systemCount.Load() {
		c.mu.Lock()
		m, ok := c.system.pop()
		c.mu.Unlock()
		if !ok {
			return
		}
		c.systemCount.Add(-1)
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
		c.stop(m.reason)
	case *watchNote:
		c.addWatcher(m)
	case *unwatchNote:
		c.removeWatcher(m.by)
	case *watchEnd:
		c.notice(*m)
	default:
		c.step(m)
	}
}

// stop begins the end of the actor. A reason given before stays.
func (c *cell) stop(reason error) {
	if c.phase >= stopping {
		return
	}
	if c.reason == nil {
		c.reason = reason
	}
	c.dropBackoff()
	c.step(paStop)
}

// step lets protoactor take its life-cycle step, then runs the hooks it asked
// for. Why not inside: no way in which user code ends can then leave protoactor
// between two states.
func (c *cell) step(m any) {
	c.invoker.InvokeSystemMessage(m)
	c.runHooks()
}

func (c *cell) runHooks() {
	guard.Drain(func() bool {
		if len(c.pending) == 0 {
			c.pending = nil
			return false
		}
		h := c.pending[0]
		c.pending = c.pending[1:]
		c.runHook(h.kind)
		return true
	})
}

// runHook runs one hook and what follows from it, also when the hook ends its
// goroutine: hookDone then runs on the way out.
func (c *cell) runHook(kind hookKind) {
	var fault error = ErrGoexit
	c.inHook = kind
	defer func() {
		c.inHook = noHook
		c.ctx.current = envelope{}
		c.hookDone(kind, fault)
	}()
	var p *guard.Panic
	switch kind {
	case hookStarted:
		p = c.beginLife()
	case hookRestarting:
		p = c.tell(Restarting{})
	case hookStopping:
		p = c.tell(Stopping{})
	case hookStopped:
		p = c.tell(Stopped{})
	}
	fault = nil
	if p != nil {
		fault = p
	}
}

// beginLife makes the actor of a new life and starts it.
func (c *cell) beginLife() *guard.Panic {
	c.setRestartDue(false)
	c.exiting, c.exitErr = false, nil
	c.startedAt = c.sys.now(c.host)
	return guard.Call(func() {
		if c.actor = c.factory(); c.actor == nil {
			panic("the factory of actor " + c.path + " returned nil")
		}
		c.ctx.current = envelope{msg: Started{}}
		c.actor.Receive(&c.ctx)
	})
}

// tell hands a closing hook to the actor, when there is one.
func (c *cell) tell(m any) *guard.Panic {
	if c.actor == nil {
		return nil
	}
	c.ctx.current = envelope{msg: m}
	return guard.Call(func() { c.actor.Receive(&c.ctx) })
}

// hookDone goes on after a hook, whatever became of it.
func (c *cell) hookDone(kind hookKind, fault error) {
	if kind == hookStarted {
		switch {
		case fault != nil:
			c.fail(kind, Started{}, fault)
		case c.exiting:
			c.exit()
		}
		return
	}
	if fault != nil {
		c.sys.hookFailed(c, kind, fault)
	}
	switch kind {
	case hookRestarting:
		c.endLife()
	case hookStopped:
		c.endLife()
		c.terminate(c.endReason())
	}
}

// endLife ends what belonged to the actor of this life: its timers are stopped,
// its own Asks are given up, its watches are taken back. Asks that it has taken
// were settled when the restart was ordered (orderRestart), or are by terminate.
//
// Why at once: each of them keeps what its function captures. 100,000 actors that
// ended with a timer of an hour would otherwise hold their memory for that hour.
func (c *cell) endLife() {
	c.life++ // continuations of the old life that are queued do not run
	c.actor = nil
	c.held = nil
	for _, t := range c.timers.takeAll() {
		t.stop()
		t.fn = nil
	}
	for _, q := range c.asks.takeAll() {
		q.abandon()
	}
	c.unwatchAll()
}

// settleTaken answers the Asks that this life has received and not answered: the
// life is over, nobody else will answer them.
func (c *cell) settleTaken(reason error) {
	c.takenMu.Lock()
	open := c.taken.takeAll()
	c.takenMu.Unlock()
	for _, q := range open {
		q.settle(nil, reason)
	}
}

// terminate ends the cell: nothing is accepted any more, the name is free, what
// waits becomes dead letters, open Asks get the reason, watchers are told once.
// The name is free before anybody is told: whoever heard of the end, asks again
// and means this actor must hear ErrUnknown, not the old reason.
// Only the last part calls user code; it comes when everything else is done.
func (c *cell) terminate(reason error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.endErr = true, reason
	system, foreign := c.system, c.foreign
	c.system, c.foreign = ring[any]{}, ring[envelope]{}
	c.systemCount.Store(0)
	c.mu.Unlock()

	c.phase = stopped
	c.sys.releaseName(c)
	local := c.local
	c.local, c.parked = ring[envelope]{}, ring[func()]{}
	c.showLocal()
	for _, q := range []*ring[envelope]{&local, &foreign} {
		for env, ok := q.pop(); ok; env, ok = q.pop() {
			_ = c.refuse(unwrap(env), reason) // an asker is told by the refusal, others by the dead letters
		}
	}
	c.settleTaken(reason)
	if c.parent != nil {
		c.parent.removeChild(c)
	}
	c.sys.removeCell(c)
	c.tellWatchers(reason, &system)
}
