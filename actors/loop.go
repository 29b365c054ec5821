package actors

import "time"

// Loop is what an actor needs of the loop it lives on. *loopnode.Loop is one.
type Loop interface {
	// Name is the loop's name, for logs.
	Name() string
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
