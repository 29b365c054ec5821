package transportactors

import "github.com/loopmesh/loopmesh/loopnode"

// A task of a stream may find, call after call, that the bytes are there already
// or that the kernel takes them at once. It never waits then, and would keep the
// loop from its timers and from every other connection for as long as the peer is
// quick. So after turnCalls calls or turnBytes bytes without a wait, the next Read
// or Write first lets one turn of the loop pass.
//
// It does so before it moves any byte, so that an end of that wait loses nothing.
// asyncio's streams do not do this.
const (
	turnCalls = 128
	turnBytes = 1 << 20
)

// spent is what a stream has moved since its task last waited in it. Owned by the
// loop goroutine.
type spent struct{ calls, bytes int }

func (s *spent) add(n int) {
	s.calls++
	s.bytes += n
}

// begin is the start of every call that may wait: it refuses the wrong task, and
// lets a turn pass when the budget is used up.
func (s *Stream) begin() error {
	if err := s.ownTask(); err != nil {
		return err
	}
	if s.spent.calls < turnCalls && s.spent.bytes < turnBytes {
		return nil
	}
	s.spent = spent{}
	return loopnode.Sleep(s.ctx, 0)
}

// ownTask refuses a task that the stream is not bound to. Why at each call: only a
// call that must wait would fail otherwise, so that a program that forgot With
// would work until its peer is slow.
func (s *Stream) ownTask() error {
	if _, own := loopnode.CurrentTask(s.ctx); own {
		return nil
	}
	return errOtherTask
}

// errOtherTask is loopnode.ErrWrongGoroutine without its text, which speaks of another
// goroutine: tasks of one loop share theirs.
var errOtherTask error = otherTask{}

type otherTask struct{}

func (otherTask) Error() string {
	return "the stream is bound to another task than the one that calls: use s.With(ctx) with the ctx of that one, or s.Transport().Write to write without waiting; from another goroutine the Ref of the transport"
}

func (otherTask) Unwrap() error { return loopnode.ErrWrongGoroutine }
