// Package loopaccess is what the packages of this module may do with a loop and
// a task beyond their public methods: transports watch descriptors and share the
// read buffer, the actor system posts to the loop's queue, a supervisor follows
// its failures.
//
// Why a package of its own: these calls are safe only for callers that know the
// loop's rules, so a program that imports loopnode must not find them. loopnode
// implements the interfaces; only this package can make a Key, and only a Key
// opens Loop.Internal.
package loopaccess

import (
	"context"
	"time"
)

// Key is the argument of Loop.Internal. Code outside of this module cannot make
// one.
type Key struct{ internal bool }

// Opener is *loopnode.Loop.
type Opener interface{ Internal(Key) Loop }

// Of is the internal methods of a loop. It allocates nothing.
func Of(l Opener) Loop { return l.Internal(Key{internal: true}) }

// Loop is the internal methods of a *loopnode.Loop. The loop's goroutine calls
// them, unless a comment says that any goroutine may.
type Loop interface {
	// Resolver is Config.Resolver, a loopnode.Resolver. Any goroutine.
	Resolver() any
	// TeardownAndClose cancels and awaits the tasks that are left, closes
	// generators, shuts the executor down and closes the loop. Called by the
	// goroutine that ran the loop, after the run.
	TeardownAndClose() error
	// Supervise names who is told of failures; called before the first run.
	Supervise(s Supervisor)
}

// Supervisor is told what fails on the loop that it supervises.
type Supervisor interface {
	// CallbackFailed counts a failed callback. An error ends the run of the loop
	// with a FatalError. Loop goroutine.
	CallbackFailed(err error) error
	// Stuck reports a callback that has not returned, a *loopnode.StuckError. It is
	// called again each time the duration has doubled. Watchdog's goroutine.
	Stuck(err error)
	// Moves reports that the stuck callback has returned. Watchdog's goroutine.
	Moves()
}

type (
	// LoopKey is the key under which a context carries its *loopnode.Loop.
	LoopKey struct{}
	// TaskKey is the key under which a context carries its Task.
	TaskKey struct{}
)

// Task is the task that a context belongs to, whatever its result type. The
// loop's goroutine calls its methods, unless a comment says otherwise.
type Task interface {
	// Loop is the task's loop, a *loopnode.Loop. Any goroutine.
	Loop() any
	// Owned is nil when the calling goroutine runs the task now, so that the task
	// may wait here. Any goroutine. Errors: ErrWrongGoroutine, ErrWouldBlock,
	// ErrLoopClosed.
	Owned() error
	// Context is the ctx that the task's function got.
	Context() context.Context
	// EndsCancelled reports whether err, returned by the task's function, makes
	// the task cancelled instead of failed.
	EndsCancelled(err error) bool
	// SlowLookup is how long a name look-up may take before it is logged as slow,
	// and whether look-ups are timed at all (debug mode). Any goroutine.
	SlowLookup() (limit time.Duration, timed bool)
}

// TaskOf is the task that ctx belongs to, nil when it belongs to none. Any
// goroutine.
func TaskOf(ctx context.Context) Task {
	if ctx == nil {
		return nil
	}
	t, _ := ctx.Value(TaskKey{}).(Task)
	return t
}
