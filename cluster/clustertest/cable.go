package clustertest

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// A TCP proxy that a test can harm. A real connection to a real server is needed,
// because what is tested is how nodes and NATS behave when bytes stop: no error, no
// end, just silence (cut), which closing a connection cannot imitate (unplug).

// cable is a wire between a node and its NATS server: a listener that passes bytes on.
// Each connection has two goroutines, one for each direction. A piece that was read
// waits until its time has come and the cable is whole, then it is written: bytes keep
// their order and none is lost but by unplug. Any goroutine.
type cable struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu      sync.Mutex
	ends    map[net.Conn]struct{}
	broken  bool
	whole   chan struct{} // closed while it is not broken, and by close
	pulled  bool
	later   time.Duration
	closing chan struct{} // closed by close
}

func layCable(to string) (*cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cable{listener: l, to: to, ends: map[net.Conn]struct{}{}, whole: make(chan struct{}), closing: make(chan struct{})}
	close(c.whole)
	// goroutine: owner: cable; ends when close closes the listener
	c.work.Go(c.accept)
	return c, nil
}

func (c *cable) address() string { return c.listener.Addr().String() }

// accept takes connections of the node and makes one to the server for each.
func (c *cable) accept() {
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
		// goroutine: owner: cable; ends when one of the two ends is closed
		c.work.Go(func() { c.carry(near, far) })
		// goroutine: owner: cable; ends when one of the two ends is closed
		c.work.Go(func() { c.carry(far, near) })
	}
}

// keep notes an end so that unplug closes it; false: it is closed already.
func (c *cable) keep(end net.Conn) bool {
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
func (c *cable) drop(ends ...net.Conn) {
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

// queued bounds the pieces that wait: then the sender feels it, as over TCP.
const queued = 256

// carry passes bytes on in one direction.
func (c *cable) carry(from, to net.Conn) {
	defer c.drop(from, to)
	pieces := make(chan piece, queued)
	// goroutine: owner: carry; ends when pieces is closed, or the cable
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
		for range pieces { // the reader ends by the closed end; it must not wait for room
		}
	})
	defer close(pieces)
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{buf[:n], time.Now()}
		}
		if err != nil {
			return
		}
	}
}

// wait waits until a piece that was read at that time may go on; false: the cable
// ends.
func (c *cable) wait(at time.Time) bool {
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

// cut lets pieces wait (off) or go on. Connections stay open either way.
func (c *cable) cut(off bool) {
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

// unplug closes all ends, and those that are made until it is taken back.
func (c *cable) unplug(off bool) {
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

// delay holds for pieces whose wait has not begun.
func (c *cable) delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.later = d
}

func (c *cable) close() {
	close(c.closing)
	_ = c.listener.Close()
	c.unplug(true)
	c.work.Wait()
}

// String is the state, for people.
func (c *cable) String() string {
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
