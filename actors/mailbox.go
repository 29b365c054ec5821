package actors

import (
	"fmt"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// No goroutine of its own empties an actor's mailbox; the loop does. Each message is
// queued in one of two rings, and one step (a callback bound once per actor) is
// scheduled on the loop; each step handles one message. So messages take turns with
// everything else on the loop, in the order in which they were scheduled, and an actor
// that sends itself messages without end does not keep others waiting.
//
//	local    from senders on the same loop: no lock
//	foreign  from other goroutines: under mu, one Post each
//	system   stops, watches, life cycle: under mu, handled before the next user
//	         message, also while the actor is suspended
//
// Invariant: while the actor is live, each message in local or foreign has one
// step in the loop's queue, in parked, or running. A step that comes while the
// actor is suspended is parked; resume runs the parked steps again, in order. If a
// step were lost, every later message would come one step late.

const (
	// replayBatch bounds the parked messages handled in one callback of the loop.
	replayBatch = 32
	// queueWarn is the first length of a mailbox that is logged; then each time it
	// has doubled.
	queueWarn = 1 << 16
	// showStep is how exact localShown is for an actor without a limit.
	showStep = 64
)

// postLocal queues a message from a sender on the same loop. Loop goroutine.
func (c *cell) postLocal(env envelope) error {
	if c.phase >= stopping || c.host.dead.Load() {
		return c.refuse(env, c.endReason())
	}
	if c.limit > 0 && c.local.n+c.foreignLen() >= c.limit {
		return c.refuse(env, fullError(c.limit))
	}
	c.pushLocal(env)
	return nil
}

// pushLocal queues a message without looking at the limit. Continuations are not
// limited: there are as many as the actor has timers and Asks.
func (c *cell) pushLocal(env envelope) {
	c.local.push(env)
	c.showLocal()
	c.host.run.Soon(c.stepLocal)
}

// showLocal tells other goroutines the length of the local queue. Why not each
// time: an atomic write costs a good part of what a message between two actors of
// one loop costs. An actor with a limit is shown exactly, others in steps of 64.
func (c *cell) showLocal() {
	if n := c.local.n; c.limit > 0 || n%showStep == 0 && int(c.localShown.Load()) != n {
		c.localShown.Store(int32(n))
	}
}

func fullError(limit int) error {
	return fmt.Errorf("%w: %d messages wait", ErrMailboxFull, limit)
}

// deliver queues a message from any goroutine.
func (c *cell) deliver(env envelope) error { return c.deliverBelow(env, c.limit) }

// deliverBelow queues a message from any goroutine unless limit messages wait;
// 0 means no limit.
func (c *cell) deliverBelow(env envelope, limit int) error {
	c.mu.Lock()
	switch {
	case c.closed:
		reason := c.endErr
		c.mu.Unlock()
		return c.refuse(unwrapped(env), reason)
	case limit > 0 && c.foreign.n+int(c.localShown.Load()) >= limit:
		c.mu.Unlock()
		return c.refuse(unwrapped(env), fullError(limit))
	}
	return c.pushForeign(env)
}

// pushForeign queues a message and schedules its step. Called with mu, which it
// releases.
func (c *cell) pushForeign(env envelope) error {
	c.foreign.push(env)
	n, live := c.foreign.n, c.live
	long := n >= c.warnAt
	if long {
		c.warnAt = 2 * n
	}
	c.mu.Unlock()
	if long {
		c.sys.log.Warn("mailbox is long: the actor is slower than its senders, or waits for a restart", "actor", c.path, "messages", n)
	}
	if !live {
		return nil // Start posts for what is queued
	}
	if err := c.host.run.Post(c.stepForeign); err != nil {
		c.loseForeign()
		if _, ok := env.msg.(*counted); ok {
			return nil // it was accepted, and dropped with the others
		}
		return fmt.Errorf("%w: %s: %w", ErrLoopDied, c.path, err)
	}
	return nil
}

// deliverContinuation queues a call back into the actor. Any goroutine. An actor
// that has ended needs none.
func (c *cell) deliverContinuation(k *continuation) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	_ = c.pushForeign(envelope{msg: k}) // the loop is closed: so is the actor, soon
}

// loseForeign hands what waits to the dead letters: no step will come for it.
func (c *cell) loseForeign() {
	c.mu.Lock()
	lost := c.foreign
	c.foreign = ring[envelope]{}
	c.mu.Unlock()
	for env, ok := lost.pop(); ok; env, ok = lost.pop() {
		_ = c.refuse(unwrap(env), ErrLoopDied) // an asker is told by the refusal, others by the dead letters
	}
}

// counted is a message of another node whose sender gets credit back when the message
// has left the mailbox. It exists only inside of foreign.
type counted struct {
	msg   any
	taken func()
}

// unwrapped takes the message out and leaves the credit to the caller, who gets an
// error.
func unwrapped(env envelope) envelope {
	if m, ok := env.msg.(*counted); ok {
		env.msg = m.msg
	}
	return env
}

// unwrap takes the message out and gives the credit back.
func unwrap(env envelope) envelope {
	if m, ok := env.msg.(*counted); ok {
		env.msg = m.msg
		m.taken()
	}
	return env
}

// refuse makes a dead letter of a message and an error for its sender.
func (c *cell) refuse(env envelope, reason error) error {
	c.sys.deadLetter(c.ref(), env, reason)
	return fmt.Errorf("%w: /%s", reason, c.path)
}

// postSystem queues a system message from any goroutine.
func (c *cell) postSystem(m any) {
	c.mu.Lock()
	if c.closed {
		reason := c.endErr
		c.mu.Unlock()
		refuseSystem(m, reason)
		return
	}
	c.system.push(m)
	c.systemCount.Add(1)
	live := c.live
	c.mu.Unlock()
	if !live || c.host.dead.Load() {
		return // Start posts, or loopClosed handles it
	}
	if c.host.run.Post(c.stepSystem) != nil {
		refuseSystem(m, ErrLoopDied)
	}
}

// refuseSystem answers a watch that came too late; the rest needs no answer.
func refuseSystem(m any, reason error) {
	if w, ok := m.(*watchNote); ok {
		w.refuse(reason)
	}
}

// runLocal is the step of one message in local.
func (c *cell) runLocal() {
	if c.ready(c.stepLocal) {
		if env, ok := c.local.pop(); ok {
			c.showLocal()
			c.receive(env)
		}
	}
}

// runForeign is the step of one message in foreign.
func (c *cell) runForeign() {
	if !c.ready(c.stepForeign) {
		return
	}
	c.mu.Lock()
	env, ok := c.foreign.pop()
	c.mu.Unlock()
	if ok {
		c.receive(unwrap(env))
	}
}

// ready handles the system messages and reports whether a user message may run
// now. When not, the step is parked. Handling a system message may run user code
// (a hook, a handler of Terminated); if that ends the goroutine, the step is
// scheduled again.
func (c *cell) ready(step func()) bool {
	if c.systemCount.Load() != 0 {
		c.runSystemBefore(step)
	}
	if c.suspended {
		c.parked.push(step)
		return false
	}
	return true
}

func (c *cell) runSystemBefore(step func()) {
	returned := false
	defer func() {
		if !returned && !c.host.dead.Load() {
			c.host.run.Soon(step)
		}
	}()
	c.runSystem()
	returned = true
}

// resume ends a suspension: held notices come first, then the parked steps.
func (c *cell) resume() {
	c.suspended = false
	defer c.scheduleReplay() // also when a notice ends the goroutine
	guard.Drain(func() bool {
		if len(c.held) == 0 {
			return false
		}
		t := c.held[0]
		c.held = c.held[1:]
		c.notice(t) // held again when the actor was suspended meanwhile
		return !c.suspended
	})
	if len(c.held) == 0 {
		c.held = nil
	}
}

func (c *cell) scheduleReplay() {
	if c.parked.n > 0 && !c.suspended && !c.host.dead.Load() {
		c.host.run.Soon(c.stepReplay)
	}
}

// runReplay runs a bounded number of parked steps, then lets others go first.
func (c *cell) runReplay() {
	for range replayBatch {
		if c.suspended {
			return // the next resume starts again
		}
		step, ok := c.parked.pop()
		if !ok {
			return
		}
		step()
	}
	c.scheduleReplay()
}

// receive runs one user message through protoactor and the user's actor.
func (c *cell) receive(env envelope) {
	if c.phase != alive {
		_ = c.refuse(env, c.endReason())
		return
	}
	if q, ok := env.sender.at.(asked); ok {
		q.takenBy(c)
	}
	c.ctx.current = env
	c.enter(func() { c.invoker.InvokeUserMessage(deliverCurrent) })
}

// enter runs user code and deals with every way it can end.
func (c *cell) enter(code func()) {
	done := false
	defer func() {
		if !done { // neither returned nor panicked
			c.failed(ErrGoexit)
		}
		c.ctx.current = envelope{}
	}()
	p := guard.Call(code)
	done = true
	switch {
	case p != nil:
		c.failed(p)
	case c.exiting:
		c.exit()
	}
}

// call hands the current message to the user's actor. Protoactor calls it.
func (c *cell) call() {
	if k, ok := c.ctx.current.msg.(*continuation); ok {
		if k.life == c.life && k.fn != nil {
			k.fn()
		}
		return
	}
	c.actor.Receive(&c.ctx)
}

// foreignLen is how many messages of other goroutines wait. Any goroutine.
func (c *cell) foreignLen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.foreign.n
}

// started reports whether the mailbox is open, or was.
func (c *cell) started() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}
