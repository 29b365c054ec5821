package main

import (
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// ending is the last protocol of a connection: the last bytes are written, what still comes
// is thrown away.
//
// Why not Close at once: the kernel resets a connection that is closed while input waits,
// and the peer may then lose what was sent to it last, the reason of all things. So the
// peer is told that nothing more comes, and closes; a peer that does not is cut off.
type ending struct {
	g     *gateway
	t     transportactors.Transport
	limit *loopnode.TimerHandle
}

// end writes the last bytes of a connection and takes it over from its protocol.
func (g *gateway) end(t transportactors.Transport, last []byte) {
	e := &ending{g: g, t: t}
	t.SetProtocol(e)
	_ = t.Write(last)
	if t.CanWriteEOF() {
		_ = t.WriteEOF()
	}
	_ = t.ResumeReading() // it may have been paused, and the end of the input is waited for
	e.limit = t.Loop().CallLater(g.limits.farewell, t.Abort)
}

func (e *ending) DataReceived([]byte) {}

// GoingAway has a drain wait for it; it is ending already.
func (e *ending) GoingAway(time.Time) {}

// ConnectionLost counts the connection out.
func (e *ending) ConnectionLost(error) {
	e.limit.Cancel()
	e.g.conns--
}
