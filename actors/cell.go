package actors

import (
	"cmp"
	"sync"
	"sync/atomic"

	pa "github.com/asynkron/protoactor-go/actor"
)

// phase is where a cell is in its life.
type phase uint8

const (
	alive phase = iota
	restarting
	stopping
	stopped
)

// cell is one actor: the mailbox that protoactor posts to, the actor that
// protoactor calls, and between the two the user's actor behind guards. Why one
// type: a message is then one ring slot and one callback, with no hop between
// mailbox and actor.
//
// Fields up to mu belong to the loop's goroutine, or to the caller of
// LoopClosed once the loop is gone.
type cell struct {
	sys    *System
	host   *host
	parent *cell // nil at the top
	path   string
	make   func() Actor
	seq    uint64 // spawn order

	ctx     Context
	actor   Actor // nil before the first life, between lives and after the last
	life    uint64
	phase   phase
	pending []hook     // life-cycle steps protoactor took, whose hooks still have to run
	inHook  hookKind   // the hook that runs, 0 for none
	pctx    pa.Context // protoactor's context of this actor
	invoker pa.MessageInvoker

	local     ring[envelope] // from senders on the same loop
	suspended bool
	parked    ring[func()]     // steps that came while suspended, in order
	held      []Terminated     // notices that came while suspended
	watching  map[Ref]struct{} // Invariant: a ref is here from Watch until its Terminated is handed to the actor
	watchers  map[watchKey]uint64
	watchSeq  uint64
	open      []asked // taken and not yet answered

	children     []*cell     // in spawn order
	own          *supervisor // supervises this actor alone; nil: the parent's supervisor does
	below        *supervisor // supervises the children
	lifetime     *Lifetime   // overrides the strategy's for this actor
	streak       int         // restarts since the last life that lasted
	startedAt    int64       // ns of System.now
	comingBack   bool        // a restart was ordered and has not happened
	backoff      func()      // cancels the delayed restart
	why          error       // the reason of the end, set before stopping
	leaving      bool        // Exit was called
	leaveWhy     error
	leaveForGood bool // it was End: no failure, no new life

	stepLocal, stepForeign, stepSys, stepReplay func() // bound once: scheduling them allocates nothing

	sysN atomic.Int32 // system messages queued; read without the lock

	mu       sync.Mutex
	system   ring[any]      // under mu
	foreign  ring[envelope] // under mu: from other goroutines
	live     bool           // under mu: started, so posts schedule steps
	closed   bool           // under mu: nothing is accepted any more
	endWhy   error          // under mu: why, once closed
	startErr error          // under mu
}

func newCell(s *System, h *host, parent *cell, path string, factory func() Actor, o spawnOptions) *cell {
	c := &cell{sys: s, host: h, parent: parent, path: path, make: factory, lifetime: o.lifetime}
	c.ctx.c = c
	c.below = newSupervisor(s, o.children)
	if o.strategy != nil {
		c.own = newSupervisor(s, *o.strategy)
	} else if parent == nil {
		c.own = newSupervisor(s, s.opts.Strategy)
	}
	c.stepLocal, c.stepForeign, c.stepSys, c.stepReplay = c.runLocal, c.runForeign, c.runSystem, c.runReplay
	return c
}

func (c *cell) ref() Ref { return Ref{at: c} }

func (c *cell) address() Address { return Address{Path: c.path} }

// reason is why the actor ends when nobody said more.
func (c *cell) reason() error {
	if c.why == nil && c.host.dead.Load() {
		return ErrLoopDied
	}
	return cmp.Or(c.why, ErrStopped)
}

func (c *cell) removeChild(child *cell) {
	for i, k := range c.children {
		if k == child {
			c.children = append(c.children[:i], c.children[i+1:]...)
			return
		}
	}
}
