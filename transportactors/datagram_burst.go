package transportactors

import (
	"bytes"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A readable UDP endpoint takes what is there with one call, recvmmsg, and hands it to
// its protocol one by one. What the protocol sends meanwhile on the same endpoint, its
// answers as a rule, is gathered and leaves with one call behind the last of them:
// equal datagrams to one peer as segments of one message (UDP_SEGMENT), others by
// sendmmsg.
//
// Nobody can tell, except that an answer leaves up to 63 callbacks later. Order is
// kept; each datagram that the system refuses is one ErrorReceived; what it does not
// take now is queued as if SendTo had met it. Whatever looks at the output or changes
// the socket sends first: Close, Abort, SetProtocol, WriteBufferSize and limits, socket
// options. A datagram that arrives alone is answered at once.

// burstMemory is the memory of the UDP endpoints of one loop, made by the first that
// receives. Owned by the loop goroutine.
type burstMemory struct {
	in  sock.Inbox
	out *sock.Outbox // Invariant: empty, except while an endpoint of the loop is in receive
}

type burstMemoryKey struct{}

const (
	// fewSlots is what a loop has room for at first, manySlots from the first call on
	// that fills it.
	fewSlots, manySlots = 4, 32
	// slotSize is how far slots are apart. Why more than a datagram: at distances of a
	// power of two all of them would share the same few lines of the cache. What no
	// datagram is long enough for is never touched, and takes no memory.
	slotSize = sock.MaxUDP + 1<<10
)

func burstMemoryOf(l *loopnode.Loop) *burstMemory {
	access := loopaccess.Of(l)
	m, ok := access.Attached(burstMemoryKey{}).(*burstMemory)
	if !ok {
		m = &burstMemory{out: sock.NewOutbox()}
		m.in.SetRoom(make([]byte, fewSlots*slotSize), slotSize)
		access.Attach(burstMemoryKey{}, m)
	}
	return m
}

// receiveBurst receives what is there, at most a burst.
func (d *datagram) receiveBurst() {
	if d.memory == nil {
		d.memory = burstMemoryOf(d.loop)
	}
	for left := burst; left > 0 && d.state < stateClosing && d.undelivered == nil; {
		room := min(left, d.memory.in.Room())
		n, err := d.memory.in.Receive(d.socket.FD(), room)
		switch {
		case err == nil:
			d.deliver(n)
		case sock.WouldBlock(err):
			d.emptied = true
			return
		default:
			n = 1
			d.refused(err)
		}
		left -= n
		if err == nil && n < room { // there was no more
			d.emptied = true
			return
		}
		if n == fewSlots && room == n && left > 0 {
			d.memory.in.SetRoom(make([]byte, manySlots*slotSize), slotSize)
		}
	}
}

// deliver tells the protocol what is in the first n slots.
func (d *datagram) deliver(n int) {
	told := 0
	d.gathers = n > 1
	// Why deferred: the protocol may leave by runtime.Goexit or a fatal panic.
	defer func() { d.delivered(told, n) }()
	for told < n && d.state < stateClosing {
		i := told
		told++
		from := d.remote
		// Why emptied: what came between bind and connect may be from anybody.
		if !d.connected || !d.emptied {
			from = d.memory.in.From(i)
		}
		d.tell(d.memory.in.At(i), from)
	}
	d.flush()
}

// delivered ends a burst of n datagrams of which told went to the protocol. The rest,
// when there is one, waits for turns of its own.
func (d *datagram) delivered(told, n int) {
	d.gathers = false
	if d.memory.out.Len() > 0 { // only after a Goexit or fatal panic
		if errs := d.sendGathered(); errs != nil {
			d.loop.CallSoon(func() { d.refusedAll(errs) })
		}
	}
	if told == n || d.state >= stateClosing {
		return
	}
	for i := told; i < n; i++ {
		from := d.memory.in.From(i)
		d.undelivered = append(d.undelivered, packet{bytes.Clone(d.memory.in.At(i)), from})
	}
	d.loop.CallSoon(d.tellUndelivered)
}

// tellUndelivered tells one of the datagrams that are kept, and the next in the next turn.
func (d *datagram) tellUndelivered() {
	if d.state >= stateClosing || len(d.undelivered) == 0 {
		return
	}
	p := d.undelivered[0]
	if d.undelivered = d.undelivered[1:]; len(d.undelivered) == 0 {
		d.undelivered = nil
	} else {
		d.loop.CallSoon(d.tellUndelivered)
	}
	d.tell(p.data, p.to)
}

// gather takes a datagram that may leave later. false: it may not, or has no room, and
// what was gathered has been sent.
func (d *datagram) gather(p []byte, to sock.Name) bool {
	if !d.gathers || len(d.queue.list) > 0 {
		return false
	}
	return d.memory.out.Add(p, to)
}

// makeRoom sends what is gathered unless n more bytes may join it. Why the high mark:
// everything gathered may have to wait in the queue, and SendTo has promised it.
func (d *datagram) makeRoom(n int) {
	if !d.gathers {
		return
	}
	if out := d.memory.out; !out.Fits(n) || out.Size()+n+(out.Len()+1)*headerSize > d.high {
		d.flush()
		// Why: with marks as low as that nothing is gathered.
		d.gathers = n+headerSize <= d.high
	}
}

// flush sends what is gathered and tells what the system refused of it.
func (d *datagram) flush() {
	if d.gathers && d.memory.out.Len() > 0 {
		d.refusedAll(d.sendGathered())
	}
}

func (d *datagram) refusedAll(errs []error) {
	for _, err := range errs {
		d.refused(err)
	}
}

// sendGathered sends what is gathered, queues what the kernel does not take now, and returns
// what it refused.
func (d *datagram) sendGathered() (refused []error) {
	out := d.memory.out
	if d.state >= stateLosing {
		out.Clear()
		return nil
	}
	if d.segment < 0 {
		d.segment = sock.Segments(d.socket.FD())
	}
	for next := 0; next < out.Len(); {
		var err error
		next, err = out.Send(d.socket.FD(), next, &d.segment)
		switch {
		case err == nil:
		case sock.WouldBlock(err):
			for ; next < out.Len(); next++ {
				d.queue.add(out.At(next))
			}
		case sock.Lost(err):
			refused, next = append(refused, err), out.Len()
		default:
			refused = append(refused, err)
			next++
		}
	}
	out.Clear()
	if len(d.queue.list) > 0 {
		d.updateWatch()
		d.checkHigh()
	}
	return refused
}

func (d *datagram) Abort() {
	if d.checkGoroutine("Abort") == nil {
		d.flush()
		d.Fail(nil)
	}
}

// SetProtocol sends first: errors of what the old protocol sent are its own.
func (d *datagram) SetProtocol(p any) {
	if d.checkGoroutine("SetProtocol") == nil {
		d.flush()
		d.endpoint.SetProtocol(p)
	}
}
