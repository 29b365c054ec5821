package loopnode

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
)

// Ask sends msg to an actor of sys and waits for the answer; the task that calls
// it is suspended meanwhile, the loop runs on. Outside of a loop it is
// actors.System.Ask. When ctx ends first, the Ask is given up. Errors: those of
// actors.System.Ask; ErrWouldBlock in a callback; ErrCancelled, ErrTimeout.
func Ask(ctx context.Context, sys *actors.System, to actors.Ref, msg any) (any, error) {
	switch {
	case ctx == nil:
		return nil, invalid("Ask needs a context, not nil")
	case sys == nil:
		return nil, invalid("Ask needs an actor system, not nil")
	case !onLoop():
		return sys.Ask(ctx, to, msg)
	}
	f := NewSafeFuture[any]()
	give := sys.AskFunc(to, msg, func(answer any, err error) {
		if err != nil {
			_ = f.SetException(err) // cancelled before: nobody waits
			return
		}
		_ = f.SetResult(answer)
	})
	answer, err := WrapFuture(ctx, f).Await(ctx)
	if err != nil {
		give(fmt.Errorf("the asker has given up: %w", err)) // nothing when it has an outcome
	}
	return answer, err
}
