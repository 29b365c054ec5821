package actors

import (
	"fmt"

	"github.com/hashicorp/go-hclog"
)

// Context is how an actor reads the message that it handles, and how it acts: send,
// ask, watch, spawn, stop. Every method belongs to the goroutine of the actor's loop,
// inside Receive or not. Message and Sender mean something only inside Receive; the
// Context itself stays the same for all lives of the actor.
type Context struct {
	c       *cell
	current envelope // the message that is handled, empty otherwise
}

// Message is what Receive is called for.
func (x *Context) Message() any { return x.current.msg }

// Sender is who sent the message: an actor, or an open Ask. It is zero for hooks,
// for notices and for what was sent from outside.
func (x *Context) Sender() Ref { return x.current.sender }

// Asked reports whether the sender waits for an answer: the message came by an
// Ask that nobody has answered or refused yet.
func (x *Context) Asked() bool {
	q, ok := x.current.sender.at.(asked)
	return ok && !q.isSettled()
}

// Self is this actor.
func (x *Context) Self() Ref { return x.c.ref() }

// Parent is who spawned this actor, zero at the top.
func (x *Context) Parent() Ref {
	if x.c.parent == nil {
		return Ref{}
	}
	return x.c.parent.ref()
}

// Children are the living actors this one spawned, in that order.
func (x *Context) Children() []Ref {
	list := make([]Ref, len(x.c.children))
	for i, k := range x.c.children {
		list[i] = k.ref()
	}
	return list
}

// Loop is the loop this actor lives on.
func (x *Context) Loop() Loop { return x.c.host.loop }

// System is the system this actor belongs to.
func (x *Context) System() *System { return x.c.sys }

// Logger is the system's logger with the actor's name.
func (x *Context) Logger() hclog.Logger { return x.c.sys.log.With("actor", x.c.path) }

// Send sends msg with this actor as sender. It does not wait. Messages from one
// actor to another arrive in the order sent, at most once. Nil means accepted,
// not handled. Errors: the reason of the target's end, ErrUnknown, ErrNoRoute.
// What is refused is a dead letter too.
func (x *Context) Send(to Ref, msg any) error {
	return x.sendAs(to, envelope{msg, Ref{at: x.c}})
}

// Forward sends the current message on with its sender. From then on the receiver
// owes the answer to an Ask, not this actor. Errors as Send.
func (x *Context) Forward(to Ref) error {
	if err := x.sendAs(to, x.current); err != nil {
		return err
	}
	if q, ok := x.current.sender.at.(asked); ok {
		q.releasedFrom(x.c)
	}
	return nil
}

// Reply answers the current message's sender. Error: ErrNoSender, or as Send.
func (x *Context) Reply(msg any) error {
	if x.current.sender.IsZero() {
		return fmt.Errorf("%w: %T", ErrNoSender, x.current.msg)
	}
	return x.Send(x.current.sender, msg)
}

// ReplyError answers an Ask with an error. Errors as Reply. A nil error is a
// mistake: who asked gets an error that says so, not an answer, and so does the
// caller.
func (x *Context) ReplyError(err error) error {
	if err == nil {
		_ = x.Reply(Refusal{errNoReason})
		return fmt.Errorf("%w: ReplyError needs an error, not nil", errNoReason)
	}
	return x.Reply(Refusal{err})
}

// sendAs takes the short way to an actor on the same loop: no lock, no atomic
// write.
func (x *Context) sendAs(to Ref, env envelope) error {
	if t, ok := to.at.(*cell); ok && t.host == x.c.host {
		return t.postLocal(env)
	}
	return x.c.sys.send(to, env)
}

// Watch asks for one Terminated when the actor r has ended, with the reason; at
// once with ErrUnknown when nobody has that address. It does not wait. Watching
// twice is watching once, a restart of r is no end, watching oneself does
// nothing, and a restart of this actor forgets its watches.
func (x *Context) Watch(r Ref) { x.c.watch(r) }

// Unwatch takes a Watch back: no Terminated comes for it after this, not even
// one that was on its way.
func (x *Context) Unwatch(r Ref) { x.c.unwatch(r) }

// Stop asks an actor to end, before the messages that wait in its mailbox, even
// when it is suspended. It does not wait; Watch does. A permanent actor ends too.
func (x *Context) Stop(r Ref) { x.c.sys.Stop(r) }

// Exit ends this actor after the current message: with nil it ends normally
// (a permanent one is restarted), with an error it fails, whichever error it is.
func (x *Context) Exit(err error) { x.c.exiting, x.c.exitErr, x.c.exitForGood = true, err, false }

// End ends this actor after the current message, whatever its lifetime. The
// reason, ErrStopped when nil, is for its watchers and no failure. It is for
// actors that represent something else which has ended, for example a connection.
// OTP: exit with {shutdown, Reason}.
func (x *Context) End(reason error) { x.c.exiting, x.c.exitErr, x.c.exitForGood = true, reason, true }

// Spawn starts a child on the same loop. factory is called on the loop, for each
// life, not by Spawn. An empty name is replaced by a fresh one. Children end
// before their parent, and when it restarts. Errors: ErrNameTaken, ErrBadAddress,
// ErrStopped when this actor is ending, ErrShutdown, ErrLoopDied.
func (x *Context) Spawn(name string, factory func() Actor, opts ...SpawnOption) (Ref, error) {
	c := x.c
	if c.phase != alive || c.inHook > hookStarted {
		return Ref{}, fmt.Errorf("%w: %s cannot start a child any more", c.endReason(), c.path)
	}
	return c.sys.spawn(c.host.loop, c, name, factory, opts)
}
