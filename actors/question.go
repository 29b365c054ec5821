package actors

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// tag gives something that is no actor an address when one is asked for: only
// what leaves the process needs it.
type tag struct {
	sys  *System
	name string // under sys.mu
}

// questionPrefix is how the paths of questions and watches begin.
const questionPrefix = "$reply/"

func (t *tag) named(self local) Address {
	s := t.sys
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.name == "" {
		s.tags++
		t.name = questionPrefix + strconv.FormatUint(s.tags, 10)
		s.tagged[t.name] = self
	}
	return Address{Path: t.name}
}

func (t *tag) drop() {
	t.sys.mu.Lock()
	defer t.sys.mu.Unlock()
	delete(t.sys.tagged, t.name)
}

// asked is an Ask as the one who was asked sees it.
type asked interface {
	local
	settle(answer any, err error) bool // any goroutine; false: not the first
	isSettled() bool
}

// question is one Ask: it is settled once, by the first of answer, refusal,
// deadline and end of the one who was asked.
type question struct {
	tag
	settled atomic.Bool
	answer  any           // written by the one who settles, before done or the reentry
	err     error         // likewise
	done    chan struct{} // closed when settled; nil when an actor asked
	back    *cell         // the actor that asked, nil otherwise
	life    uint64
	fn      func(any, error)
	cancel  func() // stops the deadline's timer; loop goroutine of back
}

func (q *question) address() Address { return q.named(q) }

// deliver is the answer on its way. Any goroutine.
func (q *question) deliver(env envelope) error {
	if !q.settleMsg(env.msg) {
		q.sys.deadLetter(Ref{at: q}, envelope{msg: env.msg}, ErrUnknown)
		return fmt.Errorf("%w: the question was answered or given up before", ErrUnknown)
	}
	return nil
}

func (q *question) settleMsg(msg any) bool {
	if r, ok := msg.(Refusal); ok {
		return q.settle(nil, r.Err)
	}
	return q.settle(msg, nil)
}

// settle reports whether this was the first outcome. Any goroutine.
func (q *question) settle(answer any, err error) bool {
	if !q.settled.CompareAndSwap(false, true) {
		return false
	}
	q.answer, q.err = answer, err
	q.drop()
	if q.back == nil {
		close(q.done)
		return true
	}
	_ = q.back.deliver(envelope{msg: &reentry{q.life, q.finish}}) // who asked may be gone
	return true
}

func (q *question) isSettled() bool { return q.settled.Load() }

// finish hands the outcome to the actor that asked, in a turn of its own.
func (q *question) finish() {
	if q.cancel != nil {
		q.cancel()
	}
	q.fn(q.answer, q.err)
}

// Ask sends msg and waits for the answer, for ctx, or for news that there will
// be none: ErrUnknown (no such actor), the reason of its end, the *Panic
// with which it met the message, the error given to ReplyError, or ctx.Err().
// Exactly one of answer and error comes; a late answer is a dead letter.
// It blocks the goroutine: never call it on a loop, use Context.Ask there.
func (s *System) Ask(ctx context.Context, to Ref, msg any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q := &question{tag: tag{sys: s}, done: make(chan struct{})}
	if err := s.send(to, envelope{msg, Ref{at: q}}); err != nil {
		q.settle(nil, err)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		q.settle(nil, context.Cause(ctx))
		<-q.done // settled by whoever came first
	}
	return q.answer, q.err
}

// Ask sends msg and calls fn with the answer or the error, in a later turn of
// this actor. Errors are those of System.Ask, and context.DeadlineExceeded after
// timeout; zero means no deadline. fn is not called when this actor restarts or
// ends first. It does not wait.
func (x *Context) Ask(to Ref, msg any, timeout time.Duration, fn func(any, error)) {
	c := x.c
	q := &question{tag: tag{sys: c.sys}, back: c, life: c.life, fn: fn}
	if timeout > 0 {
		q.cancel = c.host.after(timeout, func() { q.settle(nil, context.DeadlineExceeded) })
	}
	if err := x.sendAs(to, envelope{msg, Ref{at: q}}); err != nil {
		q.settle(nil, err)
	}
}

// remember keeps a question until it is settled, so that the end of the actor
// settles it.
func (c *cell) remember(q asked) {
	if len(c.open) == cap(c.open) { // full: sweep before growing
		kept := c.open[:0]
		for _, o := range c.open {
			if !o.isSettled() {
				kept = append(kept, o)
			}
		}
		clear(c.open[len(kept):])
		if len(kept) > cap(c.open)/2 {
			kept = append(make([]asked, 0, 2*cap(c.open)), kept...)
		}
		c.open = kept
	}
	c.open = append(c.open, q)
}
