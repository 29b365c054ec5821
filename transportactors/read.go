package transportactors

import (
	"github.com/loopmesh/loopmesh/internal/sock"
)

func (c *conn) PauseReading() error {
	if !c.closing && c.reading {
		c.reading = false
		c.interest()
	}
	return nil
}

func (c *conn) ResumeReading() error {
	if !c.closing && !c.reading {
		c.reading = true
		c.interest()
	}
	return nil
}

func (c *conn) IsReading() bool { return c.reading && !c.closing && !c.eof }

// onReadable reads once and hands on what came.
func (c *conn) onReadable() {
	if !c.IsReading() {
		return // closed by an earlier callback of the same batch
	}
	if c.proto.buffer != nil {
		c.readInto()
		return
	}
	buf := c.loop.ReadBuffer()
	if n, ok := c.read(buf); ok && c.proto.data != nil {
		c.call("DataReceived", func() { c.proto.data.DataReceived(buf[:n:n]) })
	}
}

// readInto is onReadable into the protocol's own memory.
func (c *conn) readInto() {
	to := c.proto.buffer
	var buf []byte
	if !c.call("GetBuffer", func() { buf = to.GetBuffer(-1) }) || !c.IsReading() {
		return
	}
	if len(buf) == 0 {
		c.fail(ErrEmptyBuffer)
		c.report("Fatal error: protocol.GetBuffer() call failed.", ErrEmptyBuffer)
		return
	}
	if n, ok := c.read(buf); ok {
		c.call("BufferUpdated", func() { to.BufferUpdated(n) })
	}
}

// read reads once; false: there is nothing for the protocol.
func (c *conn) read(buf []byte) (int, bool) {
	n, err := sock.Read(c.socket.fd, buf)
	switch {
	case err != nil && sock.WouldBlock(err):
		return 0, false
	case err != nil:
		c.readFailed(err)
		return 0, false
	case n == 0:
		c.inputEnded()
		return 0, false
	}
	return n, true
}

// inputEnded tells the protocol once; without its wish the transport closes.
func (c *conn) inputEnded() {
	if c.socket.pipe != nil {
		c.pipeEnded()
		return
	}
	c.eof = true
	c.interest()
	keep := false
	if c.proto.eof != nil && !c.call("EOFReceived", func() { keep = c.proto.eof.EOFReceived() }) {
		return
	}
	if !keep {
		c.Close()
	}
}
