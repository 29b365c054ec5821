package base

import (
	"context"
	"slices"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Waiters are the tasks that wait for one event. Owned by the loop goroutine.
// Invariant: who gave up is not in it, so that waiting again and again with a
// limit keeps nothing.
type Waiters []*loopnode.Future[struct{}]

// Wait waits for the next Wake.
func (w *Waiters) Wait(ctx context.Context, l *loopnode.Loop) error {
	f := loopnode.NewFuture[struct{}](l)
	*w = append(*w, f)
	_, err := f.Await(ctx)
	if err != nil {
		*w = slices.DeleteFunc(*w, func(o *loopnode.Future[struct{}]) bool { return o == f })
	}
	return err
}

// Wake ends every wait.
func (w *Waiters) Wake() {
	for _, f := range *w {
		if !f.Done() {
			_ = f.SetResult(struct{}{})
		}
	}
	*w = nil
}
