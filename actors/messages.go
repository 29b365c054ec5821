package actors

import (
	"cmp"
	"errors"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Actor is user code that receives messages, one at a time, on its loop.
//
// Receive gets the hooks Started, Restarting, Stopping and Stopped and the
// notices Terminated like any other message (Context.Message). A panic in
// Started or in a message goes to the supervisor; a panic in Stopping, Stopped
// or Restarting is reported and changes nothing: the actor ends, or restarts,
// as it was told to. Receive must not block: it holds the loop.
type Actor interface {
	Receive(*Context)
}

// Panic is a panic of user code as an error: find it with errors.As and a
// *Panic. Its fields:
//
//	Value any       // what it panicked with
//	Stack []byte    // its stack, as text
//	Calls []uintptr // the same, for runtime.CallersFrames
type Panic = guard.Panic

// Func is an Actor without state of its own.
type Func func(*Context)

// Receive calls the function.
func (f Func) Receive(ctx *Context) { f(ctx) }

// Started is the first message of every life of an actor.
type Started struct{}

// Restarting is the last message of a life that a new one follows.
type Restarting struct{}

// Stopping says that the actor ends; its children are still there.
type Stopping struct{}

// Stopped is the last message: the children have ended. Another actor can have the name
// as soon as Receive has returned from it.
type Stopped struct{}

// Terminated tells a watcher that an actor ended: exactly once per Watch.
type Terminated struct {
	// Who is the ref that was given to Watch.
	Who Ref
	// Reason is ErrStopped itself when the actor ended without a failure; otherwise
	// ErrUnknown, ErrLoopDied, ErrNodeDown, a *Panic, or the error the actor ended
	// with, which may wrap another actor's ErrStopped: compare with ==, or use
	// errors.Is and accept both.
	Reason error
}

// StopRequest travels to another node when an actor there is asked to stop. The
// receiving node decides whether it delivers it.
type StopRequest struct{}

// WithdrawRequest travels to another node when its sender, an Ask, was given up,
// so that the actor there owes no answer any more. Hand it to System.Deliver.
type WithdrawRequest struct{}

// Refusal answers an Ask with an error, across nodes too.
type Refusal struct{ Err error }

func (r Refusal) reason() error { return cmp.Or(r.Err, errNoReason) }

// errNoReason stands for the error that a Refusal does not have.
var errNoReason = errors.New("the actor has refused without a reason")

// envelope is a message on its way.
type envelope struct {
	msg    any
	sender Ref
}
