package loopnode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
)

// ErrShutdown: the executor takes no more functions.
// RuntimeError("Executor shutdown has been called").
var ErrShutdown = actors.ErrShutdown

// Executor runs functions that block, away from the loop.
// asyncio: concurrent.futures.Executor.
type Executor interface {
	// Submit queues fn and does not wait for it. ErrShutdown after Shutdown.
	Submit(fn func()) error
	// Shutdown refuses new functions and waits for those it has, or for ctx.
	Shutdown(ctx context.Context) error
}

// Pool is an Executor with a bounded number of goroutines, started when needed
// and ended by Shutdown. Any goroutine. asyncio: ThreadPoolExecutor. NewPool makes
// one; the zero value is of no use.
type Pool struct {
	max int

	mu      sync.Mutex
	work    sync.Cond
	queue   []func()
	workers int
	idle    int
	shut    bool
	empty   chan struct{} // closed when shut and no worker is left
}

// NewPool makes a pool of at most n goroutines; 0 is min(32, CPUs+4).
func NewPool(n int) *Pool {
	if n <= 0 {
		n = min(32, runtime.NumCPU()+4)
	}
	p := &Pool{max: n, empty: make(chan struct{})}
	p.work.L = &p.mu
	return p
}

// Submit queues fn. Errors: ErrShutdown, ErrInvalidArgument (nil).
func (p *Pool) Submit(fn func()) error {
	if fn == nil { // Why: a worker takes it for the end of its work
		return invalid("Submit needs a function, not nil")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return fmt.Errorf("%w: the pool", ErrShutdown)
	}
	p.queue = append(p.queue, fn)
	// Why the length: who was told of an earlier function is idle until it wakes.
	if len(p.queue) <= p.idle || p.workers == p.max {
		p.work.Signal()
	} else {
		p.workers++
		// goroutine: owner: the pool; ends at Shutdown once the queue is empty.
		go p.serve()
	}
	return nil
}

func (p *Pool) serve() {
	ended := false
	defer func() {
		if !ended { // the function called runtime.Goexit: replace the goroutine
			// goroutine: owner: the pool; ends at Shutdown once the queue is empty.
			go p.serve()
		}
	}()
	for fn := p.next(); fn != nil; fn = p.next() {
		fn()
	}
	ended = true
}

// next waits for a function; nil ends the worker.
func (p *Pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.shut {
			if p.workers--; p.workers == 0 {
				close(p.empty)
			}
			return nil
		}
		p.idle++
		p.work.Wait()
		p.idle--
	}
	fn := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return fn
}

// Shutdown ends the pool. Calling it twice is fine; both wait.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.stop()
	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the executor still runs functions", contextError(ctx))
	}
}

func (p *Pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return
	}
	p.shut = true
	if p.workers == 0 {
		close(p.empty)
	}
	p.work.Broadcast()
}

// executors is the loop's default executor. Owned by the loop goroutine.
type executors struct {
	max  int
	def  Executor
	own  *Pool // def when the loop made it: nobody else could end it
	shut bool
	// reserved is a pool for each kind of the library's own blocking work, by the
	// name of the kind. Why: users' functions that all wait, possibly for each other,
	// must not keep names from being looked up or children from being started.
	reserved map[string]*Pool
}

// reservedWorkers is how many goroutines each kind of the library's own blocking
// work has.
const reservedWorkers = 8

// reserve is the pool for one kind of the library's own blocking work; nil, the
// default executor, when that is the user's own choice or is shut down.
func (e *executors) reserve(kind string) Executor {
	if e.shut || e.def != nil && e.own == nil {
		return nil
	}
	if e.reserved == nil {
		e.reserved = map[string]*Pool{}
	}
	if e.reserved[kind] == nil {
		e.reserved[kind] = NewPool(reservedWorkers)
	}
	return e.reserved[kind]
}

// everything is the default executor, if there is one, and the reserved pools.
func (e *executors) everything() (all []Executor) {
	if e.def != nil {
		all = append(all, e.def)
	}
	for _, p := range e.reserved {
		all = append(all, p)
	}
	return all
}

func (e *executors) init(cfg Config) { e.max, e.def = cfg.MaxWorkers, cfg.Executor }

// SetDefaultExecutor replaces the executor used for a nil one. Loop goroutine.
// asyncio: loop.set_default_executor.
func (l *Loop) SetDefaultExecutor(ex Executor) error {
	if ex == nil {
		return invalid("the default executor cannot be nil")
	}
	if err := l.checkGoroutine("Loop.SetDefaultExecutor"); err != nil {
		return err
	}
	if own := l.pools.own; own != nil {
		l.pools.own = nil
		own.stop() // what it was given still runs
	}
	l.pools.def = ex
	return nil
}

// abandon tells the pool to end without waiting.
func (e *executors) abandon() {
	if p, ok := e.def.(*Pool); ok {
		p.stop()
	}
	for _, p := range e.reserved {
		p.stop()
	}
}

// ShutdownDefaultExecutor waits, without blocking the loop, until the default
// executor has run what it has; afterwards it is refused with ErrShutdown. When
// ctx ends first it logs a warning and returns nil: the functions run on, alone.
// asyncio: loop.shutdown_default_executor.
func (l *Loop) ShutdownDefaultExecutor(ctx context.Context) error {
	l.pools.shut = true
	all := l.pools.everything()
	if len(all) == 0 {
		return nil
	}
	f := NewFuture[struct{}](l)
	// goroutine: owner: the executor; ends when that is empty. Why not with ctx:
	// a time limit here must not become the failure of a future nobody awaits.
	go func() {
		var err error
		for _, ex := range all {
			err = errors.Join(err, ex.Shutdown(context.WithoutCancel(ctx)))
		}
		_ = l.post(func() {
			if err != nil && !f.Done() {
				_ = f.SetException(err)
			}
			f.settleOnce()
		})
	}()
	_, err := f.Await(ctx)
	if errors.Is(err, ErrTimeout) {
		l.log.Warn("the executor did not finish in time; its functions run on", "loop", l.name)
		return nil
	}
	return err
}

const runShutdownLimit = 5 * time.Minute

// RunInExecutor runs fn on ex (nil: the loop's default pool) and returns the
// future of its result. Cancelling the future before fn starts prevents it;
// later only the future is cancelled. A panic or runtime.Goexit in fn fails the
// future. The future fails with ErrShutdown when the executor refuses fn, and is
// born failed, which is logged too, without a loop in ctx. Loop goroutine. asyncio: loop.run_in_executor.
func RunInExecutor[T any](ctx context.Context, ex Executor, fn func() (T, error)) *Future[T] {
	l := loopOf(ctx)
	err := startable(l, false)
	if fn == nil {
		err = invalid("RunInExecutor needs a function, not nil")
	}
	if err == nil {
		err = l.checkGoroutine("RunInExecutor")
	}
	if err != nil {
		warnRefused(l, "function refused: it will not run on the executor", "RunInExecutor", err)
		return refusedFuture[T](err)
	}
	f := NewFuture[T](l)
	if ex == nil {
		if l.pools.shut {
			f.fail(fmt.Errorf("%w: the default executor of loop %s", ErrShutdown, l.name))
			return f
		}
		if l.pools.def == nil {
			l.pools.own = NewPool(l.pools.max)
			l.pools.def = l.pools.own
		}
		ex = l.pools.def
	}
	j := &job[T]{fn: fn, f: f}
	// Why inside Cancel and not in a done callback: a worker that becomes free
	// before the next turn must not run the function any more.
	f.asked = func(msg ...string) bool {
		j.unwanted.Store(true)
		f.settle(cancelled, cancelError(msg))
		return true
	}
	if p := guard.Call(func() { err = ex.Submit(j.run) }); p != nil {
		err = p
	}
	if err != nil && f.state == pending { // a Submit that panics may have run it first
		f.fail(err)
	}
	return f
}

// job is one function on an executor.
type job[T any] struct {
	unwanted atomic.Bool // cancelled: a function that has not started need not
	fn       func() (T, error)
	f        *Future[T]
}

func (j *job[T]) run() {
	if j.unwanted.Load() {
		return
	}
	var v T
	err := ErrGoexit
	defer func() {
		_ = j.f.loop.post(func() { j.deliver(v, err) }) // a closed loop wants no result
	}()
	if p := guard.Call(func() { v, err = j.fn() }); p != nil {
		err = p
	}
}

func (j *job[T]) deliver(v T, err error) {
	s := finished
	if err != nil {
		s = failed
	}
	j.f.conclude(s, v, err)
}
