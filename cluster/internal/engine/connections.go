package engine

import (
	"context"
	"time"
)

// What a person wants to know of a connection that is slow: whether it is there, how far the
// server is, and what waits at its two ends. Here waits what has come and was not handled yet
// (nats.go drops what is too much of it), and what the socket has not taken.

// Connection is how one of the node's connections to NATS is. What is counted is of the
// connection in use now; what was dropped is of all that the link has had.
type Connection struct {
	Kind      Kind
	Connected bool
	Server    string        // its address, without a password
	RTT       time.Duration // to the server and back; 0: it did not answer in time
	// What has come and is not handled yet, and the subject with most of it.
	PendingMessages, PendingBytes int
	Slowest                       string
	Unsent                        int    // bytes that wait for the socket
	Dropped                       uint64 // messages that waited here for too long
	In, Out                       uint64 // messages
}

// Why at the moment when somebody asks? nats.go has these numbers anyway, and the time to
// the server is measured by an empty flush, which every connection may make at any time.
//
// Connections asks the server of each connection in turn, until ctx ends.
func (e *Engine) Connections(ctx context.Context) (out []Connection) {
	for _, l := range []*Link{e.control, e.bulk, e.notices} {
		if l != nil {
			out = append(out, l.look(ctx))
		}
	}
	return out
}

// look is one of them. The server is asked before the lock is taken: an answer that does not come
// must keep no subscription waiting.
func (l *Link) look(ctx context.Context) Connection {
	d := Connection{Kind: l.kind, Connected: l.Connected(), Dropped: l.Dropped()}
	if rtt, err := l.Ask(ctx); err == nil {
		d.RTT, d.Server = max(rtt, 1), l.Server()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.current()
	stats := c.nats.Stats()
	d.In, d.Out = stats.InMsgs, stats.OutMsgs
	d.Unsent, _ = c.nats.Buffered() // of a connection that is closed: none
	most := 0
	for _, s := range c.subs {
		messages, bytes, err := s.Pending()
		if err != nil {
			continue // it has ended
		}
		d.PendingMessages += messages
		d.PendingBytes += bytes
		if messages > most {
			most, d.Slowest = messages, s.Subject
		}
	}
	return d
}
