package loopnode

import (
	"fmt"

	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// Called answers an Ask of the loop's actor with a function once it has run.
type Called struct{}

// selfActor is the loop's own actor, made when it is first asked for.
type selfActor struct {
	once sync.Once
	ref  actors.Ref
	err  error
}

// Actor is the loop as an actor of its system, under the loop's name: send it a
// func() to run it on the loop (an Ask is answered with Called, or with what the
// function threw, which the exception handler gets too), stop it to stop
// the loop, watch it to hear why the loop was closed: Terminated.Reason is
// Loop.CloseReason, or actors.ErrLoopDied. Any goroutine; it does not wait.
// Errors: actors.ErrNameTaken (another loop or actor has the name),
// actors.ErrShutdown, actors.ErrLoopDied. A ref to a loop of another node is
// that loop's actor by its address.
func (r Ref) Actor() (actors.Ref, error) {
	if r.loop == nil {
		return actors.RefOf(r.addr), nil
	}
	a := &r.loop.self
	a.once.Do(func() {
		a.ref, a.err = r.loop.Actors().Spawn(r.loop, r.loop.name, func() actors.Actor { return loopActor{r.loop} }, actors.WithStrategy(resume))
	})
	return a.ref, a.err
}

// loopActor holds nothing of its own: messages become what Ref does.
type loopActor struct{ loop *Loop }

// Receive is called by the actor system.
func (a loopActor) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case func():
		a.call(ctx, m)
	case actors.Stopping:
		a.loop.Stop()
	default:
		if ctx.Asked() { // whoever waits must be told; the asker may have ended
			_ = ctx.ReplyError(fmt.Errorf("%w: the actor of a loop takes a func(), not a %T", ErrInvalidArgument, m))
		}
	}
}

// call runs a function that was sent to the loop. What it throws ends neither the
// actor nor the loop: it is reported like the failure of any callback.
func (a loopActor) call(ctx *actors.Context, fn func()) {
	failed := ErrGoexit // unless fn returns or panics
	defer func() {
		switch {
		case failed != nil:
			a.loop.sentFailed(fn, failed)
			if ctx.Asked() {
				_ = ctx.ReplyError(failed) // the asker may have ended
			}
		case ctx.Asked():
			_ = ctx.Reply(Called{})
		}
	}()
	if p := guard.Call(fn); p != nil {
		failed = p
	} else {
		failed = nil
	}
}

// sentFailed reports the failure of a function that was sent to the loop's actor.
func (l *Loop) sentFailed(fn func(), err error) {
	if f := asFatal(err); f != nil {
		l.fatal = f
		return
	}
	l.CallExceptionHandler(ExceptionContext{Kind: report.Callback, Message: "Exception in function sent to the loop " + funcName(fn), Exception: err})
	l.count(err)
}

// resume keeps the loop's actor alive after runtime.Goexit in a function sent to
// it, which no guard can stop: the actor stands for the loop, which goes on.
var resume = actors.Strategy{Decide: func(actors.Failure) actors.Directive { return actors.Resume }}
