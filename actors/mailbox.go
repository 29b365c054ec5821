package actors

import (
	"fmt"

	pa "github.com/asynkron/protoactor-go/actor"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// replayBatch bounds the parked messages handled in one callback of the loop.
const replayBatch = 32

// turn is what protoactor is told to deliver; the message itself is in the
// cell's context. Why: no type of the user's can then mean something to
// protoactor, and nothing is boxed on the way.
var turn any = new(struct{ _ byte })

// postLocal queues a message from a sender on the same loop. Loop goroutine.
func (c *cell) postLocal(env envelope) error {
	if c.phase >= stopping || c.host.dead.Load() {
		return c.refuse(env, c.reason())
	}
	c.local.push(env)
	c.host.loop.Soon(c.stepLocal)
	return nil
}

// deliver queues a message from any goroutine.
func (c *cell) deliver(env envelope) error {
	c.mu.Lock()
	if c.closed {
		why := c.endWhy
		c.mu.Unlock()
		return c.refuse(env, why)
	}
	c.foreign.push(env)
	live := c.live
	c.mu.Unlock()
	if !live {
		return nil // Start posts for what is queued
	}
	if err := c.host.loop.Post(c.stepForeign); err != nil {
		c.loseForeign()
		return fmt.Errorf("%w: %s: %w", ErrLoopDied, c.path, err)
	}
	return nil
}

// loseForeign hands what waits to the dead letters: no step will come for it.
func (c *cell) loseForeign() {
	c.mu.Lock()
	lost := c.foreign
	c.foreign = ring[envelope]{}
	c.mu.Unlock()
	for env, ok := lost.pop(); ok; env, ok = lost.pop() {
		_ = c.refuse(env, ErrLoopDied) // the sender of each learns it its own way
	}
}

func (c *cell) refuse(env envelope, why error) error {
	c.sys.deadLetter(c.ref(), env, why)
	return fmt.Errorf("%w: %s", why, c.path)
}

// postSystem queues a system message from any goroutine.
func (c *cell) postSystem(m any) {
	c.mu.Lock()
	if c.closed {
		why := c.endWhy
		c.mu.Unlock()
		refuseSystem(m, why)
		return
	}
	c.system.push(m)
	c.sysN.Add(1)
	live := c.live
	c.mu.Unlock()
	if !live || c.host.dead.Load() {
		return // Start posts, or LoopClosed drains
	}
	if c.host.loop.Post(c.stepSys) != nil {
		refuseSystem(m, ErrLoopDied)
	}
}

// refuseSystem answers a watch that came too late; the rest needs no answer.
func refuseSystem(m any, why error) {
	if w, ok := m.(*watchNote); ok {
		w.refuse(why)
	}
}

func (c *cell) runLocal() {
	if c.ready(c.stepLocal) {
		if env, ok := c.local.pop(); ok {
			c.receive(env)
		}
	}
}

func (c *cell) runForeign() {
	if !c.ready(c.stepForeign) {
		return
	}
	c.mu.Lock()
	env, ok := c.foreign.pop()
	c.mu.Unlock()
	if ok {
		c.receive(env)
	}
}

// ready handles the system messages and reports whether a user message may run
// now. When not, the step is kept for later.
func (c *cell) ready(step func()) bool {
	if c.sysN.Load() != 0 {
		c.runSystem()
	}
	if c.suspended {
		c.parked.push(step)
		return false
	}
	return true
}

func (c *cell) resume() {
	c.suspended = false
	held := c.held
	c.held = nil
	for _, t := range held {
		c.notice(t)
	}
	if c.parked.n > 0 && !c.host.dead.Load() {
		c.host.loop.Soon(c.stepReplay)
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
	if c.parked.n > 0 && !c.suspended {
		c.host.loop.Soon(c.stepReplay)
	}
}

// receive runs one user message through protoactor and the user's actor.
func (c *cell) receive(env envelope) {
	if c.phase != alive {
		_ = c.refuse(env, c.reason())
		return
	}
	if q, ok := env.sender.at.(asked); ok {
		c.remember(q)
	}
	c.ctx.now = env
	c.enter(func() { c.invoker.InvokeUserMessage(turn) })
}

// enter runs user code and deals with every way it can end.
func (c *cell) enter(code func()) {
	done := false
	defer func() {
		if !done { // neither returned nor panicked
			c.failed(ErrGoexit)
		}
		c.ctx.now = envelope{}
	}()
	p := guard.Call(code)
	done = true
	switch {
	case p != nil:
		c.failed(p)
	case c.leaving:
		c.leave()
	}
}

// call hands the current message to the user's actor. Protoactor calls it.
func (c *cell) call() {
	if r, ok := c.ctx.now.msg.(*reentry); ok {
		if r.life == c.life {
			r.fn()
		}
		return
	}
	c.actor.Receive(&c.ctx)
}

// PostUserMessage is protoactor's door; everything of ours uses deliver.
func (c *cell) PostUserMessage(m interface{}) {
	_, msg, _ := pa.UnwrapEnvelope(m)
	_ = c.deliver(envelope{msg: msg}) // refused messages are in the dead letters
}

// PostSystemMessage takes protoactor's life-cycle messages. Any goroutine.
func (c *cell) PostSystemMessage(m interface{}) { c.postSystem(m) }

// RegisterHandlers ties the mailbox to protoactor's side of the actor.
func (c *cell) RegisterHandlers(invoker pa.MessageInvoker, _ pa.Dispatcher) { c.invoker = invoker }

// UserMessageCount is how many messages wait that came from other goroutines.
func (c *cell) UserMessageCount() int {
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

// Start opens the mailbox and schedules what was posted before. The actor can be
// found by name before its first hook runs: answers to what it asks there may
// come by name.
func (c *cell) Start() {
	c.sys.appear(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // LoopClosed was faster
		c.startErr = ErrLoopDied
		return
	}
	c.live = true
	if c.startErr = c.host.loop.Post(c.stepSys); c.startErr != nil {
		c.live = false // no step will come: who spawns it buries it
		return
	}
	for range c.foreign.n {
		if c.host.loop.Post(c.stepForeign) != nil {
			return // the loop closes at this moment, and ends its actors
		}
	}
}
