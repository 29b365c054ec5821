package transportactors

import (
	"runtime"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// unclosed is what a transport leaves behind that was dropped together with its
// loop. It does not refer to the transport, so that the collector can tell when
// nobody does.
type unclosed struct {
	log    hclog.Logger
	socket *Socket
}

// watchDropped has the collector close the descriptor when the transport went
// with its loop and neither was closed. Why this late: Go runs nothing when a
// value is dropped. A loop that is held holds its transports.
func (e *endpoint) watchDropped() {
	e.dropped = runtime.AddCleanup(e, (*unclosed).report, &unclosed{e.loop.Logger(), e.socket})
}

// report runs on the runtime's cleanup goroutine.
func (u *unclosed) report() {
	u.log.Warn("unclosed transport: it was dropped with its loop",
		"fd", u.socket.fd, "local", sock.LocalAddr(u.socket.fd), "peer", sock.PeerAddr(u.socket.fd))
	u.socket.letGo()
}

// reportUnclosed is the same for a transport whose loop closes before it.
func (e *endpoint) reportUnclosed() {
	if e.closing {
		return
	}
	level := hclog.Debug
	if e.loop.Debug() {
		level = hclog.Warn
	}
	e.loop.Logger().Log(level, "unclosed transport: its loop closes before it", "transport", e.self.String())
}
