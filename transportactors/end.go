package transportactors

import "github.com/loopmesh/loopmesh/internal/sock"

func (c *conn) Close() {
	if c.stray("Close") != nil {
		return
	}
	c.unheard = 0
	if c.closing {
		return
	}
	c.closing = true
	c.door.refuse(ErrClosed)
	if c.queue.size == 0 {
		c.lose(nil)
		return
	}
	c.interest()
}

func (c *conn) Abort() {
	if c.stray("Abort") == nil {
		c.unheard = 0
		c.Fail(nil)
	}
}

// sendFailed ends the connection after a failed send. What had arrived before it
// is handed on, if the protocol was reading.
func (c *conn) sendFailed(reason error) {
	waiting := 0
	if c.IsReading() && c.started {
		waiting = sock.Unread(c.socket.fd)
	}
	if waiting > 0 {
		c.loop.CallSoon(c.lastReads) // goes before the loss
	}
	c.Fail(reason)
	c.unheard = waiting
}

// lastReads hands on what had arrived when a send failed.
func (c *conn) lastReads() {
	for c.unheard > 0 && !c.ended {
		n := c.receive()
		if n == 0 {
			c.unheard = 0
		}
		c.unheard -= min(n, c.unheard)
	}
}

func (c *conn) drop() {
	c.idle.stop()
	c.first.came()
	c.queue.drop()
	c.fileLost()
}

func (c *conn) gone() {
	if c.branch != nil {
		c.branch.left(c)
	}
}
