package engine

import (
	"context"
	"time"
)

// A client whose server has lost most of the other voters is connected and cut off at
// once: NATS sees a connection that works, so it would stay there for as long as the
// partition lasts, although it may reach a voter of the larger side. So it moves when
// another server can be reached. When none can, it stays: it says that it is cut off
// (Events.Votes), and those of its side can still be told the same.

const (
	minorityWait  = 2 * time.Second // a voter that starts, or whose peer does, is alone for a moment
	minorityTimes = 5               // the wait is doubled that often, for a client whose servers all are alone
)

// minority is how long the server in use has been on the smaller side, and how often
// this client has moved meanwhile.
type minority struct {
	since time.Time // zero: it is not
	moves int
}

// note takes what the server in use says.
func (m *minority) note(majority bool, now time.Time) {
	switch {
	case majority:
		*m = minority{}
	case m.since.IsZero():
		m.since = now
	}
}

// due reports whether it is time to move.
func (m *minority) due(now time.Time) bool {
	return !m.since.IsZero() && now.Sub(m.since) >= minorityWait<<min(m.moves, minorityTimes)
}

// leaveMinority moves the node to another server when its own has been on the smaller
// side for long and another one can be reached. What waits for an answer ends, as with
// every loss of a connection. The goroutine of run.
//
// Why it looks before it moves: nats.go closes the old connection first, and a client
// that can reach nobody else would lose the only server that it has. Why all three
// connections move: each has a pool of servers of its own, and those left behind would
// reach nobody.
func (e *Engine) leaveMinority(now time.Time) {
	e.mu.Lock()
	due := e.minority.due(now)
	e.mu.Unlock()
	if !due || !e.reachesAnother() {
		return
	}
	e.mu.Lock()
	e.minority.since = time.Now()
	e.minority.moves++
	e.mu.Unlock()
	e.log.Warn("the NATS server has lost most of the other voters; moving to another one", "from", e.control.Server())
	for _, l := range []*Link{e.control, e.bulk, e.notices} {
		if err := l.current().nats.ForceReconnect(); err != nil {
			e.log.Debug("moving a connection failed", "connection", l.kind, "error", err)
		}
	}
}

// reachesAnother reports whether a server that is not the one in use can be reached. It
// does not ask on which side that one is: its report says so a second after the move, and
// when it is alone as well, the next move waits twice as long.
func (e *Engine) reachesAnother() bool {
	nc := e.control.current().nats
	ctx, cancel := context.WithTimeout(e.live, probeWait)
	defer cancel()
	found := false
	for _, other := range e.connectEach(ctx, nc.Servers()) {
		if other == nil {
			continue
		}
		// A connection that is being made anew is at no server: every one would be another one.
		now := nc.ConnectedServerId()
		found = found || now != "" && other.ConnectedServerId() != now
		other.Close()
	}
	return found
}
