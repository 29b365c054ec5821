package transportactors

import (
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// lastInput is a connection whose output has failed while bytes that had arrived
// before wait to be read. Owned by the loop goroutine.
//
// A send that fails (EPIPE, ECONNRESET) is the end of the connection. But the
// kernel still has what the peer sent before, often the very message that says why.
// So the loss is told only when that has been delivered: at once while the protocol
// reads, otherwise when it resumes reading. Meanwhile the transport is closing: it
// takes no output, and Close and Abort drop the input.
//
// A protocol may have paused reading until ResumeWriting comes. It gets that call
// now, since nothing waits any more. One that never resumes is told of the loss
// after lastInputWait all the same.
type lastInput struct {
	reason error // of the loss
	left   int   // bytes the kernel had when the send failed and has not given yet
	timer  *loopnode.TimerHandle
}

const lastInputWait = 30 * time.Second

// sendFailed ends the connection after a failed send, behind the input that waits.
func (c *conn) sendFailed(reason error) {
	if c.last != nil {
		return
	}
	left := 0
	if c.told && c.state < stateClosing && !c.eof && c.file == nil {
		left = sock.Unread(c.socket.FD())
	}
	// Why paused TLS counts: what it has read and not decrypted is input, too.
	if left == 0 && (c.top == nil || c.reading || c.state >= stateClosing) {
		c.Fail(reason)
		return
	}
	c.enter(stateClosing)
	c.target.refuse(ErrClosed)
	c.watch.Close()
	c.queue.drop()
	c.idle.stop()
	c.last = &lastInput{reason: reason, left: left}
	c.last.timer = c.loop.CallLater(lastInputWait, c.lastInputEnded)
	c.loop.CallSoon(c.readLast)
}

// readLast hands on what had arrived, as far as the protocol reads.
func (c *conn) readLast() {
	l := c.last
	if l != nil && !c.reading {
		c.checkLow()
	}
	for c.last == l && l != nil && c.reading && l.left > 0 {
		n := c.receive()
		if n == 0 {
			l.left = 0
		}
		l.left -= min(n, l.left)
	}
	if c.last == l && l != nil && c.reading {
		c.lastInputEnded()
		c.end() // the input was the turn of the loss
	}
}

// lastInputEnded loses the connection for the reason it was held back with.
func (c *conn) lastInputEnded() {
	if c.last != nil {
		c.Fail(c.last.reason)
	}
}

// dropLastInput forgets input that nobody wants any more.
func (c *conn) dropLastInput() {
	if c.last != nil {
		c.last.timer.Cancel()
		c.last = nil
	}
}

// inputWaits reports whether input will still come although the transport is
// closing.
func (c *conn) inputWaits() bool { return c.last != nil }

func (t *tlsTransport) inputWaits() bool { return t.phase <= tlsOpen && inputWaits(t.lower) }

func inputWaits(t Transport) bool {
	w, ok := t.(interface{ inputWaits() bool })
	return ok && w.inputWaits()
}
