package loopnode

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// TimeoutScope is a time limit that a task is under. Owned by the loop
// goroutine. asyncio.Timeout.
type TimeoutScope struct {
	task       *task
	ctx        scopeContext
	began      Instant
	when       Instant
	cancelling int // the task's open requests on entry
	state      scopeState
	cancel     func() // takes the timer back
}

type scopeState uint8

const (
	scopeEntered scopeState = iota
	scopeExpiring
	scopeExpired
	scopeExited
)

type timeoutKey struct{}

// Timeout runs body in the current task and cancels the task, once, when body
// takes longer than d; the cancellation comes out as ErrTimeout unless somebody
// else asked the task to cancel too. d of 0 or less expires in the next turn,
// Forever never. body gets a ctx with the deadline; CurrentTimeout(ctx) gives the
// scope, to read or move that deadline. It waits as body does. Errors besides
// body's: ErrInvalidState when ctx is not that of the task that runs now.
// asyncio.timeout.
func Timeout(ctx context.Context, d time.Duration, body func(context.Context) error) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	now := t.loop.Time()
	return t.timeout(ctx, now, now.Add(d), body)
}

// TimeoutAt is Timeout with a point of the loop's clock; Never sets no limit.
// asyncio.timeout_at.
func TimeoutAt(ctx context.Context, when Instant, body func(context.Context) error) error {
	t, err := currentTask(ctx)
	if err != nil {
		return err
	}
	return t.timeout(ctx, t.loop.Time(), when, body)
}

// CurrentTimeout is the innermost time limit that ctx's task is under, nil when
// it is under none.
func CurrentTimeout(ctx context.Context) *TimeoutScope {
	s, _ := ctx.Value(timeoutKey{}).(*TimeoutScope)
	if s == nil || s.task != taskOf(ctx) {
		return nil // the limit of the task that created this one
	}
	return s
}

// When is the deadline, Never when there is none. asyncio: when.
func (s *TimeoutScope) When() Instant { return s.when }

// Expired reports whether the deadline came while the scope was active.
// asyncio: expired.
func (s *TimeoutScope) Expired() bool { return s.state == scopeExpiring || s.state == scopeExpired }

// Reschedule moves the deadline; one in the past expires in the next turn,
// Never takes the limit away. ErrInvalidState once the scope has expired or was
// left. Loop goroutine. asyncio: reschedule.
func (s *TimeoutScope) Reschedule(when Instant) error {
	if err := s.task.loop.checkGoroutine("TimeoutScope.Reschedule"); err != nil {
		return err
	}
	if s.state != scopeEntered {
		return fmt.Errorf("%w: the time limit has expired or was left", ErrInvalidState)
	}
	s.arm(when)
	return nil
}

func (s *TimeoutScope) arm(when Instant) {
	s.disarm()
	s.when = when
	l := s.task.loop
	if when == Never {
		s.ctx.deadline.Store(nil)
		return
	}
	now := l.Time()
	at := time.Now().Add(when.Sub(now))
	s.ctx.deadline.Store(&at)
	if when <= now {
		s.cancel = l.CallSoon(s.expire).Cancel
	} else {
		s.cancel = l.CallAt(when, s.expire).Cancel
	}
}

func (s *TimeoutScope) disarm() {
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
}

func (s *TimeoutScope) expire() {
	s.task.cancel()
	s.state, s.cancel = scopeExpiring, nil
}

func (t *task) timeout(ctx context.Context, now, when Instant, body func(context.Context) error) (err error) {
	if body == nil {
		return invalid("Timeout needs a function, not nil")
	}
	s := &TimeoutScope{task: t, cancelling: t.cancelling, began: now}
	s.ctx.Context, s.ctx.key, s.ctx.val = ctx, timeoutKey{}, s
	s.arm(when)
	defer func() { err = s.leave(err) }() // also when body panics
	return body(&s.ctx)
}

// leave ends the scope and decides what err becomes.
func (s *TimeoutScope) leave(err error) error {
	s.disarm()
	if s.state != scopeExpiring {
		s.state = scopeExited
		return err
	}
	s.state = scopeExpired
	ours := s.task.endsCancelled(err)
	if s.task.uncancel() <= s.cancelling && ours && asFatal(err) == nil {
		return s.timedOut(err)
	}
	return err
}

// timedOut says how long the limit was, and what the body made of its cancellation when
// that is more than the cancellation alone, which must not show through errors.Is.
func (s *TimeoutScope) timedOut(err error) error {
	limit := max(0, s.when.Sub(s.began).Round(time.Microsecond))
	if text := err.Error(); text != ErrCancelled.Error() {
		return fmt.Errorf("%w after %v: %s", ErrTimeout, limit, text)
	}
	return fmt.Errorf("%w after %v", ErrTimeout, limit)
}

// currentTask is the task of ctx, which must be the one that runs now. Why two
// errors in one for a callback that uses a task's ctx: ErrInvalidState is what the
// callers document for "not in a task", ErrWouldBlock says what is wrong with the
// ctx.
func currentTask(ctx context.Context) (*task, error) {
	t := taskOf(ctx)
	if t == nil {
		return nil, fmt.Errorf("%w: this must be called in a task", ErrInvalidState)
	}
	err := t.owned()
	if errors.Is(err, ErrWouldBlock) {
		return nil, fmt.Errorf("%w: this must be called in the task of its ctx: %w", ErrInvalidState, err)
	}
	return t, err
}

// WaitFor is fn under a time limit: fn runs in the current task, which costs no
// turn. With d of 0 or less fn does not start and WaitFor returns ErrTimeout at
// once. The limit ends the wait that fn is in, also when what fn waits for ends in
// the same turn; what fn then returns is the outcome. Errors: fn's, ErrTimeout,
// and those of Timeout. asyncio.wait_for of a coroutine.
func WaitFor[T any](ctx context.Context, fn func(context.Context) (T, error), d time.Duration) (v T, err error) {
	switch {
	case fn == nil:
		return v, invalid("WaitFor needs a function, not nil")
	case d <= 0:
		return v, ErrTimeout
	}
	err = Timeout(ctx, d, func(ctx context.Context) (err error) {
		v, err = fn(ctx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// WaitForFuture waits for aw for d at most, then cancels it, waits until it
// has ended and returns ErrTimeout. An outcome other than that cancellation is
// returned instead: a result, a failure, or a cancellation by somebody else, also
// when it came in the same turn as the limit. With d of 0 or less a future that
// is done gives its outcome, one that is not done is cancelled at once.
// Cancelling the waiting task cancels aw. asyncio.wait_for of a future, except
// that CPython from 3.12 on returns TimeoutError when result and limit come in
// one turn.
func WaitForFuture[T any](ctx context.Context, aw Awaitable[T], d time.Duration) (T, error) {
	var zero T
	if absent(aw) {
		return zero, invalid("WaitForFuture needs a future, not nil")
	}
	f := aw.typed()
	if d <= 0 {
		return cancelAndWait(ctx, f)
	}
	err := Timeout(ctx, d, func(ctx context.Context) error {
		_, err := f.Await(ctx)
		return err
	})
	switch {
	case err == nil, errors.Is(err, ErrTimeout) && f.endedItself():
		return f.Result()
	default:
		return zero, err
	}
}

// endedItself reports whether f has an outcome that is not a cancellation.
func (f *future) endedItself() bool { return f.state == finished || f.state == failed }

func cancelAndWait[T any](ctx context.Context, f *Future[T]) (T, error) {
	var zero T
	if f.Done() {
		return f.Result() // also a cancellation that came before
	}
	if _, err := currentTask(ctx); err != nil {
		return zero, err
	}
	f.Cancel()
	if _, _, err := Wait(ctx, []Waiter{f}); err != nil {
		return zero, err
	}
	if f.state == cancelled {
		return zero, fmt.Errorf("%w: %v", ErrTimeout, f.err)
	}
	return f.Result()
}
