package actors

import "time"

// Loop is a loop that actors can live on. *loopnode.Loop is one.
type Loop interface {
	// Name is the loop's name, for logs.
	Name() string
	// ActorHost is how the loop runs its actors, always the same value.
	ActorHost() Host
}

// Host is what actors need of the loop they live on.
type Host interface {
	// Post schedules fn from any goroutine and wakes the loop. An error means
	// that the loop is closed and fn will not run.
	Post(fn func()) error
	// Soon schedules fn from the loop's own goroutine, behind everything
	// scheduled before, without allocating.
	Soon(fn func())
	// After runs fn on the loop after d unless cancelled. Loop goroutine only.
	After(d time.Duration, fn func()) (cancel func())
}

// Closer is a Loop that tells when it closes. Its actors then end by themselves;
// of any other loop, System.LoopClosed must be told. *loopnode.Loop is one.
type Closer interface {
	// OnClose makes the close of the loop run fn, at once when it is closed
	// already; remove takes that back. Any goroutine.
	OnClose(fn func()) (remove func())
	// CloseReason is why the loop is closed, nil while it is open.
	CloseReason() error
}

// Clock is a Host with a clock of its own, which may be virtual. Restart budgets
// and back-offs are measured by it, so that they agree with the loop's timers. A
// loop without one is measured by the monotonic part of Options.Now.
// *loopnode.Loop has one.
type Clock interface {
	// Elapsed is the time since some fixed moment; it never goes back. Any
	// goroutine.
	Elapsed() time.Duration
}

// Located is a Host that knows whether it is called on its own goroutine. With
// it, System.Shutdown refuses to wait on a loop for that loop's own actors.
// *loopnode.Loop has one.
type Located interface {
	// OnThisGoroutine reports whether the calling goroutine runs the loop. Any
	// goroutine.
	OnThisGoroutine() bool
}
