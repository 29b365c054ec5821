package transportactors

import (
	"bytes"
	"fmt"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
)

const errTooLong = syscall.EMSGSIZE

// packets is what the kernel has not taken yet: copies, in order.
type packets struct {
	list []packet
	size int // their bytes and headerSize for each, so that empty ones count
}

type packet struct {
	data []byte
	to   sock.Name
}

const headerSize = 8

func (q *packets) add(p []byte, to sock.Name) {
	q.list = append(q.list, packet{bytes.Clone(p), to})
	q.size += len(p) + headerSize
}

func (q *packets) pop() {
	q.size -= len(q.list[0].data) + headerSize
	q.list[0] = packet{}
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
}

func (d *datagram) SendTo(data []byte, to Addr) error {
	if err := d.checkGoroutine("SendTo"); err != nil {
		return err
	}
	d.makeRoom(len(data))
	if d.state >= stateClosing {
		return fmt.Errorf("%w: %s", ErrClosed, d)
	}
	name, err := d.destination(to.name)
	if err != nil {
		return err
	}
	if d.gather(data, name) {
		return nil
	}
	if len(d.queue.list) == 0 {
		err := d.send(data, name)
		switch {
		case err == nil:
			return nil
		case !sock.WouldBlock(err):
			d.refused(err)
			if d.state >= stateLosing && sock.Lost(err) {
				return fmt.Errorf("%w: %w", ErrClosed, err)
			}
			return nil
		}
	}
	// Why the endpoint goes on: it has other peers than the one that reads nothing.
	if err := d.flow.admits(d.queue.size, len(data)+headerSize); err != nil {
		return err
	}
	d.queue.add(data, name)
	d.updateWatch()
	d.checkHigh()
	return nil
}

func (d *datagram) Write(data []byte) error { return d.SendTo(data, Addr{}) }

// destination is where a datagram for to really goes; zero: the kernel knows.
func (d *datagram) destination(to sock.Name) (sock.Name, error) {
	switch {
	case !to.IsZero() && (d.connected || !d.remote.IsZero()) && !d.sameTarget(to, d.remote):
		return to, invalid("address must be none or the remote one: the endpoint is connected to %s and cannot send to %s", Addr{d.remote}, Addr{to})
	case d.connected:
		return sock.Name{}, nil
	case to.IsZero():
		to = d.remote
	}
	if to.Family() == 0 {
		return to, invalid("SendTo needs an address: %s has no remote one", d)
	}
	own, reached := d.family.Reaches(to)
	if !reached {
		return to, invalid("address %s is of another family than %s", Addr{to}, d)
	}
	if err := own.Check(); err != nil {
		return to, invalid("%v", err)
	}
	return own, nil
}

// sameTarget compares two addresses in the form that d's socket talks to.
func (d *datagram) sameTarget(a, b sock.Name) bool {
	a, _ = d.family.Reaches(a)
	b, _ = d.family.Reaches(b)
	return a == b
}

func (d *datagram) send(p []byte, to sock.Name) error {
	if to.IsZero() {
		return sock.Send(d.socket.FD(), p)
	}
	return d.sender.SendTo(d.socket.FD(), p, to)
}

// onWritable sends what waits. After a datagram that the system refuses the
// rest waits for the next event.
func (d *datagram) onWritable() {
	for range burst {
		if d.state >= stateLosing || len(d.queue.list) == 0 {
			break
		}
		next := d.queue.list[0]
		err := d.send(next.data, next.to)
		if err != nil && sock.WouldBlock(err) {
			break
		}
		d.queue.pop()
		if err != nil {
			d.refused(err)
			break
		}
	}
	d.checkLow()
	if d.state >= stateClosing && len(d.queue.list) == 0 {
		d.lose(nil)
	}
	d.updateWatch()
}

func (d *datagram) checkHigh() {
	if d.state >= stateLosing || !d.flow.pause(d.queue.size) {
		return
	}
	d.target.setFull(true)
	d.logPause(d.loop, d, d.queue.size)
	if d.proto.pauser() != nil {
		d.Tell("PauseWriting", d.proto.pauser().PauseWriting)
	}
}

func (d *datagram) checkLow() {
	if d.state >= stateLosing || !d.flow.resume(d.queue.size) {
		return
	}
	d.target.setFull(false)
	if d.proto.pauser() != nil {
		d.Tell("ResumeWriting", d.proto.pauser().ResumeWriting)
	}
}

func (d *datagram) SetWriteBufferLimits(high, low int) error {
	err := d.checkGoroutine("SetWriteBufferLimits")
	if err == nil {
		d.flush()
		err = d.limit(high, low)
	}
	if err == nil {
		d.checkHigh()
	}
	return err
}

func (d *datagram) WriteBufferLimits() (high, low int) { return d.high, d.low }

func (d *datagram) WriteBufferSize() int {
	d.flush()
	return d.queue.size
}
