package actors

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pa "github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
)

// Options of a System. The zero value works.
type Options struct {
	// Logger gets what the system and protoactor have to say; nil is hclog.L().
	Logger hclog.Logger
	// Strategy supervises the actors at the top that bring none of their own;
	// each has its own budget. The zero value stops what fails.
	Strategy Strategy
	// OnFailure answers what the top escalates; nil stops the actor.
	OnFailure func(Failure) Directive
	// ShutdownTimeout bounds Shutdown when its ctx has no deadline. Zero is 10 s.
	ShutdownTimeout time.Duration
	// RemoteLimit is how many messages from other goroutines may wait for one
	// actor before those of other nodes are refused. Zero is 10,000.
	RemoteLimit int
	// Now and Rand are the clock of restart budgets and the source of jitter in
	// [0,1); nil is time.Now and math/rand.
	Now  func() time.Time
	Rand func() float64
}

// System is a set of actors with one name space. Its methods may be called from
// any goroutine.
type System struct {
	opts Options
	log  hclog.Logger

	core func() *pa.ActorSystem // protoactor's system, made at first use: it costs 3 MB
	top  *top

	failures  stream[Failure]
	dead      stream[DeadLetter]
	deadCount atomic.Uint64

	router   atomic.Pointer[Route]
	identity atomic.Pointer[Address]

	mu      sync.Mutex
	cells   map[string]*cell // nil value: the name is being taken
	hosts   map[Loop]*host
	tagged  map[string]local // questions and watches that have an address
	tags    uint64
	seq     uint64
	live    int // actors that were started and have not ended
	closing bool
	drained chan struct{} // closed when closing and live is zero
}

// New makes a system. It starts nothing; protoactor's part is made by the first
// Spawn.
func New(opts Options) *System {
	if opts.Logger == nil {
		opts.Logger = hclog.L().Named("actors")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Float64
	}
	if opts.RemoteLimit <= 0 {
		opts.RemoteLimit = 10_000
	}
	if opts.ShutdownTimeout <= 0 {
		opts.ShutdownTimeout = 10 * time.Second
	}
	s := &System{
		opts: opts, log: opts.Logger, top: &top{},
		cells: make(map[string]*cell), hosts: make(map[Loop]*host), tagged: make(map[string]local),
		drained: make(chan struct{}),
	}
	s.core = sync.OnceValue(s.newCore)
	return s
}

// newCore makes protoactor's system. Its own messages are details to us: one
// level down. Its dead letters are not used, so its log throttle must not keep a
// goroutine for long.
func (s *System) newCore() *pa.ActorSystem {
	logger := quieter(s.log.Named("protoactor"))
	core := pa.NewActorSystem(
		pa.WithLoggerFactory(func(*pa.ActorSystem) *slog.Logger { return logger }),
		pa.WithDeadLetterThrottleInterval(time.Microsecond),
		pa.WithDeadLetterRequestLogging(false),
	)
	core.ProcessRegistry.RegisterAddressResolver(s.resolve) // before the first send: the list has no lock
	return core
}

var defaultSystem = sync.OnceValue(func() *System { return New(Options{}) })

// Default is the system of the process: loops and transports use it unless told
// otherwise. Made at first use.
func Default() *System { return defaultSystem() }

// Ref is the actor at an address: the actor itself when it lives here now,
// otherwise the address, looked up at each send. It does not wait.
func (s *System) Ref(a Address) Ref {
	r := RefOf(a)
	if r.IsZero() {
		return r
	}
	if c, _ := s.find(r); c != nil {
		return c.ref()
	}
	if s.isHere(a) {
		return RefOf(Address{Path: a.Path})
	}
	return r
}

// find gives the actor behind a ref, if it lives in this process, and whether
// the address belongs to this process at all.
func (s *System) find(r Ref) (c *cell, here bool) {
	if r.at != nil {
		c, _ = r.at.(*cell)
		return c, true
	}
	if r.IsZero() {
		return nil, true
	}
	a := r.far.Value()
	if !s.isHere(a) {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells[a.Path], true
}

// Send sends msg from outside any actor. It does not wait. Nil means accepted,
// not handled; errors as Context.Send.
func (s *System) Send(to Ref, msg any) error { return s.send(to, envelope{msg: msg}) }

func (s *System) send(to Ref, env envelope) error {
	if to.at != nil {
		return to.at.deliver(env)
	}
	if to.IsZero() {
		return s.unknown(to, env)
	}
	a := to.far.Value()
	if !s.isHere(a) {
		err := s.route(a, env)
		if err != nil {
			s.deadLetter(to, env, err)
		}
		return err
	}
	if t := s.localAt(a.Path); t != nil {
		return t.deliver(env)
	}
	return s.unknown(to, env)
}

func (s *System) localAt(path string) local {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cells[path]; c != nil {
		return c
	}
	return s.tagged[path]
}

func (s *System) unknown(to Ref, env envelope) error {
	s.deadLetter(to, env, ErrUnknown)
	return fmt.Errorf("%w: %s", ErrUnknown, to)
}

// Stop asks an actor to end, before the messages that wait in its mailbox. It
// does not wait; Watch does.
func (s *System) Stop(r Ref) {
	c, here := s.find(r)
	switch {
	case c != nil:
		c.postSystem(&stopNote{ErrStopped})
	case !here:
		_ = s.send(r, envelope{msg: StopRequest{}}) // refused: a dead letter
	}
}

// Shutdown stops every actor, children first, refuses new ones, and waits until
// all have ended, ctx is over or Options.ShutdownTimeout has passed. It may be
// called more than once; never on a loop that has actors, which it would wait
// for. The error says how many actors are left.
func (s *System) Shutdown(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.opts.ShutdownTimeout)
		defer cancel()
	}
	for _, c := range s.beginShutdown() {
		c.postSystem(&stopNote{ErrStopped})
	}
	select {
	case <-s.drained:
		s.failures.close()
		s.dead.close()
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		left := s.live
		s.mu.Unlock()
		return fmt.Errorf("shutdown of the actor system: %d actors have not ended, their loops do not run or a hook blocks: %w", left, context.Cause(ctx))
	}
}

func (s *System) beginShutdown() []*cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.signalDrained()
	var tops []*cell
	for _, c := range s.cells {
		if c != nil && c.parent == nil {
			tops = append(tops, c)
		}
	}
	return tops
}

// signalDrained tells Shutdown that nobody is left. Under mu.
func (s *System) signalDrained() {
	if !s.closing || s.live > 0 {
		return
	}
	select {
	case <-s.drained:
	default:
		close(s.drained)
	}
}
