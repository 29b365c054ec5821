package subprocess

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// launch is one start on an executor: on goroutines of its own kind, so that users'
// functions that all wait keep no child from being started. Whoever gives up on it, the starter or
// the loop, leaves the child to the other side or takes it: none is lost.
//
// Why on the executor: looking for the program and exec wait for the disk, and
// fork waits for every other fork of this process. Measured with 100 starts at
// once on two busy cores: the loop's timers were at worst 29 to 59 ms late, and
// 104 to 162 ms with fork and exec on the loop (BenchmarkSpawnAtOnce); alone a
// start and exit costs 1.1 times what os/exec takes (BenchmarkSpawn).
type launch struct {
	loop *loopnode.Loop
	opts *options

	mu         sync.Mutex
	running    bool       // the executor has begun
	abandoned  bool       // nobody wants the child any more
	childFiles childFiles // closed by the executor, unless that never begins
	child      *proc.Child
	err        error

	// Owned by the loop goroutine.
	over   bool
	waiter *loopnode.Future[struct{}]
}

// launchIn starts a child with g, which it closes. After a cancellation it
// returns the child with the error when it was too late to prevent it.
func launchIn(ctx context.Context, l *loopnode.Loop, o *options, g childFiles) (*proc.Child, error) {
	n := &launch{loop: l, opts: o, childFiles: g}
	starts, _ := loopaccess.Of(l).ReservedExecutor("child starts").(loopnode.Executor)
	job := loopnode.RunInExecutor(ctx, starts, func() (struct{}, error) { n.run(); return struct{}{}, nil })
	job.AddDoneCallback(func(f *loopnode.Future[struct{}]) { n.done(f.Exception()) })
	base.Enter(n)
	defer base.Leave(n)
	err := n.wait(ctx)
	prevented := n.prevent()
	if prevented {
		job.Cancel()
		n.childFiles.close()
	}
	switch {
	case err == nil:
		return n.child, n.err
	case !prevented:
		_ = n.wait(context.WithoutCancel(ctx)) // a second cancellation leaves it to the executor
	}
	return n.abandon(), err
}

// run starts the child. Executor.
func (n *launch) run() {
	n.mu.Lock()
	n.running = !n.abandoned
	start := n.running
	n.mu.Unlock()
	if !start {
		return
	}
	child, err := n.opts.start(n.childFiles.files)
	n.childFiles.close()
	n.mu.Lock()
	n.child, n.err = child, err
	lost := n.abandoned
	n.mu.Unlock()
	if lost {
		n.LoopClosed()
	}
}

func (o *options) start(files []int) (*proc.Child, error) {
	name := o.args[0]
	if o.executable != "" {
		name = o.executable
	}
	path, err := proc.Find(name, o.env)
	if err != nil {
		return nil, &os.PathError{Op: "exec", Path: name, Err: fmt.Errorf("not found in PATH: %w", err)}
	}
	return proc.Start(proc.Spec{
		Path: path, Args: o.args, Env: o.env, Dir: o.dir, Files: files, Attr: o.attr, Slow: o.slow,
	})
}

// done hears that the executor is through with it, or refused it. Loop goroutine.
func (n *launch) done(err error) {
	n.over = true
	if err != nil {
		n.err = err
	}
	if n.waiter != nil && !n.waiter.Done() {
		_ = n.waiter.SetResult(struct{}{})
	}
}

func (n *launch) wait(ctx context.Context) error {
	for !n.over {
		n.waiter = loopnode.NewFuture[struct{}](n.loop)
		if _, err := n.waiter.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prevent keeps the start from beginning; false: it has begun.
func (n *launch) prevent() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running {
		n.abandoned = true
	}
	return !n.running
}

// abandon takes the child, if there is one; one that starts later is ended by
// the executor.
func (n *launch) abandon() *proc.Child {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.abandoned = true
	child := n.child
	n.child = nil
	return child
}

// Loop is where the start was asked for.
func (n *launch) Loop() *loopnode.Loop { return n.loop }

// LoopClosed ends the child that nobody will fetch. It blocks until it is gone.
func (n *launch) LoopClosed() {
	child := n.abandon()
	if child == nil {
		return
	}
	_ = child.Signal(syscall.SIGKILL) // an end of its own is as good
	child.Wait()
	_, _, _ = child.Reap()
}
