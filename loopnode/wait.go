package loopnode

import (
	"context"
	"iter"
	"math"
	"time"
)

// Forever is the time limit that does not come.
const Forever time.Duration = math.MaxInt64

// ReturnWhen says what Wait waits for.
type ReturnWhen uint8

// What Wait can wait for. A cancelled future is no exception.
const (
	AllCompleted ReturnWhen = iota
	FirstCompleted
	FirstException
)

// WaitOption changes how Wait and AsCompleted wait.
type WaitOption func(*waitOptions)

type waitOptions struct {
	when  ReturnWhen
	limit time.Duration
}

// WaitUntil says what Wait waits for; default AllCompleted.
func WaitUntil(w ReturnWhen) WaitOption { return func(o *waitOptions) { o.when = w } }

// WaitAtMost limits the wait; what is not done then stays pending. Default Forever.
func WaitAtMost(d time.Duration) WaitOption { return func(o *waitOptions) { o.limit = d } }

func waitOptionsOf(opts []WaitOption) waitOptions {
	o := waitOptions{limit: Forever}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// Wait waits until all of ws are done, or as the options say, and returns which
// are done and which are pending, each once, in argument order. It never
// cancels them, nor is their failure or a time limit an error. Errors:
// ErrInvalidArgument (none given, unknown ReturnWhen), ErrWrongLoop, and those
// of Await, such as the task's own cancellation. Task of the futures' loop.
// asyncio.wait.
func Wait(ctx context.Context, ws []Waiter, opts ...WaitOption) (done, pending []Waiter, err error) {
	o := waitOptionsOf(opts)
	fs, err := futuresOf(ws)
	switch {
	case err != nil:
		return nil, nil, err
	case len(fs) == 0:
		return nil, nil, invalid("Wait: nothing to wait for")
	case o.when > FirstException:
		return nil, nil, invalid("Wait: unknown ReturnWhen %d", o.when)
	}
	l, err := commonLoop(ctx, fs)
	if err != nil {
		return nil, nil, err
	}
	if err := waitFor(ctx, l, fs, o); err != nil {
		return nil, nil, err
	}
	seen := make(map[*future]struct{}, len(fs))
	for _, w := range ws {
		if _, again := seen[w.untyped()]; again {
			continue
		}
		seen[w.untyped()] = struct{}{}
		if w.Done() {
			done = append(done, w)
		} else {
			pending = append(pending, w)
		}
	}
	return done, pending, nil
}

func waitFor(ctx context.Context, l *Loop, fs []*future, o waitOptions) error {
	waiter := NewFuture[struct{}](l)
	if o.limit != Forever {
		defer l.CallLater(o.limit, waiter.settleOnce).Cancel()
	}
	left := len(fs)
	ids := make([]CallbackID, len(fs))
	for i, f := range fs {
		ids[i] = f.onDoneFor(&waiter.future, func() {
			left--
			if left == 0 || o.when == FirstCompleted || o.when == FirstException && f.state == failed {
				waiter.settleOnce()
			}
		})
	}
	_, err := waiter.Await(ctx)
	for i, f := range fs {
		f.forget(ids[i])
	}
	return err
}

// AsCompleted gives the awaitables as they end, each once; their Result does
// not wait any more. A loop over it waits, so it belongs in a task; it may be
// left and taken up again. After the time limit of WaitAtMost every outstanding
// awaitable comes with ErrTimeout. When the wait itself ends, by cancellation
// for example, a nil awaitable comes with that error and the loop ends.
// asyncio.as_completed.
func AsCompleted[T any](ctx context.Context, aws []Awaitable[T], opts ...WaitOption) iter.Seq2[Awaitable[T], error] {
	fs, err := futuresOf(aws)
	var l *Loop
	if err == nil {
		l, err = commonLoop(ctx, fs)
	}
	if err != nil {
		return func(yield func(Awaitable[T], error) bool) { yield(nil, err) }
	}
	byFuture := make(map[*future]Awaitable[T], len(fs))
	for _, aw := range aws {
		byFuture[aw.untyped()] = aw
	}
	c := &completions{loop: l, todo: fs}
	c.start(waitOptionsOf(opts).limit)
	return func(yield func(Awaitable[T], error) bool) {
		for {
			f, err := c.next(ctx)
			if f == nil && err == nil {
				return
			}
			if !yield(byFuture[f], err) || f == nil {
				return
			}
		}
	}
}

// completions are the futures of one AsCompleted, in two queues: todo holds those
// that have not ended, in argument order, queue those that have ended and were not
// handed out. Owned by the loop goroutine.
type completions struct {
	loop    *Loop
	todo    []*future       // nil where one has ended
	place   map[*future]int // of each future in todo
	left    int             // Invariant: the number of futures in todo that are not nil.
	queue   []*future
	expired bool
	wake    *Future[struct{}] // what next waits for
	timer   *TimerHandle
}

func (c *completions) start(limit time.Duration) {
	c.left, c.place = len(c.todo), make(map[*future]int, len(c.todo))
	for i, f := range c.todo {
		c.place[f] = i
		f.onDone(func() { c.ended(f) })
	}
	if len(c.todo) > 0 && limit != Forever {
		c.timer = c.loop.CallLater(limit, func() { c.expired = true; c.signal() })
	}
}

// ended moves f from todo to queue.
func (c *completions) ended(f *future) {
	if c.expired {
		return
	}
	c.todo[c.place[f]] = nil
	c.left--
	c.queue = append(c.queue, f)
	if c.left == 0 && c.timer != nil {
		c.timer.Cancel()
	}
	c.signal()
}

func (c *completions) signal() {
	if c.wake != nil {
		c.wake.settleOnce()
	}
}

// next is the next future that ended; nil, nil at the end.
func (c *completions) next(ctx context.Context) (*future, error) {
	for {
		switch {
		case len(c.queue) > 0:
			f := c.queue[0]
			c.queue = c.queue[1:]
			return f, nil
		case c.left == 0:
			return nil, nil
		case c.expired:
			return c.outstanding(), ErrTimeout
		}
		c.wake = NewFuture[struct{}](c.loop)
		if _, err := c.wake.Await(ctx); err != nil {
			return nil, err
		}
	}
}

// outstanding takes the first future out of todo that has not ended in time.
func (c *completions) outstanding() *future {
	f := c.todo[0]
	for c.todo = c.todo[1:]; f == nil; c.todo = c.todo[1:] {
		f = c.todo[0]
	}
	c.left--
	return f
}
