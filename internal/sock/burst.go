package sock

import "slices"

// MaxUDP is the room that any UDP datagram fits into.
const MaxUDP = 1 << 16

// Outbox gathers UDP datagrams of one socket, so that many leave with one call.
// Owned by one goroutine. The zero Outbox has no room; make one with NewOutbox.
type Outbox struct {
	buf     []byte // the datagrams, one behind the other; its capacity is all there is
	packets []posted
	kernel  messages
}

// posted is one datagram: it ends at end, and begins where the one before ends.
type posted struct {
	end int
	to  Name // zero: the peer of the socket
}

// outboxPackets and outboxBytes are the room of an Outbox. Why that many bytes: it is
// what one call sends in segments.
const (
	outboxPackets = 64
	outboxBytes   = 65000
)

// NewOutbox is an empty one.
func NewOutbox() *Outbox {
	return &Outbox{buf: make([]byte, 0, outboxBytes), packets: make([]posted, 0, outboxPackets), kernel: newMessages(outboxPackets)}
}

// Len is how many datagrams are in it, Size their bytes.
func (o *Outbox) Len() int { return len(o.packets) }

// Size is the bytes of all datagrams in it.
func (o *Outbox) Size() int { return len(o.buf) }

// Fits reports whether a datagram of n bytes has room.
func (o *Outbox) Fits(n int) bool {
	return len(o.packets) < cap(o.packets) && n <= cap(o.buf)-len(o.buf)
}

// Add copies a datagram into it. false: there is no room.
func (o *Outbox) Add(p []byte, to Name) bool {
	if !o.Fits(len(p)) {
		return false
	}
	o.buf = append(o.buf, p...)
	o.packets = append(o.packets, posted{len(o.buf), to})
	return true
}

// At is datagram i, valid until Clear.
func (o *Outbox) At(i int) ([]byte, Name) {
	begin := 0
	if i > 0 {
		begin = o.packets[i-1].end
	}
	p := o.packets[i]
	return o.buf[begin:p.end:p.end], p.to
}

// Clear empties it.
func (o *Outbox) Clear() {
	o.buf, o.packets = o.buf[:0], slices.Delete(o.packets, 0, len(o.packets))
}
