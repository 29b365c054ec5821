package transportactors

import (
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Stats is what the transports of one loop hold in memory, in bytes unless said
// otherwise.
type Stats struct {
	Transports int // how many there are, datagram endpoints and pipes included
	Paused     int // how many of them have told their protocol to stop writing
	Output     int // what peers have not taken
	Elsewhere  int // writes from other goroutines and nodes that wait for a peer
	Unread     int // what Streams have received and their tasks have not read
	Cipher     int // TLS input that is not decrypted yet
	MostOutput int // the largest output of one transport
}

// StatsOf adds up what the transports of l hold. It costs nothing between two
// calls: it asks each transport. Loop goroutine of l.
func StatsOf(l *loopnode.Loop) (s Stats) {
	for _, m := range base.Members[measured](l) {
		h := m.stats()
		s.Transports++
		s.Paused += h.Paused
		s.Output += h.Output
		s.Elsewhere += h.Elsewhere
		s.Unread += h.Unread
		s.Cipher += h.Cipher
		s.MostOutput = max(s.MostOutput, h.Output)
	}
	return s
}

// measured is a transport of a socket or pipe that says what it holds.
type measured interface{ stats() Stats }

func (d *datagram) stats() Stats {
	return statsOf(d.flow, d.queue.size, d.target, nil)
}

func (c *conn) stats() Stats {
	if t, ok := c.top.(*tlsTransport); ok {
		return t.stats()
	}
	return statsOf(c.flow, c.queue.size, c.target, c.proto.value)
}

func (t *tlsTransport) stats() Stats {
	if t.top != nil {
		return t.top.stats()
	}
	s := statsOf(t.flow, t.WriteBufferSize(), t.target, t.proto.value)
	for u := t; u != nil; u, _ = u.lower.(*tlsTransport) {
		s.Cipher += len(u.in)
	}
	return s
}

func statsOf(f flow, output int, d *refTarget, protocol any) Stats {
	s := Stats{Output: output}
	if f.paused {
		s.Paused = 1
	}
	if d != nil {
		s.Elsewhere = int(max(d.posted.Load(), int64(d.waiting)))
	}
	if u, ok := protocol.(interface{ unreadBytes() int }); ok {
		s.Unread = u.unreadBytes()
	}
	return s
}

func (p *streamProtocol) unreadBytes() int { return len(p.unread) }
