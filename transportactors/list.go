package transportactors

import (
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Transports are the connections that live on l and have not ended, in no order:
// for those who show what a program holds. Loop goroutine of l.
func Transports(l *loopnode.Loop) []Transport {
	if l == nil || base.CheckGoroutine(l, "Transports", "Loop.Ref().CallSoonThreadsafe") != nil {
		return nil
	}
	list := base.Members[Transport](l)
	for i, t := range list {
		if c, ok := t.(*conn); ok {
			list[i] = c.outermost()
		}
	}
	return list
}

// Servers are the servers on l that have not ended, in no order. Loop goroutine of l.
func Servers(l *loopnode.Loop) []*Server {
	if l == nil || base.CheckGoroutine(l, "Servers", "Loop.Ref().CallSoonThreadsafe") != nil {
		return nil
	}
	var out []*Server
	for _, s := range base.Members[served](l) {
		out = append(out, s.Server)
	}
	return out
}

// served is a server as a member of its loop.
type served struct{ *Server }

// LoopClosed closes the server.
func (s served) LoopClosed() { s.loopClosed() }
