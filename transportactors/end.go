package transportactors

import (
	"errors"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func (c *conn) Close() {
	if c.closing {
		return
	}
	c.closing = true
	if c.queue.size == 0 {
		c.lose(nil)
		return
	}
	c.interest()
}

func (c *conn) Abort() { c.fail(nil) }

func (c *conn) IsClosing() bool { return c.closing }

// fail ends the connection without sending what is queued.
func (c *conn) fail(reason error) {
	c.closing = true
	c.lose(reason)
}

// lose queues the loss; the first reason counts.
func (c *conn) lose(reason error) {
	if c.losing {
		return
	}
	c.losing, c.reason = true, reason
	c.queue.drop()
	c.watch.Close()
	c.loop.Soon(c.end)
}

// end tells the protocol and closes the descriptor behind it, whatever it did.
func (c *conn) end() {
	if c.ended {
		return
	}
	c.ended = true
	defer c.release()
	if !c.started || c.proto.lost == nil {
		return
	}
	p := guard.Call(func() { c.proto.lost.ConnectionLost(c.reason) })
	if p == nil {
		return
	}
	c.report("Exception in protocol.ConnectionLost", p)
	var fatal *loopnode.FatalError
	if errors.As(error(p), &fatal) {
		panic(p)
	}
}

func (c *conn) release() {
	fd := c.socket.fd
	c.socket.fd = -1
	_ = sock.Close(fd) // the kernel has the number back either way
	leave(c)
	c.proto = receiver{}
	if c.door != nil {
		c.door.shut()
	}
	if c.server != nil {
		c.server.gone(c)
	}
}

// loopClosed ends the connection at once: no turn will come.
func (c *conn) loopClosed() {
	c.closing = true
	if !c.losing {
		c.losing, c.reason = true, loopnode.ErrLoopClosed
		c.queue.drop()
		c.watch.Close()
	}
	c.end()
}
