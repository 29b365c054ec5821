package subprocess

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// SignalRequest, sent to the actor of a child process, is
// Transport.SendSignal.
type SignalRequest struct {
	Signal int `json:"signal"`
}

// lastAddress numbers the actors of this package.
var lastAddress atomic.Uint64

// Actor is described at Transport.
func (s *subprocess) Actor() actors.Ref {
	if s.sys == nil {
		s.sys = s.loop.Actors()
		path := s.loop.Name() + "/processes/" + strconv.FormatUint(lastAddress.Add(1), 10)
		var err error
		if s.actor, err = s.sys.Spawn(s.loop, path, func() actors.Actor { return childActor{s} }); err != nil { // the system is being shut down
			s.loop.Logger().Debug("a child process has no actor", "pid", s.pid, "error", err)
		}
		s.endActor()
	}
	return s.actor
}

// endActor ends the actor of a child that has ended.
func (s *subprocess) endActor() {
	if s.hasExited() && !s.actor.IsZero() && !s.loop.IsClosed() { // a loop that closes ends its actors itself
		_ = s.sys.Send(s.actor, base.Ended{Reason: s.failure()}) // it may have been stopped before
	}
}

// failure is nil for exit code 0.
func (s *subprocess) failure() error {
	if s.code == 0 {
		return nil
	}
	return &ExitError{s.pid, s.code}
}

// childActor is the actor of a child process. It holds nothing of its own: messages
// become calls of the transport, on the same goroutine.
type childActor struct{ s *subprocess }

// Receive is called by the actor system.
func (a childActor) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case SignalRequest:
		base.Answer(ctx, a.s.SendSignal(syscall.Signal(m.Signal)), transportactors.Accepted{})
	case transportactors.WriteRequest:
		base.Answer(ctx, a.write(m.Data), transportactors.Accepted{})
	case transportactors.CloseRequest, transportactors.AbortRequest:
		a.s.Close()
		base.Answer(ctx, nil, transportactors.Accepted{})
	case base.Ended:
		ctx.End(m.Reason)
	case actors.Stopping:
		a.s.Close() // ended already, as a rule
	default:
		base.Answer(ctx, fmt.Errorf("%w: the actor of a child takes SignalRequest, WriteRequest, CloseRequest and AbortRequest, not a %T", loopnode.ErrInvalidArgument, m), nil)
	}
}

func (a childActor) write(data []byte) error {
	in := a.s.PipeTransport(0)
	if in == nil {
		return fmt.Errorf("%w: stdin of process %d is not a pipe", transportactors.ErrClosed, a.s.pid)
	}
	return in.Write(data)
}
