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
	// Post is Ref.CallSoonThreadsafe. Any goroutine.
	Post(fn func()) error
	// Soon is Loop.CallSoon without the handle.
	Soon(fn func())
	// After is Loop.CallLater; cancel takes the timer back.
	After(d time.Duration, fn func()) (cancel func())

	// Attach keeps value with the loop under key, in place of what was there; nil
	// takes it away. key is of a type of the caller's own. Close drops nothing.
	Attach(key, value any)
	// Attached is what Attach keeps under key, nil for nothing.
	Attached(key any) any
	// Detach is the values of ctx on this loop, without the task of ctx and
	// without its end: for what outlives its maker. Any goroutine.
	Detach(ctx context.Context) context.Context

	// ReadBuffer is the buffer that all transports of the loop read into: what a
	// callback reads is valid until that callback returns.
	ReadBuffer() []byte
	// Watch registers fd and watches for nothing yet; Watch.Set says for what. The
	// callbacks run as separate entries of the ready queue, the reader's first.
	// AddReader and AddWriter refuse the descriptor until Watch.Close. Neither
	// callback may be nil.
	Watch(fd int, onReadable, onWritable func()) (Watch, error)
	// Watched returns ErrBusy when Watch registered fd, nil otherwise.
	Watched(fd int) error
	// CheckGoroutine refuses, in debug mode, a call that belongs to the loop's
	// goroutine and comes from another one: ErrWrongGoroutine, also logged; what
	// names the call. Any goroutine.
	CheckGoroutine(what string) error

	// Start begins w as a task named name, as CreateTask does, with ctx's values; its
	// first step comes in the next turn, behind what was posted before. An error: it
	// does not begin, and w.Ended is not called.
	Start(ctx context.Context, name string, w Work) (Task, error)

	// ReservedExecutor is the pool, a loopnode.Executor, for one kind of blocking
	// work of this module: users' functions that all wait do not keep it from going
	// on. Nil when the default executor is the user's own: then that one is used.
	ReservedExecutor(kind string) any
	// Resolver is Config.Resolver, a loopnode.Resolver. Any goroutine.
	Resolver() any
	// TeardownAndClose cancels and awaits the tasks that are left, closes
	// generators, shuts the executor down and closes the loop. Called by the
	// goroutine that ran the loop, after the run.
	TeardownAndClose() error
	// Supervise names who is told of failures; called before the first run.
	Supervise(s Supervisor)

	// Load is what the loop has to do now.
	Load() Load
	// TaskInfos are the oldest tasks that have not ended, at most most of them, but the
	// one that asks. Stacks have up to frames calls; 0: none, and then Waits is not known
	// either. It wakes each task for a moment that waits; the cost is a few microseconds
	// for each.
	TaskInfos(most, frames int) []TaskInfo
	// CancelTask asks the task with that id to end and returns its name; false: there is
	// none.
	CancelTask(id uint64, message string) (name string, ok bool)
	// Measure sets m, in place of the one that is set.
	Measure(m *Meter)
	// Beat is a number that changes with each batch and each 64 callbacks of a long one,
	// and whether callbacks run now. It stands still without a watchdog. Any goroutine.
	Beat() (n uint64, busy bool)
	// StuckAt is where the callback is that runs now, and its stack. It stops all
	// goroutines for a moment. Any goroutine.
	StuckAt() (frame, stack string)
}

// Work is a task without a result whose body and end are methods of one value, for
// tasks of which there are very many. Loop goroutine.
type Work interface {
	// Run is the body.
	Run(ctx context.Context) error
	// Ended tells how the task has ended: what Run returned, a panic, or the
	// cancellation. It is called inside the turn in which the task ends. It is not
	// called when the loop ends first, or by this task.
	Ended(err error)
	// Func is the function that descriptions of the task name.
	Func() any
}

// Watch is one watched descriptor. Loop goroutine.
type Watch interface {
	// Set says what to watch for. What is queued for a condition that is no longer
	// watched does not run.
	Set(read, write bool) error
	// Close ends the registration: no callback of it runs any more, and the
	// descriptor may be closed and its number used again at once.
	Close()
}

// Supervisor is told what fails on the loop that it supervises.
type Supervisor interface {
	// CallbackFailed counts a failed callback. An error ends the run of the loop
	// with a FatalError. Loop goroutine.
	CallbackFailed(err error) error
	// Stuck reports a callback that has not returned, a *loopnode.StuckError. It is
	// called again each time the duration has doubled; still tells whether the
	// callback has not returned by then. Watchdog's goroutine.
	Stuck(err error, still func() bool)
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
	// Cancel asks the task to end, see loopnode.Task.Cancel.
	Cancel(why string)
	// ShowAs makes fn, a function, the one that descriptions of the task name: the
	// task's own is a closure of this module around the user's.
	ShowAs(fn any)
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

// ShowTaskAs is ShowAs for the task that ctx belongs to, if it belongs to one: that
// of a task refused at birth does not.
func ShowTaskAs(ctx context.Context, fn any) {
	if t := TaskOf(ctx); t != nil {
		t.ShowAs(fn)
	}
}
