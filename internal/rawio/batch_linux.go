package rawio

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NameSize is how much room a Batch has for a socket address: that of IPv6.
const NameSize = unix.SizeofSockaddrInet6

// Batch is the memory of a recvmmsg or sendmmsg: for each message a buffer of the
// caller's and a socket address. Owned by one goroutine.
//
// Invariant: messages[i] points at parts[i], names[i] and controls[i] of this Batch
// and at no other memory but the buffer that the caller gave; a Batch is never copied.
type Batch struct {
	messages []unix.Mmsghdr
	parts    []unix.Iovec
	names    [][NameSize]byte
	controls [][segmentSpace]byte
}

// segmentSpace is a control message with the uint16 of UDP_SEGMENT, padded as the
// kernel wants it.
const (
	wordSize     = int(unsafe.Sizeof(uintptr(0)))
	segmentSpace = (unix.SizeofCmsghdr+wordSize-1)&^(wordSize-1) + wordSize
)

// NewBatch has room for n messages, MostMessages at most.
func NewBatch(n int) *Batch {
	n = min(n, MostMessages)
	b := &Batch{
		messages: make([]unix.Mmsghdr, n), parts: make([]unix.Iovec, n),
		names: make([][NameSize]byte, n), controls: make([][segmentSpace]byte, n),
	}
	for i := range b.messages {
		b.messages[i].Hdr.Iov = &b.parts[i]
		b.messages[i].Hdr.Iovlen = 1
	}
	return b
}

// Len is how many messages it has room for.
func (b *Batch) Len() int { return len(b.messages) }

// SetBuffer says where message i is read into, or what is sent. The Batch keeps p
// until the next SetBuffer.
func (b *Batch) SetBuffer(i int, p []byte) {
	b.parts[i].Base = unsafe.SliceData(p)
	b.parts[i].SetLen(len(p))
}

// Name is the memory of the address of message i in the kernel's form; NameLen bytes
// of it are valid after Receive.
func (b *Batch) Name(i int) []byte { return b.names[i][:] }

// NameLen is how long the address of a received message is, 0 for none. Of one that
// has no room the end is cut off.
func (b *Batch) NameLen(i int) int { return min(int(b.messages[i].Hdr.Namelen), NameSize) }

// Size is how long received message i is; more than its buffer when its end was cut
// off and the kernel tells the whole length (MSG_TRUNC).
func (b *Batch) Size(i int) int { return int(b.messages[i].Len) }

// Receive takes up to n messages that are there and says how many.
func (b *Batch) Receive(fd, n int) (int, error) {
	for i := range b.messages[:n] {
		h := &b.messages[i].Hdr
		h.Name, h.Namelen = &b.names[i][0], NameSize
		h.Control = nil
		h.SetControllen(0)
	}
	got, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])), uintptr(n), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range b.messages[:got] {
		filled(unsafe.Slice(b.parts[i].Base, min(b.Size(i), int(b.parts[i].Len))))
	}
	return int(got), nil
}

// SetTarget says that message i goes to the address in the first n bytes of Name, 0:
// to the peer of the socket. Its buffer leaves as datagrams of segment bytes, the last
// one maybe shorter (UDP_SEGMENT); segment 0: as one.
func (b *Batch) SetTarget(i, n, segment int) {
	h := &b.messages[i].Hdr
	h.Name, h.Namelen = nil, uint32(n)
	if n > 0 {
		h.Name = &b.names[i][0]
	}
	h.Control = nil
	h.SetControllen(0)
	if segment > 0 {
		c := &b.controls[i]
		control(c, uint16(segment))
		h.Control = &c[0]
		h.SetControllen(segmentSpace)
	}
}

// control writes the control message UDP_SEGMENT into c, in the machine's order:
// its length in a word, level and type in 32 bits each, the size.
func control(c *[segmentSpace]byte, size uint16) {
	const length = segmentSpace - wordSize + 2
	if wordSize == 8 {
		binary.NativeEndian.PutUint64(c[:], uint64(length))
	} else {
		binary.NativeEndian.PutUint32(c[:], uint32(length))
	}
	binary.NativeEndian.PutUint32(c[wordSize:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(c[wordSize+4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(c[segmentSpace-wordSize:], size)
}

// Send sends messages from up to below to and says how many the kernel took. An error
// is that of message from; one of a later message comes with the next call.
func (b *Batch) Send(fd, from, to int) (int, error) {
	for i := from; i < to; i++ {
		released(unsafe.Slice(b.parts[i].Base, int(b.parts[i].Len)))
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[from])), uintptr(to-from), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
