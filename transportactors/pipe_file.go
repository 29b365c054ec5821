package transportactors

import (
	"github.com/loopmesh/loopmesh/internal/sock"
)

// readOnly: the transport is the reading end of a pipe.
func (c *conn) readOnly() bool { return c.socket.pipe != nil && !c.socket.pipe.writes }

// watchesReader: the transport writes to something that says when its reader left.
// A terminal or a FIFO that is open both ways does not.
func (c *conn) watchesReader() bool {
	p := c.socket.pipe
	return p != nil && p.writes && !p.blind && c.started &&
		(p.shape.Kind == sock.Stream || p.shape.Kind == sock.Fifo && !p.shape.Reads)
}

// onReader looks why the writing end of a pipe became readable.
func (c *conn) onReader() {
	p := c.socket.pipe
	switch {
	case c.losing:
	case !sock.ReaderGone(c.socket.fd, p.shape.Kind):
		p.blind = true // a socket whose peer talks: what it says stays unread
		c.interest()
	case c.queue.size > 0:
		c.Fail(sock.BrokenPipe)
	default:
		c.Fail(nil)
	}
}

// writePipeEOF is WriteEOF of a pipe: with one direction it is the whole end.
func (c *conn) writePipeEOF() error {
	if err := c.writable("WriteEOF"); err != nil {
		return err
	}
	c.Close()
	return nil
}

// pipeEnded queues the end of the input and then the loss: nothing can follow.
func (c *conn) pipeEnded() {
	c.eof, c.closing = true, true
	if c.proto.eof() != nil {
		c.loop.CallSoon(func() {
			if eof := c.proto.eof(); eof != nil && !c.ended {
				c.Call("EOFReceived", func() { eof.EOFReceived() })
			}
		})
	}
	c.lose(nil)
}

// readFailed ends the transport; only a pipe's trouble is news for the
// exception handler, and a hang-up is none.
func (c *conn) readFailed(err error) {
	c.Fail(err)
	if c.socket.pipe != nil && !sock.HungUp(err) {
		c.Report("Fatal read error on pipe transport", err)
	}
}
