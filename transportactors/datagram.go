package transportactors

import (
	"fmt"
	"net"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// datagram is the transport of a datagram socket. Owned by the loop goroutine.
type datagram struct {
	endpoint
	flow
	family sock.Family
	bursts bool // many datagrams are received with one call
	file   *socketFile
	queue  packets
	sender sock.Sender

	remote    sock.Name // the only address to send to, when there is one
	connected bool      // the kernel has it as well
	emptied   bool      // the input was empty once since it was connected

	memory      *burstMemory // the loop's; nil before the first event of a UDP socket
	gathers     bool         // inside receive: SendTo may gather
	segment     int          // below it datagrams may be segments; -1: not asked yet
	undelivered []packet     // received and not told: the protocol left a burst
}

// burst is how many datagrams one event receives, or sends from the queue,
// before others get their turn.
const burst = 64

// newDatagram makes the transport of s, which it owns from here on, also when it
// fails.
func newDatagram(s datagramSocket, p any) (*datagram, error) {
	d := &datagram{
		endpoint: endpoint{loop: s.loop, socket: Socket{kind: socketKind{}, number: int32(s.fd)}, proto: receiverOf(p), local: Addr{sock.LocalName(s.fd)}},
		flow:     newFlow(),
		family:   s.family, bursts: s.family.Bursts(),
		remote: s.remote, connected: s.connected,
		file: s.file, segment: -1,
	}
	d.socket.before = d.flush
	d.self, d.Calls = d, base.CallsOf(d)
	if s.connected && !s.remote.IsZero() {
		d.peer = Addr{s.remote}
	}
	if err := d.open(d.onReadable, d.onWritable); err != nil {
		s.file.remove(s.loop)
		return nil, err
	}
	return d, nil
}

// start queues ConnectionMade, then receiving, then ready.
func (d *datagram) start(ready func()) {
	d.loop.CallSoon(func() {
		if d.state >= stateLosing {
			return
		}
		d.told = true
		if d.proto.opened() != nil {
			d.Call("ConnectionMade", func() { d.proto.opened().ConnectionMade(d) })
		}
	})
	d.loop.CallSoon(d.updateWatch)
	d.loop.CallSoon(ready)
}

// updateWatch watches for what the state asks for.
func (d *datagram) updateWatch() {
	if d.state >= stateLosing {
		return
	}
	if err := d.watch.Set(d.told && d.state < stateClosing, len(d.queue.list) > 0); err != nil {
		d.broken(err)
	}
}

// onReadable receives what is there, at most a burst.
func (d *datagram) onReadable() {
	if d.bursts {
		d.receiveBurst()
		return
	}
	d.receiveEach()
}

// receiveEach receives one by one: the datagrams of a UNIX socket may be as large as
// the read buffer.
func (d *datagram) receiveEach() {
	buf := loopaccess.Of(d.loop).ReadBuffer()
	for range burst {
		if d.state >= stateClosing {
			return
		}
		n, from, err := sock.ReceiveFrom(d.socket.FD(), buf)
		switch {
		case err == nil && n > len(buf):
			d.refused(fmt.Errorf("a datagram of %d bytes from %s was dropped, the limit is %d: %w", n, Addr{from}, len(buf), errTooLong))
		case err == nil:
			d.tell(buf[:n:n], from)
		case sock.WouldBlock(err):
			return
		default:
			d.refused(err)
		}
	}
}

// tell hands one datagram to the protocol.
func (d *datagram) tell(p []byte, from sock.Name) {
	if d.proto.packets() != nil {
		d.Tell("DatagramReceived", func() { d.proto.packets().DatagramReceived(p, Addr{from}) })
	}
}

// refused tells the protocol what the system says, unless it is the end.
func (d *datagram) refused(err error) {
	switch {
	case sock.Lost(err):
		d.broken(err)
	case d.proto.errors() != nil:
		d.Tell("ErrorReceived", func() { d.proto.errors().ErrorReceived(err) })
	}
}

// broken ends an endpoint that cannot work any more.
func (d *datagram) broken(err error) {
	d.Fail(err)
	d.Report("Fatal error on a datagram endpoint", err)
}

func (d *datagram) Close() {
	if d.checkGoroutine("Close") != nil || d.state >= stateClosing {
		return
	}
	if d.flush(); d.state >= stateClosing { // by a protocol that was told an error
		return
	}
	d.enter(stateClosing)
	d.target.refuse(ErrClosed)
	if len(d.queue.list) == 0 {
		d.lose(nil)
		return
	}
	d.updateWatch()
}

// drop removes the file, too: while the descriptor is open no other file can have
// its inode's number.
func (d *datagram) drop() {
	d.queue = packets{}
	if d.gathers {
		d.memory.out.Clear()
	}
	d.file.remove(d.loop)
	d.file = nil
}

func (d *datagram) gone() {}

func (d *datagram) ending() error {
	if d.state >= stateClosing {
		return ErrClosed
	}
	return nil
}

func (d *datagram) LocalAddr() Addr { return addrOf[Addr](d.local) }

func (d *datagram) RemoteAddr() Addr { return Addr{d.remote} }

// addrOf is a as A; nothing when it is none.
func addrOf[A net.Addr](a net.Addr) A {
	out, _ := a.(A)
	return out
}

// String names the endpoint.
func (d *datagram) String() string { return d.describe("DatagramTransport") }
