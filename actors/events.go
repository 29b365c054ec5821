package actors

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Failure is one failure of an actor and what its supervisor answered.
type Failure struct {
	// Who failed; zero when it is a loop (package supervisor).
	Who Ref
	// Loop is the name of its loop.
	Loop string
	// Reason is a *Panic, ErrGoexit, or the error given to Exit; it is
	// wrapped with ErrTooManyRestarts when the budget was spent.
	Reason error
	// Normal: there was no failure; it ended itself without an error (Exit(nil), or
	// a loop that was stopped), and its supervisor decides because its lifetime is
	// Permanent. Why a field: Reason may be another actor's ErrStopped, with which this
	// one failed.
	Normal bool
	// Message is what the actor was handling.
	Message any
	// Hook is receive, started, restarting, stopping or stopped. A failure in the
	// last three is reported and changes nothing.
	Hook string
	// Directive is the answer.
	Directive Directive
	// Restarts is how many restarts the supervisor counts in its period.
	Restarts int
	// Delay is the back-off before the restart.
	Delay time.Duration
	// At is when it happened.
	At time.Time
}

// Ask calls decide, which may be nil, and returns its directive. When decide panics, the
// directive is Stop, and the panic becomes part of Reason. When it calls runtime.Goexit,
// the goroutine ends; ErrGoexit becomes part of Reason on the way out, so that a
// deferred function of the caller can go on. For supervisors.
func (f *Failure) Ask(decide func(Failure) Directive) (d Directive) {
	if decide == nil {
		return Undecided
	}
	failed := func(err error) {
		f.Reason = fmt.Errorf("%w; deciding what to do about it failed too: %w", f.Reason, err)
	}
	p := guard.CallWhole(func() { d = decide(*f) }, func() { failed(ErrGoexit) })
	if p != nil {
		failed(p)
		return Stop
	}
	return d
}

// DeadLetter is a message that reached nobody.
type DeadLetter struct {
	// To is whom it was sent to.
	To Ref
	// Message is what was sent.
	Message any
	// Sender is who sent it, zero for nobody.
	Sender Ref
	// Err is why it did not arrive; the sender has got it too.
	Err error
}

// Subscription is a bounded stream of events. A subscriber that is too slow misses the
// newest ones, and can see how many: no publisher ever waits.
type Subscription[T any] struct {
	stream  *stream[T]
	events  chan T
	dropped atomic.Uint64
}

// C is where the events come; it is closed by Close and when the system shuts
// down.
func (s *Subscription[T]) C() <-chan T { return s.events }

// Dropped is how many events did not fit. Any goroutine.
func (s *Subscription[T]) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription and closes C. It may be called more than once,
// from any goroutine.
func (s *Subscription[T]) Close() {
	s.stream.mu.Lock()
	defer s.stream.mu.Unlock()
	if _, ok := s.stream.subs[s]; ok {
		delete(s.stream.subs, s)
		close(s.events)
	}
}

// stream gives each event to every subscriber. Any goroutine.
type stream[T any] struct {
	mu     sync.Mutex
	subs   map[*Subscription[T]]struct{}
	closed bool
}

func (st *stream[T]) subscribe(buffer int) *Subscription[T] {
	s := &Subscription[T]{stream: st, events: make(chan T, max(buffer, 1))}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		close(s.events)
		return s
	}
	if st.subs == nil {
		st.subs = make(map[*Subscription[T]]struct{})
	}
	st.subs[s] = struct{}{}
	return s
}

func (st *stream[T]) publish(e T) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for s := range st.subs {
		select {
		case s.events <- e:
		default:
			s.dropped.Add(1)
		}
	}
}

func (st *stream[T]) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
	for s := range st.subs {
		close(s.events)
	}
	st.subs = nil
}

// Failures subscribes to the failures of all actors, buffering up to buffer of
// them. It does not wait. Any goroutine.
func (s *System) Failures(buffer int) *Subscription[Failure] { return s.failures.subscribe(buffer) }

// DeadLetters subscribes to the messages that reached nobody, buffering up to
// buffer of them. It does not wait. Any goroutine.
func (s *System) DeadLetters(buffer int) *Subscription[DeadLetter] { return s.dead.subscribe(buffer) }

// DeadLetterCount is how many messages reached nobody. Any goroutine.
func (s *System) DeadLetterCount() uint64 { return s.deadCount.Load() }

func (s *System) publish(f Failure) {
	f.At = s.opts.Now()
	s.log.Warn("actor failed", "actor", f.Who.String(), "loop", f.Loop, "hook", f.Hook, "reason", f.Reason, "directive", f.Directive.String(), "delay", f.Delay)
	s.failures.publish(f)
}

// hookFailed reports a failure that changes nothing: the actor ends or restarts
// as it was told to.
func (s *System) hookFailed(c *cell, kind hookKind, err error) {
	d := Stop
	if kind == hookRestarting {
		d = Restart
	}
	s.publish(Failure{Who: c.ref(), Loop: c.host.loop.Name(), Reason: err, Hook: kind.String(), Directive: d})
}

// deadLetter counts and publishes a message that reached nobody. When it was an Ask,
// the asker gets the error.
func (s *System) deadLetter(to Ref, env envelope, err error) {
	if _, ok := env.msg.(*continuation); ok {
		return // a call back into an actor that is gone
	}
	s.deadCount.Add(1)
	if q, ok := env.sender.at.(asked); ok {
		q.settle(nil, err)
	}
	s.dead.publish(DeadLetter{To: to, Message: env.msg, Sender: env.sender, Err: err})
}
