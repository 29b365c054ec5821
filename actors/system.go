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

	"github.com/loopmesh/loopmesh/internal/logbridge"
)

// Options of a System. The zero value works.
type Options struct {
	// Logger gets the log of the system and of protoactor. Slog is the same for
	// programs that log with slog; set one of them. With neither, warnings and
	// errors go to stderr.
	Logger hclog.Logger
	Slog   *slog.Logger
	// Strategy supervises the actors at the top that bring none of their own;
	// each has its own budget. The zero value stops what fails.
	Strategy Strategy
	// OnFailure answers what the top escalates; nil stops the actor.
	OnFailure func(Failure) Directive
	// ShutdownTimeout bounds Shutdown when its ctx has no deadline. Zero is 10 s.
	ShutdownTimeout time.Duration
	// RemoteLimit bounds what one actor holds for other nodes, each on its own:
	// messages that wait (those of other goroutines included), unanswered Asks, and
	// requests its loop has not handled. Zero is 10,000.
	RemoteLimit int
	// AskTimeout ends an Ask of another node's actor for which the asker gave no
	// deadline. Zero is 30 s.
	AskTimeout time.Duration
	// Now tells when a failure happened, and measures restart budgets on loops
	// that have no clock of their own; Rand is the source of jitter in [0,1). nil is
	// time.Now and math/rand.
	Now  func() time.Time
	Rand func() float64
}

// System is a set of actors with one name space. Its methods may be called from
// any goroutine.
type System struct {
	opts Options
	log  hclog.Logger

	born time.Time              // when it was made, by opts.Now
	core func() *pa.ActorSystem // protoactor's system, made at first use: it costs 3 MB

	failures  stream[Failure]
	dead      stream[DeadLetter]
	deadCount atomic.Uint64

	router      atomic.Pointer[Route]
	watchRouter atomic.Pointer[WatchRoute]
	identity    atomic.Pointer[Address]

	mu         sync.Mutex
	cells      map[string]*cell // nil value: the name is reserved, the actor not started
	hosts      map[Loop]*host
	registered map[string]target  // Asks that have an address
	remoteAsks map[Ref]*remoteAsk // Asks of other nodes without an outcome, by sender
	seq        uint64             // of the newest actor
	live       int                // actors reserved and not removed
	closing    bool
	drained    chan struct{} // closed when closing and live is zero
}

// New makes a system. It starts nothing; protoactor's part is made by the first
// Spawn. The error says that both Logger and Slog are set.
func New(opts Options) (*System, error) {
	log, err := logbridge.Logger(opts.Logger, opts.Slog, "actors")
	if err != nil {
		return nil, fmt.Errorf("making an actor system: %w", err)
	}
	return newSystem(opts, log), nil
}

func newSystem(opts Options, log hclog.Logger) *System {
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
	if opts.AskTimeout <= 0 {
		opts.AskTimeout = 30 * time.Second
	}
	s := &System{
		opts: opts, log: log, born: opts.Now(),
		cells: make(map[string]*cell), hosts: make(map[Loop]*host),
		registered: make(map[string]target), remoteAsks: make(map[Ref]*remoteAsk),
		drained: make(chan struct{}),
	}
	s.core = sync.OnceValue(s.newCore)
	return s
}

var defaultSystem = sync.OnceValue(func() *System {
	log, _ := logbridge.Logger(nil, nil, "actors") // fails for two loggers only
	return newSystem(Options{}, log)
})

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
	a := r.remote.Value()
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
	a := to.remote.Value()
	if !s.isHere(a) {
		err := s.route(a, env)
		if err != nil {
			s.deadLetter(to, env, err)
		}
		return err
	}
	if t := s.targetAt(a.Path); t != nil {
		return t.deliver(env)
	}
	return s.unknown(to, env)
}

// targetAt is the actor or the Ask at a path here, nil when there is none.
func (s *System) targetAt(path string) target {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cells[path]; c != nil {
		return c
	}
	if t := s.registered[path]; t != nil {
		return t
	}
	return nil
}

func (s *System) unknown(to Ref, env envelope) error {
	err := fmt.Errorf("%w: %s", ErrUnknown, to)
	s.deadLetter(to, env, err) // who asked gets the same text
	return err
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
// called more than once. On the goroutine of a loop that has actors it would wait
// for itself: it is ErrWouldBlock there and stops nobody. The error of a wait that
// ends too early says how many actors are left.
func (s *System) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if name, ok := s.loopHere(); ok {
		return fmt.Errorf("%w: Shutdown waits for the actors of loop %s and was called on it: call it on another goroutine", ErrWouldBlock, name)
	}
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

// loopHere is the name of the loop that the calling goroutine runs, when actors
// live on it.
func (s *System) loopHere() (name string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.hosts {
		if at, ok := l.ActorHost().(Located); ok && at.OnThisGoroutine() {
			return l.Name(), true
		}
	}
	return "", false
}

// beginShutdown lists the actors at the top that must be asked to end. An actor whose
// name is only reserved is asked by publishName.
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
