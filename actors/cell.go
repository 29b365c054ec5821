package actors

import (
	"cmp"
	"sync"
	"sync/atomic"

	pa "github.com/asynkron/protoactor-go/actor"
)

// phase is where a cell is in its life.
//
//	alive -> restarting -> alive -> ... -> stopping -> stopped
//
// A restart goes through restarting: the old life gets Restarting, its children
// end, and a new life begins. stopping begins with the hook Stopping and lasts
// until the children are gone; stopped is final.
type phase uint8

const (
	alive phase = iota
	restarting
	stopping
	stopped
)

// cell is one actor under one Ref, through all its lives: the mailbox that
// protoactor posts to and the actor that protoactor calls. It calls the user's actor
// under guard. Why one type: a message is then one slot of a ring and one callback.
//
// Fields above mu belong to the loop's goroutine, or to the goroutine in
// loopClosed once the loop is gone. A life is what begins with a call of the
// factory and Started; what it made (timers, its own Asks, watches) and what it
// took (Asks of others) ends with it, see endLife and settleTaken.
type cell struct {
	sys     *System
	host    *host
	parent  *cell // nil at the top
	path    string
	factory func() Actor
	seq     uint64 // spawn order
	unnamed bool   // under sys.mu: the name is free again, it may be another actor's
	limit   int    // most user messages that may wait; 0: no limit

	ctx     Context
	actor   Actor // nil before the first life, between lives and after the last
	life    uint64
	phase   phase
	pending []hook     // life-cycle steps protoactor took, whose hooks still have to run
	inHook  hookKind   // the hook that runs, 0 for none
	pctx    pa.Context // protoactor's context of this actor
	invoker pa.MessageInvoker

	local     ring[envelope]      // from senders on the same loop
	suspended bool                // no user message runs: a failure is being answered, or a restart waits
	parked    ring[func()]        // steps that came while suspended, in order
	held      []watchEnd          // notices that came while suspended
	timers    members[*timer]     // of this life
	asks      members[ownAsk]     // Asks of this life that have no outcome yet
	watching  map[Ref]*actorWatch // Invariant: a ref is here from Watch until its Terminated is handed to the actor
	watchers  map[watcher]uint64  // who is told of the end, with the order in which they came
	watchSeq  uint64

	children   []*cell     // in spawn order
	own        *supervisor // supervises this actor alone; nil: the parent's supervisor does
	ofChildren *supervisor // supervises the children
	lifetime   *Lifetime   // overrides the strategy's for this actor

	streak        int    // restarts since the last life that lasted
	startedAt     int64  // ns of System.now
	restartDue    bool   // a restart was ordered and has not happened
	cancelBackoff func() // stops the timer of a delayed restart; nil without one
	reason        error  // of the end, set before stopping

	exiting     bool // Exit or End was called in the message that runs
	exitErr     error
	exitForGood bool // it was End: no failure, no new life

	stepLocal, stepForeign, stepSystem, stepReplay func() // bound once: scheduling them allocates nothing

	systemCount  atomic.Int32 // system messages queued; read without the lock
	localShown   atomic.Int32 // len of local for other goroutines, see showLocal
	restartShown atomic.Bool  // restartDue for other goroutines
	remoteAsks   atomic.Int32 // Asks of other nodes that are not answered

	mu       sync.Mutex
	system   ring[any]      // under mu
	foreign  ring[envelope] // under mu: from other goroutines
	live     bool           // under mu: started, so posts schedule steps
	closed   bool           // under mu: nothing is accepted any more
	endErr   error          // under mu: why, once closed
	startErr error          // under mu
	warnAt   int            // under mu: the length of foreign that is logged next

	takenMu sync.Mutex
	taken   members[asked] // under takenMu: Asks that this life has received and not answered
}

func newCell(s *System, h *host, parent *cell, path string, factory func() Actor, o spawnOptions) *cell {
	c := &cell{
		sys: s, host: h, parent: parent, path: path, factory: factory,
		lifetime: o.lifetime, limit: o.mailboxLimit, warnAt: queueWarn,
	}
	c.ctx.c = c
	c.ofChildren = newSupervisor(s, o.children)
	if o.strategy != nil {
		c.own = newSupervisor(s, *o.strategy)
	} else if parent == nil {
		c.own = newSupervisor(s, s.opts.Strategy)
	}
	c.stepLocal, c.stepForeign, c.stepSystem, c.stepReplay = c.runLocal, c.runForeign, c.runSystem, c.runReplay
	return c
}

func (c *cell) ref() Ref { return Ref{at: c} }

func (c *cell) address() Address { return Address{Path: c.path} }

// endReason is why the actor ends when nobody said more.
func (c *cell) endReason() error {
	if c.reason == nil && c.host.dead.Load() {
		return ErrLoopDied
	}
	return cmp.Or(c.reason, ErrStopped)
}

func (c *cell) removeChild(child *cell) {
	for i, k := range c.children {
		if k == child {
			c.children = append(c.children[:i], c.children[i+1:]...)
			return
		}
	}
}
