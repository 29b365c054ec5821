package loopnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Option changes how Run and NewRunner run.
type Option func(*runOptions)

type runOptions struct {
	cfg       *Config
	factory   func() (*Loop, error)
	base      context.Context
	noSignals bool
}

// WithConfig gives the loop a configuration, instead of the policy's.
func WithConfig(cfg Config) Option { return func(o *runOptions) { o.cfg = &cfg } }

// WithLoopFactory has fn make the loop; nobody else is asked. asyncio: loop_factory.
func WithLoopFactory(fn func() (*Loop, error)) Option {
	return func(o *runOptions) { o.factory = fn }
}

// WithValues is a ctx whose values every run of a Runner sees behind its own.
func WithValues(ctx context.Context) Option { return func(o *runOptions) { o.base = ctx } }

// WithoutSignals leaves SIGINT alone.
func WithoutSignals() Option { return func(o *runOptions) { o.noSignals = true } }

// newLoop asks who makes the loop: the factory, the configuration, the policy.
func (o *runOptions) newLoop() (*Loop, error) {
	switch {
	case o.factory != nil:
		return made(o.factory())
	case o.cfg != nil:
		return New(*o.cfg)
	}
	return made(NewEventLoop())
}

// made refuses the answer of a user's function that makes neither a loop nor an
// error.
func made(l *Loop, err error) (*Loop, error) {
	if err == nil && l == nil {
		err = invalid("who should make the loop returned no loop")
	}
	return l, err
}

// Run makes a loop, runs main as its first task and returns main's error. It
// waits for main; ctx cancels it. main is a task and must not block, see
// CreateTask. Then, in this order: the tasks left over are
// cancelled and awaited, generators are closed, the executor is shut down (5
// minutes at most), the loop is closed.
//
// SIGINT cancels main. When main ends with that cancellation Run returns a FatalError
// with ErrInterrupted, otherwise what main returns. A second SIGINT ends the run at
// once, also when main ignores its cancellation: nothing that is left over is awaited,
// the loop is closed (see Loop.Close). For SIGTERM give Run a ctx of
// signal.NotifyContext. Call Run from a goroutine that runs no loop. The policy's
// current loop stays as it is. asyncio.run.
func Run(ctx context.Context, main func(ctx context.Context) error, opts ...Option) error {
	r := NewRunner(opts...)
	if err := r.runnable(main); err != nil {
		return err
	}
	err := r.Run(ctx, main)
	return errors.Join(err, r.Close())
}

// Runner is Run in pieces: one loop, made at the first use, for several runs.
// Its methods are for goroutines that run no loop, one at a time.
// asyncio.Runner.
type Runner struct {
	opts runOptions

	mu     sync.Mutex
	loop   *Loop
	closed bool
}

// NewRunner makes a runner and no loop yet. Close it when done.
func NewRunner(opts ...Option) *Runner {
	r := &Runner{}
	for _, opt := range opts {
		if opt != nil {
			opt(&r.opts)
		}
	}
	return r
}

// Loop is the runner's loop. Errors: ErrLoopClosed after Close, and the
// factory's. asyncio: Runner.get_loop.
func (r *Runner) Loop() (*Loop, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("%w: the runner is closed", ErrLoopClosed)
	}
	if r.loop == nil {
		l, err := r.opts.newLoop()
		if err != nil {
			return nil, err
		}
		r.loop = l
	}
	return r.loop, nil
}

// Run runs main as a task of the runner's loop and returns its error; what it
// leaves behind is there for the next Run. It waits for main; ctx cancels it.
// SIGINT as in the function Run. Errors of its own: ErrLoopClosed (the runner is
// closed), ErrNestedLoop (this goroutine runs a loop), ErrLoopRunning,
// ErrInvalidArgument (no main). asyncio: Runner.run.
func (r *Runner) Run(ctx context.Context, main func(ctx context.Context) error) error {
	if err := r.runnable(main); err != nil {
		return err
	}
	l, err := r.Loop()
	if err != nil {
		return err
	}
	return l.runMain(withValues(ctx, r.opts.base), main, !r.opts.noSignals)
}

func (r *Runner) runnable(main func(ctx context.Context) error) error {
	switch {
	case main == nil:
		return invalid("Run needs a main function, not nil")
	case onLoop():
		return fmt.Errorf("%w: Run cannot be called from a running loop", ErrNestedLoop)
	}
	return nil
}

// Close ends what the runs left over and closes the loop, in Run's order. It
// waits. A runner that was never used, or is closed, has nothing to do.
// asyncio: Runner.close.
func (r *Runner) Close() error {
	if onLoop() {
		return fmt.Errorf("%w: a runner cannot be closed from a running loop", ErrNestedLoop)
	}
	r.mu.Lock()
	l := r.loop
	r.loop, r.closed = nil, true
	r.mu.Unlock()
	if l == nil || l.IsClosed() {
		return nil
	}
	return l.teardown()
}

// values is a ctx with those of another one behind its own.
type values struct {
	context.Context
	base context.Context
}

func (v *values) Value(key any) any {
	if own := v.Context.Value(key); own != nil {
		return own
	}
	return v.base.Value(key)
}

func withValues(ctx, base context.Context) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	if base == nil {
		return ctx
	}
	return &values{ctx, base}
}

func (l *Loop) runMain(ctx context.Context, main func(context.Context) error, signals bool) error {
	if err := l.runnable(); err != nil {
		return err
	}
	k := Go(l.Context(ctx), "main", main)
	l.hurried = false
	interrupted := func() bool { return false }
	if signals {
		var stop func()
		interrupted, stop = l.watchInterrupt(&k.t)
		defer stop()
	}
	_, err := RunUntilComplete(l, k)
	// Two requests: somebody else had cancelled main too, and that counts more.
	if interrupted() && k.Cancelled() && k.Cancelling() <= 1 {
		return Fatal(ErrInterrupted)
	}
	return err
}
