package loopnode

import (
	"context"
	"errors"
	"os"
	"os/signal"
)

// Option changes how Run runs.
type Option func(*runOptions)

type runOptions struct {
	cfg       Config
	noSignals bool
}

// WithConfig gives Run's loop a configuration.
func WithConfig(cfg Config) Option { return func(o *runOptions) { o.cfg = cfg } }

// WithoutSignals leaves SIGINT alone.
func WithoutSignals() Option { return func(o *runOptions) { o.noSignals = true } }

// Run makes a loop, runs main as its first task and returns main's error. It
// waits for main; ctx cancels it. Then, in this order: the tasks left over are
// cancelled and awaited, the executor is shut down (5 minutes at most), the
// loop is closed. SIGINT cancels main, and Run returns a FatalError with
// ErrInterrupted; a second SIGINT ends the run at once. Call it from a goroutine
// that runs no loop. asyncio.run.
func Run(ctx context.Context, main func(ctx context.Context) error, opts ...Option) error {
	var o runOptions
	for _, opt := range opts {
		opt(&o)
	}
	if main == nil {
		return invalid("Run needs a main function, not nil")
	}
	if onLoop() {
		return ErrNestedLoop
	}
	l, err := New(o.cfg)
	if err != nil {
		return err
	}
	err = l.runMain(ctx, main, !o.noSignals)
	return errors.Join(err, l.teardown())
}

func (l *Loop) runMain(ctx context.Context, main func(context.Context) error, signals bool) error {
	k := CreateTask(l.Context(ctx), "main", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, main(ctx)
	})
	interrupted := func() bool { return false }
	if signals {
		var stop func()
		interrupted, stop = l.watchInterrupt(&k.t)
		defer stop()
	}
	_, err := RunUntilComplete(l, k)
	if interrupted() && k.Cancelled() && k.Cancelling() <= 1 {
		return Fatal(ErrInterrupted)
	}
	return err
}

// watchInterrupt cancels t at the first SIGINT and ends the run at the second.
func (l *Loop) watchInterrupt(t *task) (interrupted func() bool, stop func()) {
	sig, quit, over := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signal.Notify(sig, os.Interrupt)
	count := 0
	// goroutine: owner: Run; ends when main has ended (stop waits).
	go func() {
		defer close(over)
		for {
			select {
			case <-quit:
				return
			case <-sig:
			}
			if count++; count == 1 {
				_ = l.Post(func() { t.cancel("interrupted") })
				continue
			}
			_ = l.Post(func() { panic(Fatal(ErrInterrupted)) })
		}
	}()
	stop = func() {
		signal.Stop(sig)
		select {
		case <-quit:
		default:
			close(quit)
		}
		<-over
	}
	return func() bool { stop(); return count > 0 }, stop
}

// teardown ends what main left over and closes the loop.
func (l *Loop) teardown() error {
	left := AllTasks(l)
	for _, t := range left {
		t.Cancel()
	}
	if len(left) > 0 {
		if err := l.runUntil(l.allDone(left)); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	for _, t := range left {
		if f := t.t.fut; f.state == failed && !l.closed.Load() {
			f.see()
			l.CallExceptionHandler(ExceptionContext{
				Message: "unhandled exception during Run shutdown", Exception: f.err, Task: t.String(),
			})
		}
	}
	k := CreateTask(l.ctx, "shutdown", func(ctx context.Context) (struct{}, error) {
		limit, cancel := context.WithTimeout(ctx, runShutdownLimit)
		defer cancel()
		return struct{}{}, l.ShutdownDefaultExecutor(limit)
	})
	_, err := RunUntilComplete(l, k)
	return errors.Join(err, l.Close())
}

// allDone is done when all of tasks are.
func (l *Loop) allDone(tasks []TaskRef) *future {
	all := &NewFuture[struct{}](l).future
	left := len(tasks)
	for _, t := range tasks {
		t.t.fut.onDone(func() {
			if left--; left == 0 {
				all.settleOnce()
			}
		})
	}
	return all
}
