package clustertest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Faults of a network without a network. A TCP proxy stands between a node and a real
// NATS server, because tests ask how both behave when bytes stop without an error and
// without an end of the connection (cut). Closing a connection is another fault
// (unplug).

// proxy passes bytes between a node and its NATS server. Each direction of a connection
// has two goroutines: one reads pieces, one writes them. A piece waits until it is as
// old as the delay and the proxy is not cut; then it is written, so bytes keep their
// order. Pieces that wait are dropped when either end of their connection is closed, by
// its owner, by unplug or by close. Any goroutine.
type proxy struct {
	listener net.Listener // nil: of connections in memory, see pass
	to       string
	work     sync.WaitGroup

	mu      sync.Mutex
	ends    map[net.Conn]struct{}
	broken  bool
	whole   chan struct{} // closed while it is not broken
	pulled  bool          // unplugged: connections are closed at once
	later   time.Duration
	closing chan struct{} // closed by close
}

// newPipes makes a proxy of connections in memory.
func newPipes() *proxy {
	c := &proxy{ends: map[net.Conn]struct{}{}, whole: make(chan struct{}), closing: make(chan struct{})}
	close(c.whole)
	return c
}

func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := newPipes()
	c.listener, c.to = l, to
	// goroutine: owner: proxy; ends when close closes the listener
	c.work.Go(c.accept)
	return c, nil
}

func (c *proxy) address() string { return c.listener.Addr().String() }

// accept takes connections of the node and opens one to the server for each.
func (c *proxy) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		if !c.keep(near) {
			continue
		}
		far, err := net.Dial("tcp", c.to)
		if err != nil || !c.keep(far) {
			c.drop(near)
			continue
		}
		c.between(near, far)
	}
}

// between passes bytes in both directions until one of the two ends is closed.
func (c *proxy) between(near, far net.Conn) {
	// goroutine: owner: proxy; ends when one of the two ends is closed
	c.work.Go(func() { c.carry(near, far) })
	// goroutine: owner: proxy; ends when one of the two ends is closed
	c.work.Go(func() { c.carry(far, near) })
}

// errUnplugged is why a connection in memory cannot be made.
var errUnplugged = errors.New("clustertest: the node is unplugged")

// pass is the node's end of a connection whose server's end is far.
func (c *proxy) pass(far net.Conn) (net.Conn, error) {
	end, near := net.Pipe()
	if !c.keep(far) || !c.keep(near) {
		c.drop(near, far)
		return nil, errUnplugged
	}
	c.between(near, far)
	return end, nil
}

// keep notes an end so that unplug closes it; false: it is closed already.
func (c *proxy) keep(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled {
		_ = end.Close()
		return false
	}
	c.ends[end] = struct{}{}
	return true
}

// drop closes ends and forgets them.
func (c *proxy) drop(ends ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range ends {
		delete(c.ends, end)
		_ = end.Close()
	}
}

// piece is what was read at once and when.
type piece struct {
	bytes []byte
	at    time.Time
}

// queued is how many pieces of one direction may wait. When they are as many, the proxy
// reads no more, and so the sender's writes block, as over TCP.
const queued = 256

// carry passes bytes on in one direction.
func (c *proxy) carry(from, to net.Conn) {
	defer c.drop(from, to)
	pieces := make(chan piece, queued)
	// goroutine: owner: proxy; ends when pieces is closed and empty
	c.work.Go(func() {
		defer c.drop(from, to)
		for p := range pieces {
			if !c.wait(p.at) {
				break
			}
			if _, err := to.Write(p.bytes); err != nil {
				break
			}
		}
		for range pieces { // the reader ends because its connection is closed; until then it must not block
		}
	})
	defer close(pieces)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{bytes.Clone(buf[:n]), time.Now()}
		}
		if err != nil {
			return
		}
	}
}

// wait waits until a piece that was read at that time may be written; false: the proxy
// was closed.
func (c *proxy) wait(at time.Time) bool {
	c.mu.Lock()
	left := time.Until(at.Add(c.later))
	c.mu.Unlock()
	if left > 0 {
		due := time.NewTimer(left)
		defer due.Stop()
		select {
		case <-due.C:
		case <-c.closing:
			return false
		}
	}
	c.mu.Lock()
	whole := c.whole
	c.mu.Unlock()
	select {
	case <-whole:
		return true
	case <-c.closing:
		return false
	}
}

// cut makes pieces wait (off) or lets them go on. Connections stay open either way.
func (c *proxy) cut(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off == c.broken {
		return
	}
	c.broken = off
	if off {
		c.whole = make(chan struct{})
	} else {
		close(c.whole)
	}
}

// unplug closes all connections, and those that are opened until it is taken back.
func (c *proxy) unplug(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = off
	if off {
		for end := range c.ends {
			_ = end.Close()
		}
		clear(c.ends)
	}
}

// delay is how long a piece waits from now on. A piece that waits already keeps its
// delay.
func (c *proxy) delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later = d
}

func (c *proxy) close() {
	close(c.closing)
	if c.listener != nil {
		_ = c.listener.Close()
	}
	c.unplug(true)
	c.work.Wait()
}

// String is the state, for people.
func (c *proxy) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pulled:
		return "unplugged"
	case c.broken:
		return "cut"
	case c.later > 0:
		return fmt.Sprintf("%v late", c.later)
	}
	return "whole"
}
