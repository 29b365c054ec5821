package loopnode

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/core"
	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/internal/inbox"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// Loop is one event loop. Its methods belong to the goroutine that runs it; Ref
// is for everybody else. asyncio: AbstractEventLoop.
type Loop struct {
	name    string
	log     hclog.Logger
	actors  *actors.System // nil: the process's
	self    selfActor
	backend Backend
	inbox   *inbox.Inbox[core.Item]

	resolver Resolver // any goroutine

	// Owned by the loop goroutine.
	core       core.Core
	strict     bool // debug mode or closed: CallSoon takes the checked path
	debug      bool
	slowAt     time.Duration
	watching   int // descriptors registered; with none, a busy turn needs no poll
	watches    map[int]*fdWatch
	sockOps    map[side]*sockOp // socket operations that wait
	handler    ExceptionHandler
	readBuf    []byte
	fatal      *FatalError // leaves the run as soon as it is set
	hurried    bool        // a second SIGINT came: the tear-down does not wait
	run        runState
	batch      func()            // runSome, bound once
	admit      func(core.Item)   // accept, bound once
	event      func(any, Events) // onEvent, bound once
	tasks      taskList
	left       *remains // idle coroutines, for Close or the collector
	dropped    runtime.Cleanup
	lost       map[*unretrieved]struct{} // failures nobody has looked at
	values     map[any]any               // see PerLoop
	ctx        context.Context           // what CallbackContext and Context derive from
	pools      executors
	signals    map[syscall.Signal]*signalHandler
	gens       generators
	supervisor loopaccess.Supervisor // nil without one
	meter      *loopaccess.Meter     // nil while nobody looks

	factory atomic.Pointer[TaskFactory]
	tracing atomic.Bool          // debug, for other goroutines
	shown   *task                // what current is; loop goroutine
	current atomic.Pointer[task] // the task whose step runs
	// running and closed change under phase, so that a run that begins and a close
	// exclude each other. Invariant: not both are set; closed is never reset.
	phase   sync.Mutex
	running atomic.Bool
	closed  atomic.Bool
	gone    chan struct{} // closed by Close: releases goroutines that wait
	beat    watchdog
	labels  bool       // Config.ProfileLabels
	closing sync.Mutex // one Close at a time
	onClose closers
	why     error // of the close; written before closed, read after it
}

// runState is what one run of the loop keeps while it lasts.
type runState struct {
	item core.Item // the callback that runs
	left int       // of the batch
	amid bool      // the turn's batch is fixed, and not over: after Goexit the rest of it still runs
	once bool      // the run is one turn long
	// single: there is one processor for all goroutines; shared is when a batch gave it
	// up last, unshared how many callbacks have run since the last look (see share).
	single   bool
	unshared int
	shared   time.Time
	gid      atomic.Uint64
	// locked: the goroutine of the run had locked its thread before, so its
	// coroutines have too, which is well; known in debug mode only.
	locked bool
}

// New makes a loop. It starts nothing and makes nothing current; two calls give
// two independent loops. Close it when done. asyncio.new_event_loop.
func New(cfg Config) (*Loop, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Loop{
		name: cfg.Name, log: cfg.Logger, backend: cfg.Backend, resolver: cfg.Resolver, actors: cfg.Actors,
		slowAt: cfg.SlowCallback, handler: cfg.ExceptionHandler,
		watches: map[int]*fdWatch{}, lost: map[*unretrieved]struct{}{}, gone: make(chan struct{}),
	}
	if l.backend == nil {
		var err error
		if l.backend, err = newKernel(); err != nil {
			return nil, err
		}
	}
	l.core.Resolution = int64(clockResolution)
	l.pools.init(cfg)
	l.inbox = inbox.New[core.Item](l.wake)
	l.batch, l.event = l.runSome, l.onEvent
	l.admit = l.accept
	l.ctx = context.WithValue(context.Background(), loopKey{}, l)
	l.beat.limit, l.labels = cfg.Stuck, cfg.ProfileLabels
	l.SetDebug(cfg.Debug)
	l.watchDropped()
	return l, nil
}

// clockResolution is how early a timer may be taken as due: waits below what
// the kernel can sleep must not spin.
const clockResolution = time.Microsecond

// Name is the loop's name. Any goroutine.
func (l *Loop) Name() string { return l.name }

// Logger is where the loop logs. Any goroutine.
func (l *Loop) Logger() hclog.Logger { return l.log }

// Actors is the system whose actors the loop and what lives on it are. Any
// goroutine.
func (l *Loop) Actors() *actors.System {
	if l.actors == nil {
		return actors.Default()
	}
	return l.actors
}

// String names the loop and its state. Any goroutine.
func (l *Loop) String() string {
	state := "idle"
	switch {
	case l.closed.Load():
		state = "closed"
	case l.running.Load():
		state = "running"
	}
	return "<Loop " + l.name + " " + state + ">"
}

// Time is the loop's clock, read now. It also works on a closed loop. Any
// goroutine. asyncio: loop.time.
func (l *Loop) Time() Instant { return l.backend.Now() }

// IsRunning reports whether the loop runs. Any goroutine. asyncio: loop.is_running.
func (l *Loop) IsRunning() bool { return l.running.Load() }

// IsClosed reports whether Close was called. Any goroutine. asyncio: loop.is_closed.
func (l *Loop) IsClosed() bool { return l.closed.Load() }

// readBuffer is the buffer that all transports of the loop read into: what a
// callback reads is valid until that callback returns.
func (l *Loop) readBuffer() []byte {
	if l.readBuf == nil {
		l.readBuf = make([]byte, readBufferSize)
	}
	return l.readBuf
}

const readBufferSize = 256 << 10

// wake ends the poller's sleep; the inbox calls it when the loop sleeps.
// Why: a loop that is being closed needs no wake-up, so failures are not the
// sender's business.
func (l *Loop) wake() {
	if err := l.backend.Wake(); err != nil && !l.closed.Load() {
		l.log.Debug("waking the loop failed", "loop", l.name, "error", err)
	}
}

// onLoop reports whether the calling goroutine runs a loop: a task or a callback
// is below it.
func onLoop() bool { return coro.Inside() }
