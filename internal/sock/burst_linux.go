package sock

import (
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
func (in *Inbox) From(i int) Name {
	n, _ := takeName(in.batch.Name(i)[:in.batch.NameLen(i)]) // fd is of a family of bursts
	return n
}

// messages is what an Outbox needs of the kernel.
type messages struct {
	encoder
	batch *rawio.Batch
	count []int // how many datagrams message i stands for
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
