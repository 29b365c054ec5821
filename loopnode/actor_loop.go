package loopnode

import "time"

// OnThisGoroutine reports whether the calling goroutine runs the loop. It costs
// about a microsecond. Any goroutine. The actor system asks.
func (l *Loop) OnThisGoroutine() bool { return l.running.Load() && l.here() }

// Elapsed is the loop's clock for the actors that live on the loop. Any goroutine.
func (l *Loop) Elapsed() time.Duration { return time.Duration(l.Time()) }
