package names

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Placed is a singleton: of all nodes that place it under one name, one runs it. Place
// makes one on each of them. Any goroutine.
type Placed struct {
	ctx    context.Context
	cancel context.CancelFunc
	gone   chan struct{} // closed when nothing of it runs any more
}

// Pauses after a run that failed, so that a singleton that cannot run does not wander
// from node to node as fast as they can claim.
const (
	firstPause = time.Second
	mostPause  = time.Minute
)

// Place runs fn as a task on a loop of this process whenever this node owns the name,
// and stands by otherwise. It does not wait. fn's ctx ends when the ownership does: with
// ErrLost, or with ErrReleased after Stop; then fn has to return, and must have no effect
// any more (Ownership.Held, and the token for whoever keeps the effect). When fn returns
// nil the name is released and this node does not run it again. When it returns an error
// or panics, the name is released, so that another node can try, and this node stands by
// again after a pause of one second, twice as long each time, at most a minute; the error
// is logged. Errors: ErrBadName, ErrConfig for a loop that is not of this process.
//
// How soon does the next node run it? See the package: within a second after Stop or
// the end of the node, within milliseconds after a death that membership has seen, else
// when the lease has ended.
func Place(n *cluster.Node, name string, loop loopnode.Ref, fn func(ctx context.Context, o *Ownership) error) (*Placed, error) {
	local, ok := loop.Local()
	switch {
	case n == nil, fn == nil:
		return nil, fault.Config("names: Place needs a node and a function, not nil")
	case !ok:
		return nil, fault.Config("names: the loop %s is not of this process: a node places on its own loops", loop)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	p := &Placed{gone: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	r := roomOf(n)
	// goroutine: owner: Placed; ends when Stop, or the end of its loop or node, cancels p.ctx
	go func() {
		defer close(p.gone)
		p.stand(r, name, loop, local, fn)
	}()
	forget := r.parts.OnLeave(p.leave)
	unhook := local.OnClose(p.cancel)
	context.AfterFunc(p.ctx, func() {
		unhook()
		<-p.gone // until then the end of the node waits for it
		forget()
	})
	return p, nil
}

// Stop ends the run, waits until fn has returned, and releases the name. Not from the
// loop that runs it: it waits for it.
func (p *Placed) Stop() {
	p.cancel()
	<-p.gone
}

// leaveLimit is how long the end of a node waits for a singleton whose fn does not return. Then
// its name is released all the same, behind which Held is false, and its loop ends it.
const leaveLimit = 3 * time.Second

// leave is Stop for a node that ends.
func (p *Placed) leave() {
	p.cancel()
	limit := time.NewTimer(leaveLimit)
	defer limit.Stop()
	select {
	case <-p.gone:
	case <-limit.C:
	}
}

// Done is closed when this node does not run it any more, now or later: after Stop, after
// the end of the loop, and when fn has returned nil.
func (p *Placed) Done() <-chan struct{} { return p.ctx.Done() }

// stand owns and runs again and again.
func (p *Placed) stand(r *room, name string, loop loopnode.Ref, local *loopnode.Loop, fn func(context.Context, *Ownership) error) {
	defer p.cancel()
	pause := firstPause
	for p.ctx.Err() == nil {
		o, err := r.acquire(p.ctx, name, address(loop))
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, cluster.ErrClosed) {
				return
			}
			r.parts.Log.Error("a singleton cannot be placed here; it is tried again", "name", name, "error", err)
		} else {
			begun := time.Now()
			err = p.run(r, o, local, fn)
			ctx, cancel := context.WithTimeout(context.Background(), releaseLimit)
			_ = r.release(ctx, o) // else its lease or the end of the node frees it
			cancel()
			switch {
			case err == nil:
				return
			case errors.Is(err, ErrLost), p.ctx.Err() != nil:
				continue
			case time.Since(begun) > mostPause:
				pause = firstPause
			}
			r.parts.Log.Error("a singleton failed; it is tried again, here or elsewhere", "name", name, "error", err, "pause", pause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, mostPause)
	}
}

// run runs fn as a task of the loop until it returns. The task is cancelled when the
// ownership ends.
func (p *Placed) run(r *room, o *Ownership, local *loopnode.Loop, fn func(context.Context, *Ownership) error) error {
	ended := make(chan error, 1)
	var task *loopnode.Task[struct{}] // loop goroutine only
	err := local.Ref().CallSoonThreadsafe(func() {
		task = loopnode.CreateTask(local.Context(r.node.Context(context.Background())), o.owner.Name, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, fault.Readable(fn(ctx, o))
		})
		task.AddDoneCallback(func(f *loopnode.Future[struct{}]) {
			_, err := f.Result()
			var bad *guard.Panic
			if errors.As(err, &bad) {
				err = fmt.Errorf("%w: %s", cluster.ErrPanic, fault.PanicText(bad.Value))
			}
			ended <- err
		})
	})
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	unhook := local.OnClose(func() { close(stop) })
	defer unhook()
	cancel := func(why string) error {
		_ = local.Ref().CallSoonThreadsafe(func() { task.Cancel(why) }) // a closed loop has ended it
		select {
		case err := <-ended:
			return err
		case <-stop:
			return cluster.ErrClosed
		}
	}
	select {
	case err := <-ended:
		return err
	case <-o.done:
		_ = cancel("the name was lost") // why it ended is known
		return o.Err()
	case <-p.ctx.Done():
		_ = cancel("the singleton is stopped here")
		return ErrReleased
	}
}
