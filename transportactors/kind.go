package transportactors

import "github.com/loopmesh/loopmesh/internal/sock"

// fdKind is what the kinds of descriptors under a transport do differently:
// socketKind, and the two ends of a pipe (pipe_kind.go). Socket and conn ask it at
// the points that are the methods here, and look at the kind of a descriptor
// nowhere else. Loop goroutine.
type fdKind interface {
	read(fd int, p []byte) (int, error)
	write(fd int, p []byte) (int, error)
	// release is called before fd is closed, closed after that when the transport
	// has ended, and not when its making failed.
	release(fd int)
	closed()

	// isSocket: both directions, so that TLS and files can go over it.
	isSocket() bool
	// writes: the transport has an output.
	writes() bool
	// extra is what ExtraInfo("pipe") says.
	extra() any

	// onReadable is the callback of a readable descriptor.
	onReadable(c *conn) func()
	// watchesReader: readability is watched to hear that nobody reads our output.
	watchesReader(c *conn) bool
	// inputEnded follows the end of the input.
	inputEnded(c *conn)
	// readFailed ends the transport after a failed read.
	readFailed(c *conn, err error)
	// writeEOF ends the output behind the queue.
	writeEOF(c *conn) error
}

// socketKind is a connected stream socket, whose two halves end each alone, and
// what datagram and listening sockets have in common with it.
type socketKind struct{}

func (socketKind) read(fd int, p []byte) (int, error)  { return sock.ReadStream(fd, p) }
func (socketKind) write(fd int, p []byte) (int, error) { return sock.WriteStream(fd, p) }
func (socketKind) release(int)                         {}
func (socketKind) closed()                             {}
func (socketKind) isSocket() bool                      { return true }
func (socketKind) writes() bool                        { return true }
func (socketKind) extra() any                          { return nil }
func (socketKind) onReadable(c *conn) func()           { return c.onReadable }
func (socketKind) watchesReader(*conn) bool            { return false }
func (socketKind) readFailed(c *conn, err error)       { c.Fail(err) }

// inputEnded tells the protocol; without its wish the transport closes.
func (socketKind) inputEnded(c *conn) {
	c.eof = true
	c.updateWatch()
	keep := false
	if c.proto.eof() != nil && !c.Call("EOFReceived", func() { keep = c.proto.eof().EOFReceived() }) {
		return
	}
	if !keep {
		c.Close()
	}
}

func (socketKind) writeEOF(c *conn) error {
	c.writeEOF = true
	c.target.refuse(ErrWriteEOF)
	if c.queue.size == 0 {
		c.shutdown()
	}
	return nil
}

// shutdown ends the output half of a socket whose queue is empty.
func (c *conn) shutdown() {
	if err := sock.CloseWrite(c.socket.FD()); err != nil {
		c.sendFailed(err)
	}
}
