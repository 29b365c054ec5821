package transportactors

import (
	"fmt"
	"strconv"
	"syscall"

	"github.com/loopmesh/loopmesh/actors"
)

// SignalRequest, sent to the actor of a child process, is
// SubprocessTransport.SendSignal.
type SignalRequest struct {
	Signal int `json:"signal"`
}

// Actor is described at SubprocessTransport.
func (s *subprocess) Actor() actors.Ref {
	if s.sys == nil {
		s.sys = s.loop.Actors()
		path := s.loop.Name() + "/processes/" + strconv.FormatUint(lastDoor.Add(1), 10)
		var err error
		if s.actor, err = s.sys.Spawn(s.loop, path, func() actors.Actor { return warden{s} }); err != nil { // the system is being shut down
			s.loop.Logger().Debug("a child process has no actor", "pid", s.pid, "error", err)
		}
		s.dismiss()
	}
	return s.actor
}

// dismiss ends the actor of a child that has ended.
func (s *subprocess) dismiss() {
	if s.exited && !s.actor.IsZero() && !s.loop.IsClosed() { // a loop that closes ends its actors itself
		_ = s.sys.Send(s.actor, lost{s.failure()}) // it may have been stopped before
	}
}

// failure is nil for exit code 0.
func (s *subprocess) failure() error {
	if s.code == 0 {
		return nil
	}
	return &ExitError{s.pid, s.code}
}

// warden is the actor of a child process. It holds nothing of its own: messages
// become calls of the transport, on the same goroutine.
type warden struct{ s *subprocess }

// Receive is called by the actor system.
func (w warden) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case SignalRequest:
		answer(ctx, w.s.SendSignal(syscall.Signal(m.Signal)))
	case WriteRequest:
		answer(ctx, w.write(m.Data))
	case CloseRequest, AbortRequest:
		w.s.Close()
		answer(ctx, nil)
	case lost:
		ctx.End(m.reason)
	case actors.Stopping:
		w.s.Close() // ended already, as a rule
	}
}

func (w warden) write(data []byte) error {
	in := w.s.PipeTransport(0)
	if in == nil {
		return fmt.Errorf("%w: stdin of process %d is not a pipe", ErrClosed, w.s.pid)
	}
	return in.Write(data)
}
