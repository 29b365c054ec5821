package transportactors

import (
	"os"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// A pipe has one direction, so the end of that direction is the end of the
// transport: there is no half that stays open.

// pipeFile is what both ends of a pipe have: how the descriptor was made, and the
// file that ends with it.
type pipeFile struct {
	file     *os.File // nil: the descriptor is all there is
	number   int      // of file
	standard bool     // number is one of 0, 1 and 2 and is not to be closed
	restore  bool     // the non-blocking flag was set for other processes, too
	shape    sock.Shape
}

func (*pipeFile) read(fd int, p []byte) (int, error)  { return sock.Read(fd, p) }
func (*pipeFile) write(fd int, p []byte) (int, error) { return sock.Write(fd, p) }
func (*pipeFile) isSocket() bool                      { return false }

// release gives other processes the blocking mode back.
func (p *pipeFile) release(fd int) {
	if p.restore {
		sock.SetBlocking(fd)
	}
}

func (p *pipeFile) closed() {
	switch {
	case p.file == nil:
	case p.standard:
		_ = sock.Blank(p.number) // without a null device the standard file stays open
	default:
		_ = p.file.Close() // what it wrote was written by the transport
	}
}

func (p *pipeFile) extra() any {
	if p.file == nil {
		return nil
	}
	return p.file
}

// pipeInput is the reading end.
type pipeInput struct{ pipeFile }

func (*pipeInput) writes() bool              { return false }
func (*pipeInput) onReadable(c *conn) func() { return c.onReadable }
func (*pipeInput) watchesReader(*conn) bool  { return false }
func (*pipeInput) writeEOF(c *conn) error    { return c.writable("WriteEOF") }

// inputEnded queues EOFReceived and then the loss: nothing can follow.
func (*pipeInput) inputEnded(c *conn) {
	c.eof = true
	c.enter(stateClosing)
	if c.proto.eof() != nil {
		c.loop.CallSoon(func() {
			if eof := c.proto.eof(); eof != nil && c.state < stateEnded {
				c.Call("EOFReceived", func() { eof.EOFReceived() })
			}
		})
	}
	c.lose(nil)
}

// readFailed reports to the exception handler, unless a terminal hung up.
func (*pipeInput) readFailed(c *conn, err error) {
	c.Fail(err)
	if !sock.HungUp(err) {
		c.Report("Fatal read error on pipe transport", err)
	}
}

// pipeOutput is the writing end.
type pipeOutput struct {
	pipeFile
	unsure bool // the descriptor no longer says whether somebody reads
}

func (*pipeOutput) writes() bool                  { return true }
func (*pipeOutput) inputEnded(*conn)              {} // nothing is read
func (*pipeOutput) readFailed(c *conn, err error) { c.Fail(err) }

// watchesReader: a terminal, or a FIFO that is open both ways, does not say when
// its reader has left.
func (w *pipeOutput) watchesReader(c *conn) bool {
	return !w.unsure && c.told &&
		(w.shape.Kind == sock.Stream || w.shape.Kind == sock.Fifo && !w.shape.Reads)
}

func (w *pipeOutput) onReadable(c *conn) func() { return func() { w.lookForReader(c) } }

// lookForReader looks why the writing end became readable.
func (w *pipeOutput) lookForReader(c *conn) {
	switch {
	case c.state >= stateLosing:
	case !sock.ReaderGone(c.socket.FD(), w.shape.Kind):
		w.unsure = true // a socket whose peer talks: what it says stays unread
		c.updateWatch()
	case c.queue.size > 0:
		c.Fail(sock.BrokenPipe)
	default:
		c.Fail(nil)
	}
}

// writeEOF is Close.
func (*pipeOutput) writeEOF(c *conn) error {
	if err := c.writable("WriteEOF"); err != nil {
		return err
	}
	c.Close()
	return nil
}
