package loopnode

import (
	"sync"

	"github.com/loopmesh/loopmesh/actors"
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
// func() to run it on the loop (an Ask is answered with Called), stop it to stop
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
		a.ref, a.err = r.loop.Actors().Spawn(r.loop, r.loop.name, func() actors.Actor { return loopActor{r.loop} })
	})
	return a.ref, a.err
}

// loopActor holds nothing of its own: messages become what Ref does.
type loopActor struct{ loop *Loop }

// Receive is called by the actor system.
func (a loopActor) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case func():
		m()
		if ctx.Asked() {
			_ = ctx.Reply(Called{}) // who asked may be gone
		}
	case actors.Stopping:
		a.loop.Stop()
	}
}
