package transportactors

import (
	"fmt"
	"slices"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

func (c *conn) Write(p []byte) error {
	if err := c.writable("Write"); err != nil || len(p) == 0 {
		return err
	}
	gather := c.socket.gather && (c.queue.size == 0 || c.gathering)
	if c.queue.size == 0 && !gather {
		n, err := c.socket.write(p)
		c.idle.moved = true // a quick peer; a slow one is seen by onWritable
		switch {
		case err == nil && n == len(p):
			return nil
		case err == nil:
			p = p[n:]
		case !sock.WouldBlock(err):
			c.sendFailed(err)
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
	if err := c.admit(len(p)); err != nil {
		return err
	}
	c.queue.add(p)
	return c.queued(gather)
}

// admit ends the connection when n more bytes in the queue are too many.
func (c *conn) admit(n int) error {
	err := c.flow.admits(c.queue.size, n)
	if err != nil {
		c.Fail(err)
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

func (c *conn) Writelines(pieces [][]byte) error {
	if err := c.writable("Writelines"); err != nil {
		return err
	}
	gather := c.socket.gather && (c.queue.size == 0 || c.gathering)
	if c.queue.size == 0 && !gather {
		pieces = slices.Clone(pieces) // skip moves the slices; the caller's stay
		n, err := c.socket.writev(pieces)
		c.idle.moved = true
		switch {
		case err == nil:
			pieces = skip(pieces, n)
		case !sock.WouldBlock(err):
			c.sendFailed(err)
			return fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	if err := c.admit(size); err != nil {
		return err
	}
	for _, p := range pieces {
		c.queue.add(p)
	}
	if c.queue.size == 0 {
		return nil
	}
	return c.queued(gather)
}

// writable tells whether the state takes more output.
func (c *conn) writable(method string) error {
	if err := c.checkGoroutine(method); err != nil {
		return err
	}
	switch {
	case c.state >= stateLosing, c.last != nil, c.state >= stateClosing && !c.resuming:
		return fmt.Errorf("%w: %s", ErrClosed, c)
	case c.writeEOF:
		return ErrWriteEOF
	case !c.socket.kind.writes():
		return fmt.Errorf("%w: %s only reads", loopnode.ErrInvalidState, c)
	case c.file != nil:
		return fmt.Errorf("%w: %s", ErrSendfile, c)
	}
	return nil
}

// ending is why nothing is written any more; nil while it may be.
func (c *conn) ending() error {
	switch {
	case c.state >= stateClosing:
		return ErrClosed
	case c.writeEOF:
		return ErrWriteEOF
	}
	return nil
}

// queued has the queue sent, in the next turn or when there is room, and looks at the
// high water mark.
func (c *conn) queued(gather bool) error {
	if gather {
		if c.gathered(); c.state >= stateLosing || c.last != nil {
			return fmt.Errorf("%w: %s", ErrClosed, c)
		}
		return nil
	}
	c.updateWatch()
	c.checkHigh()
	return nil
}

func (c *conn) checkHigh() {
	if c.state >= stateLosing || !c.flow.pause(c.queue.size) {
		return
	}
	c.target.setFull(true)
	c.logPause(c.loop, c, c.queue.size)
	if c.proto.pauser() != nil {
		c.Call("PauseWriting", c.proto.pauser().PauseWriting)
	}
}

func (c *conn) checkLow() {
	if c.file != nil {
		return // nothing may be written: fileEnded looks again
	}
	if !c.flow.resume(c.queue.size) {
		return
	}
	c.target.setFull(false)
	if c.proto.pauser() != nil {
		c.resuming = true
		defer func() { c.resuming = false }() // also when the protocol leaves by Goexit
		c.Call("ResumeWriting", c.proto.pauser().ResumeWriting)
	}
}

// onWritable sends once, then lets the protocol write, then ends what waited
// for an empty queue.
func (c *conn) onWritable() {
	if c.state >= stateLosing {
		return
	}
	if c.queue.size == 0 {
		c.sendFile()
		return
	}
	if err := c.queue.send(&c.socket); err != nil {
		if !sock.WouldBlock(err) {
			c.sendFailed(err)
		}
		return
	}
	c.idle.moved = true
	half := c.writeEOF // Why: a WriteEOF inside ResumeWriting shuts down itself
	c.checkLow()
	if c.state >= stateLosing || c.queue.size > 0 {
		return
	}
	c.updateWatch()
	switch {
	case c.state >= stateClosing:
		c.lose(nil)
	case half:
		c.shutdown()
	}
}

func (c *conn) WriteEOF() error {
	if err := c.checkGoroutine("WriteEOF"); err != nil {
		return err
	}
	if c.state >= stateClosing || c.writeEOF {
		return nil
	}
	if c.file != nil {
		return fmt.Errorf("%w: %s", ErrSendfile, c)
	}
	return c.socket.kind.writeEOF(c)
}

func (c *conn) CanWriteEOF() bool { return c.socket.kind.writes() }

func (c *conn) SetWriteBufferLimits(high, low int) error {
	if err := c.checkGoroutine("SetWriteBufferLimits"); err != nil {
		return err
	}
	err := c.limit(high, low)
	if err == nil {
		c.checkHigh()
	}
	return err
}

func (c *conn) WriteBufferLimits() (high, low int) { return c.high, c.low }

func (c *conn) WriteBufferSize() int { return c.queue.size }
