package loopnode

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
)

// The errors of this package, to be tested with errors.Is. What a function
// returns wraps one of them with the particulars. What means the same has the same
// value in package actors.
var (
	// ErrCancelled: the future or task was cancelled. asyncio.CancelledError.
	ErrCancelled = errors.New("cancelled")
	// ErrTimeout: the time allowed for it is over. TimeoutError. It is also
	// context.DeadlineExceeded for errors.Is.
	ErrTimeout error = timeoutError{}
	// ErrInvalidState: the future is not in the state this needs. asyncio.InvalidStateError.
	ErrInvalidState = errors.New("invalid state")
	// ErrLoopClosed: the loop was closed. RuntimeError("Event loop is closed").
	ErrLoopClosed = errors.New("event loop is closed")
	// ErrLoopRunning: the loop runs already, or must not run for this.
	ErrLoopRunning = errors.New("this event loop is already running")
	// ErrNestedLoop: another loop runs on this goroutine.
	ErrNestedLoop = errors.New("cannot run the event loop while another loop is running")
	// ErrLoopStopped: Stop ended the run before the result was there.
	ErrLoopStopped = errors.New("event loop stopped before the future completed")
	// ErrNoRunningLoop: ctx belongs to no loop. RuntimeError("no running event loop").
	ErrNoRunningLoop = errors.New("no running event loop")
	// ErrWouldBlock: a wait inside a callback, or with the ctx of another task,
	// would stop its own loop for ever.
	ErrWouldBlock = actors.ErrWouldBlock
	// ErrWrongGoroutine: only the loop's own goroutine may do this.
	ErrWrongGoroutine = errors.New("non-thread-safe operation on another goroutine than the loop's")
	// ErrWrongLoop: the future belongs to a different loop.
	ErrWrongLoop = errors.New("future belongs to a different loop")
	// ErrNotLocal: the loop or transport is on another node, or was never here. A
	// closure cannot travel there; a named function can.
	ErrNotLocal = errors.New("it is not in this process")
	// ErrInvalidArgument: the value given cannot be used. TypeError, ValueError.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrGoexit: the task ended its goroutine with runtime.Goexit (t.FailNow does).
	ErrGoexit = actors.ErrGoexit
	// ErrStuck: a callback has not returned for longer than Config.Stuck.
	ErrStuck = errors.New("callback has not returned")
	// ErrBusy: somebody else is doing this already.
	ErrBusy = errors.New("resource is busy")
)

// CancelledError is ErrCancelled with the message given to Cancel.
type CancelledError struct{ Msg string }

func (e *CancelledError) Error() string {
	if e.Msg == "" {
		return "cancelled"
	}
	return "cancelled: " + e.Msg
}

// Is makes it ErrCancelled, and context.Canceled for code that knows only that.
func (e *CancelledError) Is(target error) bool {
	return target == ErrCancelled || target == context.Canceled
}

type timeoutError struct{}

func (timeoutError) Error() string        { return "timed out" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// FatalError ends the run of the loop at once instead of being reported to the
// exception handler. asyncio: KeyboardInterrupt and SystemExit.
type FatalError struct{ Err error }

// Fatal makes err leave the loop's run when a callback panics with it, or a
// task returns it or panics with it. The loop stays usable.
func Fatal(err error) error { return &FatalError{Err: err} }

func (e *FatalError) Error() string { return fmt.Sprintf("fatal: %v", e.Err) }

// Unwrap returns the error given to Fatal.
func (e *FatalError) Unwrap() error { return e.Err }

// ErrInterrupted is what Run returns, inside a FatalError, after SIGINT.
var ErrInterrupted = errors.New("interrupted")

func asFatal(err error) *FatalError {
	if err == nil {
		return nil // without the allocation below
	}
	var f *FatalError
	if errors.As(err, &f) {
		return f
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalidArgument}, args...)...)
}
