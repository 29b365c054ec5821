package sock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// Inbox receives UDP datagrams, many with one call. Owned by one goroutine; the zero
// Inbox has no room.
type Inbox struct {
	batch *rawio.Batch
	slots [][]byte
}

// SetRoom makes buf, cut into pieces of size bytes, what datagrams are received into.
func (in *Inbox) SetRoom(buf []byte, size int) {
	n := min(len(buf)/size, rawio.MostMessages)
	in.batch, in.slots = rawio.NewBatch(n), make([][]byte, n)
	for i := range in.slots {
		in.slots[i] = buf[i*size : i*size+MaxUDP : i*size+MaxUDP]
		in.batch.SetBuffer(i, in.slots[i])
	}
}

// Room is how many datagrams one call receives at most.
func (in *Inbox) Room() int { return len(in.slots) }

// Receive takes up to n of the datagrams that are there. They stay valid until the
// next call, or until somebody else uses the memory given to SetRoom.
func (in *Inbox) Receive(fd, n int) (int, error) { return in.batch.Receive(fd, min(n, in.Room())) }

// At is datagram i.
func (in *Inbox) At(i int) []byte {
	n := min(in.batch.Size(i), MaxUDP)
	return in.slots[i][:n:n]
}

// From is who sent datagram i.
func (in *Inbox) From(i int) Name { return decodeName(in.batch.Name(i)[:in.batch.NameLen(i)]) }

// messages is what an Outbox needs of the kernel.
type messages struct {
	encoder
	batch *rawio.Batch
	count []int // how many datagrams message i stands for
}

// encoder writes names in the kernel's form.
type encoder struct {
	zone  Name // the last name with a zone that was looked up …
	index uint32
}

func newMessages(n int) messages {
	return messages{batch: rawio.NewBatch(n), count: make([]int, n)}
}

// Segments is the limit below which datagrams of equal size may leave as one message
// (UDP_SEGMENT): 0 when fd is no UDP socket or the kernel cannot.
func Segments(fd int) int {
	if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT); err != nil {
		return 0
	}
	return MaxUDP
}

// Send sends the datagrams from first on, in order, and says up to which: err is that
// of the next one, or that no more can be sent now. Datagrams of equal size to the same
// peer that are smaller than *segment travel as one; where the way to the peer does not
// allow that, *segment becomes smaller.
func (o *Outbox) Send(fd, first int, segment *int) (next int, err error) {
	for next = first; next < len(o.packets); {
		n, count := o.prepare(next, *segment)
		sent, err := o.kernel.batch.Send(fd, 0, n)
		for _, c := range count[:sent] {
			next += c
		}
		if sent > 0 || err == unix.EINTR {
			continue
		}
		if count[0] > 1 && refusesSegments(err) {
			p, _ := o.At(next)
			*segment = len(p)
			continue
		}
		return next, err
	}
	return next, nil
}

// refusesSegments: larger than the way's MTU, or a device that cannot.
func refusesSegments(err error) bool {
	switch err {
	case unix.EINVAL, unix.EIO, unix.EMSGSIZE, unix.EOPNOTSUPP, unix.ENOPROTOOPT:
		return true
	}
	return false
}

// prepare makes messages of the datagrams from first on.
func (o *Outbox) prepare(first, segment int) (n int, count []int) {
	k := &o.kernel
	for i := first; i < len(o.packets); n++ {
		p, to := o.At(i)
		j := i + 1
		if len(p) > 0 && len(p) < segment && !to.AddrPort.Addr().IsMulticast() {
			j = o.run(i, len(p))
		}
		size := 0
		if j > i+1 {
			size = len(p)
		}
		k.batch.SetBuffer(n, o.buf[o.packets[i].end-len(p):o.packets[j-1].end])
		k.batch.SetTarget(n, k.encode(k.batch.Name(n), to), size)
		k.count[n] = j - i
		i = j
	}
	return n, k.count
}

// run is behind the last datagram that can travel as a segment with datagram i.
func (o *Outbox) run(i, size int) (j int) {
	to := o.packets[i].to
	for j = i + 1; j < len(o.packets); j++ {
		p := o.packets[j]
		n := p.end - o.packets[j-1].end
		if n == 0 || n > size || p.to != to {
			break
		}
		if n < size {
			return j + 1
		}
	}
	return j
}

// encode writes n in the kernel's form and returns how long that is.
func (k *encoder) encode(b []byte, n Name) int {
	ip := n.AddrPort.Addr()
	switch n.Family() {
	case IPv4:
		a := ip.As4()
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		binary.BigEndian.PutUint16(b[2:], n.AddrPort.Port())
		copy(b[4:8], a[:])
		clear(b[8:unix.SizeofSockaddrInet4])
		return unix.SizeofSockaddrInet4
	case IPv6:
		a := ip.As16()
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
		binary.BigEndian.PutUint16(b[2:], n.AddrPort.Port())
		clear(b[4:8])
		copy(b[8:24], a[:])
		binary.NativeEndian.PutUint32(b[24:], k.scope(n))
		return unix.SizeofSockaddrInet6
	}
	return 0
}

// scope is the number of the zone of n. Why kept: it costs a look at the interfaces.
func (k *encoder) scope(n Name) uint32 {
	if n.AddrPort.Addr().Zone() == "" {
		return 0
	}
	if n != k.zone {
		k.zone, k.index = n, scope(n.AddrPort.Addr().Zone())
	}
	return k.index
}

// decodeName reads the kernel's form of an IP address and port.
func decodeName(b []byte) Name {
	if len(b) < 2 {
		return Name{}
	}
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return Name{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))}
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		ip := zoned([16]byte(b[8:24]), binary.NativeEndian.Uint32(b[24:]))
		return Name{AddrPort: netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[2:]))}
	}
	return Name{}
}
