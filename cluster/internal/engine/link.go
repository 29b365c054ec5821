package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Kind is what a Link carries. Its text is how logs name it.
type Kind string

// The kinds.
const (
	Control Kind = "control" // calls, answers, watches, signs of life
	Bulk    Kind = "bulk"    // bytes of streams
	Notices Kind = "notices" // what the server says about clients
)

// Link is one of the node's connections to NATS. It outlives the nats.Conn in it,
// which is replaced when the node's keys change:
//
//  1. a second connection is opened with the new keys, and subscribes to the same
//     subjects; what it receives waits;
//  2. publishing stops until the server has what was published on the first one,
//     and goes on on the second: the order of one publisher is kept;
//  3. the first one ends its subscriptions, its messages are handled, it is closed;
//  4. what waited at the second one is handled.
//
// Nothing is lost, and the order of one publisher is kept. A message that the
// server had for both connections between 1 and 3 is handled twice: whoever
// subscribes has to know a message that it had before.
//
// All methods are safe from any goroutine. None waits unless it takes a ctx; during
// step 2 Publish waits for the server's answer.
type Link struct {
	e    *Engine
	kind Kind

	gate sync.RWMutex // held for reading by who publishes, for writing in step 2
	conn *connection  // guarded by gate

	mu      sync.Mutex // guards what follows, and keeps Subscribe and the replacement apart
	subs    []*subscription
	dropped uint64 // by connections and subscriptions that are gone
	count   int    // of these
}

// connection is a nats.Conn and how far it is. Owned by its Link.
type connection struct {
	nats   *nats.Conn
	ready  chan struct{} // closed when messages may be handled
	closed chan struct{} // closed by nats.go when the connection is gone for good
	subs   []*nats.Subscription
}

// subscription is what to subscribe to again on the next connection.
type subscription struct {
	subject string
	handle  nats.MsgHandler
}

// current is the connection in use.
func (l *Link) current() *connection {
	l.gate.RLock()
	defer l.gate.RUnlock()
	return l.conn
}

// Servers is how many servers are known that the connection can move between.
func (l *Link) Servers() int { return len(l.current().nats.Servers()) }

// Publish sends data to a subject; with reply, NATS says there when nobody listens
// to the subject. It does not keep data. Errors: ErrDisconnected (nothing was
// sent), ErrClosed, nats.ErrMaxPayload.
func (l *Link) Publish(subject, reply string, data []byte) error {
	l.gate.RLock()
	defer l.gate.RUnlock()
	var err error
	if reply == "" {
		err = l.conn.nats.Publish(subject, data)
	} else {
		err = l.conn.nats.PublishRequest(subject, reply, data)
	}
	if err != nil {
		return publishError(err)
	}
	return nil
}

// publishError is natsError for what Publish of nats.go returns. It returns the error of
// a write that failed: the connection is lost, and nats.go notices that later. The end of
// the message was in that write, so the server does not have the whole of it. What was
// published before it, and returned nil, may be lost, too.
func publishError(err error) error {
	var write net.Error
	if errors.As(err, &write) || errors.Is(err, io.ErrClosedPipe) { // the latter in process
		return ErrDisconnected
	}
	return natsError(err)
}

// natsError gives the errors of nats.go about a connection that is gone the names of
// this package. Others pass, that of a ctx among them.
func natsError(err error) error {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ErrClosed
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return ErrDisconnected
	}
	return err
}

// Request publishes data and waits for one answer. nats.ErrNoResponders: nobody
// listens to the subject.
func (l *Link) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	msg, err := l.current().nats.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, natsError(err)
	}
	return msg.Data, nil
}

// Subscribe calls handle for each message of a subject, one after another, on a
// goroutine of the connection.
func (l *Link) Subscribe(subject string, handle nats.MsgHandler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscription{subject, handle}
	if err := l.subscribe(l.current(), s); err != nil {
		return err
	}
	l.subs = append(l.subs, s)
	return nil
}

// Unsubscribe ends a subscription that Subscribe made. A message that has arrived may still
// be handled.
func (l *Link) Unsubscribe(subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = slices.DeleteFunc(l.subs, func(s *subscription) bool { return s.subject == subject })
	c := l.current()
	c.subs = slices.DeleteFunc(c.subs, func(s *nats.Subscription) bool {
		if s.Subject != subject {
			return false
		}
		if n, err := s.Dropped(); err == nil && n > 0 {
			l.dropped += uint64(n)
		}
		_ = s.Unsubscribe() // a closed connection has none
		return true
	})
}

func (l *Link) subscribe(c *connection, s *subscription) error {
	sub, err := c.nats.Subscribe(s.subject, func(m *nats.Msg) {
		<-c.ready
		s.handle(m)
	})
	if err == nil {
		c.subs = append(c.subs, sub)
		err = sub.SetPendingLimits(l.e.cfg.PendingMessages, l.e.cfg.PendingBytes)
	}
	if err != nil {
		return fmt.Errorf("subscribing to %s: %w", s.subject, natsError(err))
	}
	return nil
}

// Ask measures how long the server takes to answer: it proves that this node is not
// cut off. Errors: ErrDisconnected at once when there is no connection, and ctx's.
func (l *Link) Ask(ctx context.Context) (time.Duration, error) {
	c := l.current()
	if !c.nats.IsConnected() {
		return 0, ErrDisconnected
	}
	begin := time.Now()
	if err := c.nats.FlushWithContext(ctx); err != nil {
		return 0, natsError(err)
	}
	return time.Since(begin), nil
}

// Connected reports whether there is a connection now.
func (l *Link) Connected() bool { return l.current().nats.IsConnected() }

// Server is the address in use, for people.
func (l *Link) Server() string { return l.current().nats.ConnectedUrlRedacted() }

// MaxPayload is what the server takes in one message.
func (l *Link) MaxPayload() int64 { return l.current().nats.MaxPayload() }

// Dropped is how many messages NATS dropped because they waited here for too long.
func (l *Link) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped + l.current().dropped()
}

// Replaced is how many times the link has moved to new keys.
func (l *Link) Replaced() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (c *connection) dropped() (sum uint64) {
	for _, s := range c.subs {
		if n, err := s.Dropped(); err == nil && n > 0 {
			sum += uint64(n)
		}
	}
	return sum
}

// replace moves the link to a new connection, see Link.
func (l *Link) replace(ctx context.Context) error {
	next, err := l.e.dial(ctx, l)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.subs {
		if err := l.subscribe(next, s); err != nil {
			next.close()
			return err
		}
	}
	if err := next.nats.FlushWithContext(ctx); err != nil {
		next.close()
		return err
	}
	l.gate.Lock()
	old := l.conn
	// An old connection that is lost has nothing left to wait for.
	_ = old.nats.FlushWithContext(ctx)
	l.conn = next
	l.gate.Unlock()
	l.dropped += old.dropped()
	l.count++
	overlap := time.NewTimer(replaceOverlap)
	defer overlap.Stop()
	select {
	case <-overlap.C:
	case <-ctx.Done():
	}
	old.drain(replaceWait)
	close(next.ready)
	return nil
}

// replaceOverlap is how long both connections stay subscribed. Why: the server looks up
// who gets a message before it hands it out. One that was looked up before the second
// connection subscribed, and is handed out after the first one unsubscribed, would
// reach neither; between the two a thread of the server may have to wait for a
// processor.
const replaceOverlap = 250 * time.Millisecond

// drain ends the subscriptions, lets what has arrived be handled for as long as
// limit, and closes.
func (c *connection) drain(limit time.Duration) {
	if c.nats.Drain() == nil { // else it is not connected
		end := time.NewTimer(limit)
		defer end.Stop()
		select {
		case <-c.closed:
		case <-end.C:
		}
	}
	c.nats.Close()
	<-c.closed
}

// close ends a connection whose messages nobody wants.
func (c *connection) close() {
	close(c.ready)
	c.nats.Close()
	<-c.closed
}
