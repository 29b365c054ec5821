package transportactors

import (
	"context"
	"slices"

	"github.com/loopmesh/loopmesh/loopnode"
)

// waiters are the tasks that wait for one thing. Owned by the loop goroutine.
// Invariant: who gave up is not in it, so that waiting again and again with a
// limit keeps nothing.
type waiters []*loopnode.Future[struct{}]

// wait waits for the next wake.
func (w *waiters) wait(ctx context.Context, l *loopnode.Loop) error {
	f := loopnode.NewFuture[struct{}](l)
	*w = append(*w, f)
	_, err := f.Await(ctx)
	if err != nil {
		*w = slices.DeleteFunc(*w, func(o *loopnode.Future[struct{}]) bool { return o == f })
	}
	return err
}

// wake ends every wait.
func (w *waiters) wake() {
	for _, f := range *w {
		if !f.Done() {
			_ = f.SetResult(struct{}{})
		}
	}
	*w = nil
}
