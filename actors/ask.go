package actors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/internal/guard"
)

// An Ask is a message whose sender is not an actor but a pendingAsk: what is sent
// to that sender is the answer. Exactly one outcome settles it, the first of
//
//	answer    Reply, or Send to the message's sender
//	refusal   ReplyError, a panic with the message, the end or the restart of the
//	          actor that has received it, a full mailbox, no such actor
//	time-out  the deadline of the asker
//	loss      the node of the actor that was asked has ended
//	giving up the asker restarts or ends
//
// Whoever receives an Ask owes the answer and keeps it in cell.taken, so that the
// end of the receiver settles it. Whoever asks keeps it in cell.asks, so that the
// end of the asker gives it up. A pendingAsk has an address only when it leaves
// the process.

// asked is an Ask as the actor that received it sees it: a pendingAsk of this
// process or a remoteAsk. Any goroutine.
type asked interface {
	target
	settle(answer any, err error) bool // false: not the first outcome
	isSettled() bool
	takenBy(c *cell)      // c has received it and owes the answer
	releasedFrom(c *cell) // c has passed it on and owes nothing
	place() *int
}

// askState is the one outcome of an Ask and the actor that owes it.
//
// Lock order: mu, then cell.takenMu.
type askState struct {
	mu      sync.Mutex
	settled bool  // under mu
	taker   *cell // under mu: keeps it in taken
	at      int   // under taker.takenMu: place in taken
}

func (a *askState) place() *int { return &a.at }

func (a *askState) isSettled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settled
}

// first reports whether this is the first outcome; only its caller goes on. The
// receiver keeps the Ask no longer.
func (a *askState) first(self asked) bool {
	a.mu.Lock()
	if a.settled {
		a.mu.Unlock()
		return false
	}
	a.settled = true
	taker := a.taker
	a.taker = nil
	a.mu.Unlock()
	if taker != nil {
		taker.dropTaken(self)
	}
	return true
}

// take makes c the actor that owes the answer, nil nobody.
func (a *askState) take(self asked, c *cell) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled || a.taker == c {
		return
	}
	if a.taker != nil {
		a.taker.dropTaken(self)
	}
	if a.taker = c; c != nil {
		c.takenMu.Lock()
		c.taken.add(self)
		c.takenMu.Unlock()
	}
}

func (a *askState) release(self asked, c *cell) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taker == c {
		a.taker = nil
		c.dropTaken(self)
	}
}

func (c *cell) dropTaken(q asked) {
	c.takenMu.Lock()
	defer c.takenMu.Unlock()
	c.taken.remove(q)
}

// replyAddress gives an Ask an address when one is asked for: only an Ask of another
// node needs it. From then on the system finds the Ask by that address until
// unregister.
type replyAddress struct {
	sys  *System
	name string // under sys.mu
}

// replyPrefix is how the paths of Asks begin.
const replyPrefix = "$reply/"

func (t *replyAddress) registerLocked(self target) Address {
	name := t.nameLocked()
	t.sys.registered[name] = self
	return Address{Path: name}
}

func (t *replyAddress) nameLocked() string {
	if t.name == "" { // a random number, so that only the actor that was asked knows it
		t.name = replyPrefix + strconv.FormatUint(rand.Uint64(), 36)
	}
	return t.name
}

func (t *replyAddress) unregister() {
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	delete(t.sys.registered, t.name)
}

// pendingAsk is an Ask that was made in this process.
type pendingAsk struct {
	replyAddress
	askState
	remote Address // under sys.mu: where it went, when that is another node

	// The outcome: written once by whoever settles, before anybody is told.
	answer any
	err    error

	done   chan struct{}    // closed when settled; nil unless a goroutine waits
	notify func(any, error) // called when settled; nil unless AskFunc made it

	// For an Ask by an actor; loop goroutine of back.
	back   *cell
	again  continuation // the call of fn with the outcome
	asksAt int          // place in back.asks
	stop   func()       // stops the deadline's timer; nil without one
}

// ownAsk is a pendingAsk as a member of cell.asks, where it has another place than
// in cell.taken.
type ownAsk struct{ *pendingAsk }

func (o ownAsk) place() *int { return &o.asksAt }

// address is where answers from other nodes come. A settled Ask takes no answer, so
// it is not registered again.
func (q *pendingAsk) address() Address {
	q.sys.mu.Lock()
	defer q.sys.mu.Unlock()
	if q.isSettled() {
		return Address{Path: q.nameLocked()}
	}
	return q.registerLocked(q)
}

func (q *pendingAsk) takenBy(c *cell)      { q.take(q, c) }
func (q *pendingAsk) releasedFrom(c *cell) { q.release(q, c) }

// deliver takes the answer. Any goroutine.
func (q *pendingAsk) deliver(env envelope) error {
	answer, err := env.msg, error(nil)
	if r, ok := env.msg.(Refusal); ok {
		answer, err = nil, r.reason()
	}
	if !q.settle(answer, err) {
		q.sys.deadLetter(Ref{at: q}, envelope{msg: env.msg}, ErrUnknown)
		return fmt.Errorf("%w: the Ask was answered or given up before", ErrUnknown)
	}
	return nil
}

// settle reports whether this was the first outcome. Any goroutine.
func (q *pendingAsk) settle(answer any, err error) bool {
	if !q.first(q) {
		return false
	}
	q.unregister()
	q.answer, q.err = answer, err
	switch {
	case q.done != nil:
		close(q.done)
	case q.notify != nil:
		if p := guard.Call(func() { q.notify(answer, err) }); p != nil {
			q.sys.log.Error("callback of AskFunc failed", "error", p, "stack", string(p.Stack))
		}
	default:
		q.back.deliverContinuation(&q.again)
	}
	return true
}

// giveUp settles with err and, when another node was asked, tells it so.
func (q *pendingAsk) giveUp(err error) {
	if q.settle(nil, err) {
		q.withdraw()
	}
}

// abandon ends an Ask whose asker is gone: nobody is told the outcome. Loop
// goroutine of the asker.
func (q *pendingAsk) abandon() {
	first := q.first(q)
	if q.stop != nil {
		q.stop()
	}
	q.again.fn, q.stop = nil, nil // what they capture is released now
	if first {
		q.unregister()
		q.withdraw()
	}
}

// withdraw tells the node that was asked, if there is one, to forget the Ask.
func (q *pendingAsk) withdraw() {
	q.sys.mu.Lock()
	to := q.remote
	q.sys.mu.Unlock()
	if !to.IsZero() {
		_ = q.sys.route(to, envelope{WithdrawRequest{}, Ref{at: q}}) // lost: it is forgotten with the actor
	}
}

// sentTo notes that the Ask travels to another node, whose end now settles it.
func (q *pendingAsk) sentTo(to Address) {
	q.sys.mu.Lock()
	defer q.sys.mu.Unlock()
	if !q.isSettled() {
		q.remote = to
		q.registerLocked(q)
	}
}

// finish hands the outcome to the actor that asked, in a turn of its own.
func (q *pendingAsk) finish(fn func(any, error)) {
	q.back.asks.remove(ownAsk{q})
	if q.stop != nil {
		q.stop()
	}
	fn(q.answer, q.err)
}

// askLimit is the time-out of an Ask that gives none: Options.AskTimeout across nodes;
// none within the process, where the asker hears of every failure.
func (s *System) askLimit(to Ref) time.Duration {
	if _, here := s.find(to); here {
		return 0
	}
	return s.opts.AskTimeout
}

func timeoutError(to Ref, d time.Duration) error {
	return fmt.Errorf("%w: %s has not answered within %v", context.DeadlineExceeded, to, d)
}

// Ask sends msg and waits for the answer, for ctx, or for news that there will
// be none. Exactly one of answer and error comes; a late answer is a dead letter.
// An Ask of another node whose ctx has no deadline ends after Options.AskTimeout.
//
// It blocks the goroutine, so it refuses with ErrWouldBlock on a goroutine that
// runs a loop: an actor uses Context.Ask, a task loopnode.Ask.
//
// Errors: ErrUnknown (no such actor), the reason of its end or restart, the
// *Panic with which it met the message, ErrMailboxFull, the error given to
// ReplyError, ErrNoRoute, ErrNodeDown, context.DeadlineExceeded, the cause of ctx.
func (s *System) Ask(ctx context.Context, to Ref, msg any) (any, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if coro.Inside() {
		return nil, fmt.Errorf("%w: Ask of %s on a loop's goroutine: use Context.Ask in an actor, loopnode.Ask in a task", ErrWouldBlock, to)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, ok := ctx.Deadline(); !ok {
		if d := s.askLimit(to); d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, d, timeoutError(to, d))
			defer cancel()
		}
	}
	q := &pendingAsk{replyAddress: replyAddress{sys: s}, done: make(chan struct{})}
	if err := s.send(to, envelope{msg, Ref{at: q}}); err != nil {
		q.settle(nil, err)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		q.giveUp(context.Cause(ctx))
		<-q.done // settled by whoever came first
	}
	return q.answer, q.err
}

// AskFunc sends msg and calls fn once with the answer or the error, on whichever
// goroutine settles the Ask, maybe before AskFunc returns: fn must not block. It
// does not wait. give ends the Ask with an error of the caller's, which fn gets;
// it does nothing when there is an outcome already. Errors as System.Ask; there
// is no deadline but Options.AskTimeout across nodes. Any goroutine. For bridges
// to futures, as loopnode.Ask.
func (s *System) AskFunc(to Ref, msg any, fn func(answer any, err error)) (give func(err error)) {
	q := &pendingAsk{replyAddress: replyAddress{sys: s}, notify: fn}
	if d := s.askLimit(to); d > 0 {
		t := time.AfterFunc(math.MaxInt64, func() { q.giveUp(timeoutError(to, d)) })
		q.notify = func(answer any, err error) {
			t.Stop()
			fn(answer, err)
		}
		t.Reset(d) // not before notify is there
	}
	if err := s.send(to, envelope{msg, Ref{at: q}}); err != nil {
		q.settle(nil, err)
	}
	return q.giveUp
}

// Ask sends msg and calls fn with the answer or the error, in a later turn of
// this actor. Errors are those of System.Ask, and context.DeadlineExceeded after
// timeout; zero means no deadline, but Options.AskTimeout for an actor of another
// node. fn is not called when this actor restarts or ends first. It does not
// wait.
func (x *Context) Ask(to Ref, msg any, timeout time.Duration, fn func(any, error)) {
	c := x.c
	if c.phase == stopped || fn == nil {
		return
	}
	q := &pendingAsk{replyAddress: replyAddress{sys: c.sys}, back: c}
	q.again = continuation{c.life, func() { q.finish(fn) }}
	c.asks.add(ownAsk{q})
	if timeout <= 0 {
		timeout = c.sys.askLimit(to)
	}
	if timeout > 0 {
		q.stop = c.host.after(timeout, func() { q.giveUp(timeoutError(to, timeout)) })
	}
	if err := x.sendAs(to, envelope{msg, Ref{at: q}}); err != nil {
		q.settle(nil, err)
	}
}

// errNilContext refuses a nil ctx.
var errNilContext = errors.New("the context is nil: use context.Background()")
