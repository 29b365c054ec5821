package transportactors

import (
	"errors"
	"net"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// conn is the transport of a stream socket. Owned by the loop goroutine.
type conn struct {
	loop   *loopnode.Loop
	watch  *loopnode.Watch
	socket *Socket // its fd is -1 exactly when the descriptor is closed
	proto  receiver
	server *Server
	door   *door // made when somebody asks for a Ref

	local, peer net.Addr

	queue     output
	high, low int
	paused    bool // the protocol is told not to write
	resuming  bool // inside ResumeWriting: a closing connection takes last words

	started  bool // ConnectionMade was called
	reading  bool // wanted by the user
	eof      bool // the peer ended its output; told once
	writeEOF bool // ours ends behind the queue
	closing  bool
	losing   bool // the loss is queued: the queue is empty and nothing is watched
	ended    bool
	reason   error
}

// newConn makes the transport of fd, which it owns from here on, also when it
// fails.
func newConn(l *loopnode.Loop, fd int, p any) (*conn, error) {
	c := &conn{loop: l, socket: &Socket{fd}, proto: receiverOf(p), reading: true}
	c.high, c.low, _ = waterMarks(-1, -1)
	w, err := l.Watch(fd, c.onReadable, c.onWritable)
	if err != nil {
		_ = sock.Close(fd)
		return nil, err
	}
	c.watch = w
	c.local, c.peer = sock.LocalAddr(fd), sock.PeerAddr(fd)
	if _, ok := c.local.(*net.TCPAddr); ok {
		sock.NoDelay(fd)
	}
	enter(c)
	return c, nil
}

// start queues ConnectionMade, then reading, then ready: data never comes first.
func (c *conn) start(ready func()) {
	c.loop.Soon(c.made)
	c.loop.Soon(c.interest)
	if ready != nil {
		c.loop.Soon(ready)
	}
}

func (c *conn) made() {
	if c.losing {
		return // aborted before it was announced: the protocol hears nothing
	}
	c.started = true
	if c.proto.made != nil {
		c.call("ConnectionMade", func() { c.proto.made.ConnectionMade(c) })
	}
}

// interest watches for what the state asks for.
func (c *conn) interest() {
	if c.losing {
		return
	}
	read := c.started && c.reading && !c.closing && !c.eof
	if err := c.watch.Set(read, c.queue.size > 0); err != nil {
		c.fail(err)
	}
}

// call runs one method of the protocol; false: it panicked and the connection
// is ending.
func (c *conn) call(method string, fn func()) bool {
	p := guard.Call(fn)
	if p == nil {
		return true
	}
	c.fail(p)
	c.report("Fatal error: protocol."+method+" call failed.", p)
	var fatal *loopnode.FatalError
	if errors.As(error(p), &fatal) {
		panic(p) // leaves the loop's run, as from any callback
	}
	return false
}

func (c *conn) report(message string, err error) {
	c.loop.CallExceptionHandler(loopnode.ExceptionContext{
		Message: message, Exception: err, Transport: c.String(), Protocol: c.proto.value,
	})
}

// String names the connection.
func (c *conn) String() string {
	s := "<Transport"
	if c.local != nil {
		s += " " + c.local.String()
	}
	if c.peer != nil {
		s += " peer " + c.peer.String()
	}
	if c.closing {
		s += " closing"
	}
	return s + ">"
}

func (c *conn) SetProtocol(p any) { c.proto = receiverOf(p) }
func (c *conn) Protocol() any     { return c.proto.value }

func (c *conn) Loop() *loopnode.Loop { return c.loop }

func (c *conn) ExtraInfo(name string) any {
	switch {
	case name == "socket":
		return c.socket
	case name == "sockname" && c.local != nil:
		return c.local
	case name == "peername" && c.peer != nil:
		return c.peer
	}
	return nil
}
