package transportactors

import (
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// idleLooks is how often a connection is looked at within its idle timeout. Why
// not a timer that each read and write sets anew: that would cost every echo two
// timer operations; a look costs nothing in between.
const idleLooks = 4

// idleWatch ends a connection on which nothing moves. Owned by the loop goroutine.
type idleWatch struct {
	limit time.Duration // 0: none
	moved bool          // since the last look
	quiet int32         // looks in a row that saw nothing move
	timer *loopnode.TimerHandle
}

// start looks a first time after a part of the limit.
func (w *idleWatch) start(c *conn) {
	if w.limit > 0 {
		w.timer = c.loop.CallLater(max(w.limit/idleLooks, 1), func() { w.look(c) })
	}
}

func (w *idleWatch) look(c *conn) {
	if w.quiet++; w.moved {
		w.quiet, w.moved = 0, false
	}
	if w.quiet >= idleLooks {
		c.Fail(fmt.Errorf("%w: nothing moved on the connection for %v (WithIdleTimeout)", loopnode.ErrTimeout, w.limit))
		return
	}
	w.start(c)
}

func (w *idleWatch) stop() {
	if w.timer != nil {
		w.timer.Cancel()
		w.timer = nil
	}
}

// firstByte ends a connection whose peer says nothing after ConnectionMade. Owned
// by the loop goroutine.
type firstByte struct {
	limit time.Duration         // 0: none
	timer *loopnode.TimerHandle // nil: not waiting
}

func (f *firstByte) wait(l *loopnode.Loop, fail func(error)) {
	if f.limit > 0 {
		f.timer = l.CallLater(f.limit, func() {
			fail(fmt.Errorf("%w: the peer sent nothing within %v (WithFirstByteTimeout)", loopnode.ErrTimeout, f.limit))
		})
	}
}

// came ends the wait.
func (f *firstByte) came() {
	if f.timer != nil {
		f.timer.Cancel()
		f.timer = nil
	}
}
