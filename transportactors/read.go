package transportactors

import (
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
)

func (c *conn) PauseReading() error { return c.setReading("PauseReading", false) }

func (c *conn) ResumeReading() error { return c.setReading("ResumeReading", true) }

func (c *conn) setReading(method string, on bool) error {
	if err := c.checkGoroutine(method); err != nil {
		return err
	}
	if c.state >= stateClosing && c.last == nil || c.reading == on {
		return nil
	}
	c.reading = on
	if c.last != nil && on {
		c.loop.CallSoon(c.readLast)
	}
	c.updateWatch()
	return nil
}

func (c *conn) IsReading() bool {
	return c.reading && c.state < stateClosing && !c.eof && c.file == nil
}

// onReadable reads once and hands on what came.
func (c *conn) onReadable() {
	if c.IsReading() { // not closed by an earlier callback of the same batch
		c.receive()
	}
}

// receive reads once and hands on what came: n bytes; 0 when that is all.
func (c *conn) receive() (n int) {
	if c.proto.buffer {
		return c.receiveInto(c.proto.buffered())
	}
	buf := loopaccess.Of(c.loop).ReadBuffer()
	if n = c.read(buf); n == 0 || c.proto.data == nil {
		return n
	}
	if !c.Call("DataReceived", func() { c.proto.data.DataReceived(buf[:n:n]) }) {
		return 0
	}
	return n
}

// takesInput reports whether the protocol takes bytes now.
func (c *conn) takesInput() bool { return c.IsReading() || c.last != nil && c.reading }

// receiveInto is receive into the protocol's own memory.
func (c *conn) receiveInto(to BufferedProtocol) (n int) {
	var buf []byte
	if !c.Call("GetBuffer", func() { buf = to.GetBuffer(-1) }) || !c.takesInput() {
		return 0
	}
	if len(buf) == 0 {
		c.Fail(errEmptyBuffer)
		c.Report("Fatal error: protocol.GetBuffer() call failed.", errEmptyBuffer)
		return 0
	}
	if n = c.read(buf); n > 0 && !c.Call("BufferUpdated", func() { to.BufferUpdated(n) }) {
		return 0
	}
	return n
}

// read reads once; 0: there is nothing for the protocol.
func (c *conn) read(buf []byte) int {
	n, err := c.input(buf)
	switch {
	case err == nil && n > 0:
		c.idle.moved = true
		if c.first.timer != nil {
			c.first.came()
		}
		return n
	case err == nil:
		if c.state < stateLosing {
			c.socket.kind.inputEnded(c)
		}
	case !sock.WouldBlock(err):
		c.socket.kind.readFailed(c, err)
	}
	return 0
}

// input reads once; a UNIX connection whose protocol takes files reads those, too.
func (c *conn) input(buf []byte) (int, error) {
	if c.proto.files() == nil || !c.carriesFiles() {
		return c.socket.read(buf)
	}
	return c.inputWithFiles(buf)
}
