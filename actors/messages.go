package actors

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

// Stopped is the last message: the children are gone, the name is free.
type Stopped struct{}

// Terminated tells a watcher that an actor ended: exactly once per Watch.
type Terminated struct {
	// Who is the ref that was given to Watch.
	Who Ref
	// Reason is ErrStopped, ErrUnknown, ErrLoopDied, ErrNodeDown, a *Panic,
	// or the error the actor ended with.
	Reason error
}

// WatchRequest travels to another node when a local actor watches an actor
// there; its sender is the watcher. Hand it to System.Deliver on arrival.
type WatchRequest struct{}

// UnwatchRequest takes a WatchRequest back.
type UnwatchRequest struct{}

// StopRequest travels to another node when an actor there is asked to stop.
// Whether it is obeyed is the receiving node's policy: deliver it or do not.
type StopRequest struct{}

// Refusal answers an Ask with an error, across nodes too.
type Refusal struct{ Err error }

// envelope is a message on its way.
type envelope struct {
	msg    any
	sender Ref
}

// reentry is a call back into an actor, as a message of its own.
// Invariant: it runs only in the life (generation) it was made in, because fn
// closes over that life's actor.
type reentry struct {
	life uint64
	fn   func()
}
