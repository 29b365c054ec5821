package transportactors

import (
	"crypto/tls"
	"fmt"
	"math"
	"net"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// conn is the transport of a stream socket. Owned by the loop goroutine.
type conn struct {
	endpoint
	flow
	accepted *serverLoop // of the server that accepted it; nil for a client
	top      Transport   // TLS upon it, which is what users see; nil without

	queue output
	file  *sending // a file on its way behind the queue; nil otherwise

	// Why together: a connection has no byte to waste (TestIdleMemory).
	resuming  bool // inside ResumeWriting, when a closing connection still takes output
	gathering bool // the kernel has not been asked about the queue; see gather.go
	reading   bool // wanted by the user
	eof       bool // the peer ended its output; told once
	writeEOF  bool // ours ends behind the queue

	control []byte     // for files that arrive; made by the first read that may bring some
	last    *lastInput // set between a failed send and the loss

	idle  idleWatch
	first firstByte
}

// ExtraInfo adds what has been moved. Datagrams are not counted.
func (c *conn) ExtraInfo(name string) any {
	switch name {
	case "bytes_read":
		return c.socket.in
	case "bytes_written":
		return c.socket.out
	}
	return c.endpoint.ExtraInfo(name)
}

// newConn makes the transport of a socket, which it owns from here on, also when it
// fails.
func newConn(l *loopnode.Loop, from client, p any, b bounds) (*conn, error) {
	c := &conn{endpoint: endpoint{loop: l, socket: Socket{kind: socketKind{}, number: int32(from.fd)}, proto: receiverOf(p)}, flow: newFlow(), reading: true}
	c.self, c.Calls = c, base.CallsOf(c)
	warnMisspelt(l, p)
	c.hard, c.idle.limit, c.first.limit = b.writeLimit, b.idle, b.first
	if err := c.open(c.socket.kind.onReadable(c), c.onWritable); err != nil {
		return nil, err
	}
	c.setAddresses(from)
	return c, nil
}

// setAddresses finds out the addresses now, because a connection that ended has none. The
// accepting listener has seen to what is set here for others.
func (c *conn) setAddresses(from client) {
	if c.from = from.from; c.from.IsValid() {
		c.at = sock.LocalAddrPort(from.fd)
		return
	}
	c.local, c.peer = sock.LocalAddr(from.fd), sock.PeerAddr(from.fd)
	if networkOf(c.local).noDelay {
		_ = sock.SetNoDelay(from.fd, true)
	}
}

// start queues ConnectionMade, then reading, then ready: data never comes first.
func (c *conn) start(ready func()) {
	c.loop.CallSoon(c.made)
	c.loop.CallSoon(c.updateWatch)
	if ready != nil {
		c.loop.CallSoon(ready)
	}
}

func (c *conn) made() {
	if c.state >= stateLosing {
		return // aborted before it was announced: the protocol hears nothing
	}
	c.told = true
	if c.proto.made() != nil {
		c.Call("ConnectionMade", func() { c.proto.made().ConnectionMade(c) })
	}
	if c.state >= stateLosing {
		return
	}
	c.idle.start(c)
	if c.top == nil { // TLS waits for the first byte behind its handshake
		c.first.wait(c.loop, c.Fail)
	}
}

// updateWatch watches for what the state asks for.
func (c *conn) updateWatch() {
	if c.state >= stateLosing || c.last != nil {
		return
	}
	read := c.told && c.IsReading() || c.socket.kind.watchesReader(c)
	if err := c.watch.Set(read, c.queue.size > 0 && !c.gathering || c.file != nil); err != nil {
		c.Fail(err)
	}
}

func (c *conn) LocalAddr() net.Addr                   { return c.localAddr() }
func (c *conn) RemoteAddr() net.Addr                  { return c.peerAddr() }
func (c *conn) TLS() (s tls.ConnectionState, ok bool) { return s, false }

// String names the connection.
func (c *conn) String() string { return c.describe("Transport") }

// putTLSUpon makes t, the TLS transport over c, what Refs and the server see.
func (c *conn) putTLSUpon(t *tlsTransport) bool {
	c.top = t
	t.hard, c.hard = c.hard, math.MaxInt // Why: t counts a whole write, c would count its parts
	t.first.limit = c.first.limit
	c.target.move(&c.target, t)
	return c.paused
}

// startTLSError is why TLS cannot be put upon c now; nil when it can.
func (c *conn) startTLSError() error {
	switch {
	case !c.socket.kind.isSocket():
		return invalid("StartTLS needs the transport of a stream socket, not that of a pipe")
	case c.top != nil:
		return errStarted
	case c.eof:
		return fmt.Errorf("%w: the peer of %v has ended its output", ErrClosed, c)
	}
	if err := checkNoFile(c); err != nil {
		return err
	}
	return c.writable("StartTLS")
}

// outermost is what users see of the connection.
func (c *conn) outermost() Transport {
	if c.top != nil {
		return c.top
	}
	return c
}
