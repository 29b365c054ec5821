package transportactors

import (
	"fmt"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/loopnode"
)

// What a writer on another node does through a Ref. It counts what it has under way
// itself, so what it feeds is not limited here: the bytes wait behind a slow peer
// like those of WriteWait, and taken says when there is room for more.

// Feed is Write for a writer that bounds by itself what is on its way, from any
// goroutine. It keeps p, and never waits. taken is called once, on the loop, with what
// Transport.Write says, as soon as the transport has taken p, which it does when the
// bytes before it have fallen to the low mark. Errors: loopnode.ErrNotLocal, ErrClosed,
// ErrWriteEOF, loopnode.ErrLoopClosed; then taken is not called.
func (r Ref) Feed(p []byte, taken func(error)) error {
	if err := r.refused(); err != nil {
		return err
	}
	return r.post(func(d *refTarget) {
		d.order(&order{len(p), func(t addressed) error { return t.Write(p) }, taken})
	})
}

// WriteEOF is Transport.WriteEOF from any goroutine, behind the writes that came
// before it. failed is called on the loop when it cannot be done. Errors as of Close.
func (r Ref) WriteEOF(failed func(error)) error {
	return r.post(func(d *refTarget) {
		d.order(&order{0, writeEOF, func(err error) {
			if err != nil {
				failed(err)
			}
		}})
	})
}

func writeEOF(t addressed) error {
	if c, ok := t.(Transport); ok {
		return c.WriteEOF()
	}
	return fmt.Errorf("%w: a datagram endpoint", ErrNoWriteEOF)
}

// PauseReading is Transport.PauseReading from any goroutine. Errors as of Close.
func (r Ref) PauseReading() error { return r.reading(Transport.PauseReading) }

// ResumeReading is Transport.ResumeReading from any goroutine. Errors as of Close.
func (r Ref) ResumeReading() error { return r.reading(Transport.ResumeReading) }

func (r Ref) reading(call func(Transport) error) error {
	return r.post(func(d *refTarget) {
		if c, ok := d.t.(Transport); ok {
			_ = call(c) // only a goroutine other than the loop's is refused
		}
	})
}

// Fail is Abort with a reason, which ConnectionLost and those who watch the transport
// hear. Errors as of Close.
func (r Ref) Fail(reason error) error {
	return r.post(func(d *refTarget) {
		if d.t != nil {
			d.t.Fail(reason)
		}
	})
}

// OnEnd calls ended once with what ConnectionLost gets, on the loop, when the
// transport has ended; soon when it has ended already. When the loop is closed first,
// ended gets loopnode.ErrLoopClosed, on the goroutine that closes it. stop ends that,
// unless it has begun. Errors: loopnode.ErrNotLocal, loopnode.ErrLoopClosed.
func (r Ref) OnEnd(ended func(reason error)) (stop func(), err error) {
	d := r.target
	if d == nil {
		return nil, fmt.Errorf("%w: %s", loopnode.ErrNotLocal, r)
	}
	h := &endHook{ended: ended}
	h.unhook = d.loop.OnClose(func() { h.call(loopnode.ErrLoopClosed) })
	err = d.loop.Ref().CallSoonThreadsafe(func() {
		if d.t == nil {
			h.call(d.reason)
			h.unhook()
			return
		}
		if d.hooks == nil {
			d.hooks = map[*endHook]struct{}{}
		}
		d.hooks[h] = struct{}{}
	})
	return func() {
		h.over.Store(true)
		h.unhook()
		_ = d.loop.Ref().CallSoonThreadsafe(func() { delete(d.hooks, h) }) // a closed loop has none
	}, err
}

// endHook is a function that waits for the end of a transport. Any goroutine.
type endHook struct {
	over   atomic.Bool
	ended  func(error)
	unhook func() // from the loop
}

func (h *endHook) call(reason error) {
	if h.over.CompareAndSwap(false, true) {
		h.ended(reason)
	}
}
