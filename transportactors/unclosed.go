package transportactors

import (
	"runtime"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
)

// unclosed is what the transports of a loop leave behind that were dropped together
// with it: their descriptors. It refers to none of them and not to the loop, so that the
// collector can tell when nobody does.
type unclosed struct {
	log   hclog.Logger
	open  map[int]struct{}
	pipes map[int]fdKind // those of open that are no sockets
}

// unclosedMark lives as long as the loop it is attached to.
type unclosedMark struct{ of *unclosed }

type unclosedKey struct{}

// noteOpen has the collector close the descriptor when the transport went with its
// loop and neither was closed. Why this late: Go runs nothing when a value is dropped. A
// loop that is held holds its transports, so one cleanup serves them all.
func (e *endpoint) noteOpen() {
	access := loopaccess.Of(e.loop)
	mark, ok := access.Attached(unclosedKey{}).(*unclosedMark)
	if !ok {
		mark = &unclosedMark{&unclosed{e.loop.Logger(), map[int]struct{}{}, map[int]fdKind{}}}
		runtime.AddCleanup(mark, (*unclosed).report, mark.of)
		access.Attach(unclosedKey{}, mark)
	}
	mark.of.open[e.socket.FD()] = struct{}{}
	if !e.socket.kind.isSocket() {
		mark.of.pipes[e.socket.FD()] = e.socket.kind
	}
}

// noteClosed takes back noteOpen, before the descriptor is closed.
func (e *endpoint) noteClosed() {
	if mark, ok := loopaccess.Of(e.loop).Attached(unclosedKey{}).(*unclosedMark); ok {
		delete(mark.of.open, e.socket.FD())
		delete(mark.of.pipes, e.socket.FD())
	}
}

// report runs on the runtime's cleanup goroutine.
func (u *unclosed) report() {
	for fd := range u.open {
		u.log.Warn("unclosed transport: it was dropped with its loop",
			"fd", fd, "local", sock.LocalAddr(fd), "peer", sock.PeerAddr(fd))
		if pipe := u.pipes[fd]; pipe != nil {
			pipe.release(fd)
		}
		_ = sock.Close(fd)
	}
}

// reportUnclosed is the same for a transport whose loop closes before it.
func (e *endpoint) reportUnclosed() {
	if e.state >= stateClosing {
		return
	}
	level := hclog.Debug
	if e.loop.Debug() {
		level = hclog.Warn
	}
	e.loop.Logger().Log(level, "unclosed transport: its loop closes before it", "transport", e.self.String())
}
