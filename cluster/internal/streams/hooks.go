package streams

import (
	"errors"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// hooks call a protocol on a loop of the writer's node as a transport would.
// PauseWriting and ResumeWriting alternate, and ConnectionLost comes last, once. Fields
// are guarded by Stream.mu, except told, which the loop goroutine owns.
type hooks struct {
	loop   *loopnode.Loop // nil: nobody is told
	pauser transportactors.WritePauser
	lost   interface{ ConnectionLost(error) }
	paused bool // above High, and not at Low since
	posted bool // tell will run
	over   bool // ConnectionLost was told
	told   bool
}

// SetProtocol lets p hear on loop when to stop writing: it is called as a protocol of
// package transportactors is, with the methods that it has of PauseWriting,
// ResumeWriting and ConnectionLost. PauseWriting comes in a turn behind the Write that
// went above the mark, which is half of the window, not inside it. ConnectionLost gets
// nil when the connection ended because the writer closed or aborted it. Call it once.
func (s *Stream) SetProtocol(loop *loopnode.Loop, p any) error {
	if loop == nil || p == nil {
		return fault.Config("SetProtocol needs a loop and a protocol, not nil")
	}
	pauser, _ := p.(transportactors.WritePauser)
	lost, _ := p.(interface{ ConnectionLost(error) })
	if pauser == nil && lost == nil {
		return fault.Config("SetProtocol: %T has neither PauseWriting and ResumeWriting nor ConnectionLost, so it would hear nothing", p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.hooks
	if h.loop != nil {
		return fault.Config("the stream to %s has a protocol already", s.target())
	}
	h.loop, h.pauser, h.lost = loop, pauser, lost
	h.sizeLocked(s)
	if s.ended != nil {
		h.postLocked(s)
	}
	return nil
}

// sizeLocked follows what is under way. Several changes before the loop's next turn
// are one for the protocol, or none: tell compares with what it told.
func (h *hooks) sizeLocked(s *Stream) {
	under := s.accepted - s.taken
	if !h.paused && under > High || h.paused && under <= Low {
		h.paused = !h.paused
		h.postLocked(s)
	}
}

func (h *hooks) endLocked(s *Stream) { h.postLocked(s) }

// postLocked lets tell run in a turn of the loop, once for all changes before it.
func (h *hooks) postLocked(s *Stream) {
	if h.loop == nil || h.posted {
		return
	}
	h.posted = true
	_ = h.loop.Ref().CallSoonThreadsafe(s.tell) // a closed loop hears nothing more
}

// tell calls the protocol on its loop. It compares the state with what it told last,
// so it may come late or once for several changes; what it tells is true when it
// tells it.
func (s *Stream) tell() {
	s.mu.Lock()
	h := &s.hooks
	h.posted = false
	paused, ended := h.paused, s.ended
	own := s.own && errors.Is(ended, fault.ErrClosed)
	over := h.over
	h.over = h.over || ended != nil
	s.mu.Unlock()
	if over {
		return
	}
	if paused != h.told && ended == nil {
		h.told = paused
		switch {
		case h.pauser == nil:
		case paused:
			h.pauser.PauseWriting()
		default:
			h.pauser.ResumeWriting()
		}
	}
	if ended == nil || h.lost == nil {
		return
	}
	if own {
		ended = nil
	}
	h.lost.ConnectionLost(ended)
}
