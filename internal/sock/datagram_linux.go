package sock

import (
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// OpenDatagram makes a non-blocking datagram socket.
func OpenDatagram(f Family) (int, error) {
	row := f.row()
	if row == nil {
		return -1, unknownFamily(0)
	}
	return unix.Socket(row.domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// AdoptDatagram makes a datagram socket of somebody else usable here and tells
// what it is: its family, and whether it is connected.
func AdoptDatagram(fd int) (f Family, connected bool, err error) {
	if err := expect(fd, unix.SOCK_DGRAM); err != nil {
		return 0, false, err
	}
	f, err = familyOfSocket(fd)
	if err != nil {
		return 0, false, err
	}
	return f, Connected(fd), unix.SetNonblock(fd, true)
}

// expect answers EPROTOTYPE unless fd is a socket of that type.
func expect(fd, kind int) error {
	t, err := Type(fd)
	if err == nil && t != kind {
		return unix.EPROTOTYPE
	}
	return err
}

// Bind gives fd the address n.
func Bind(fd int, n Name) error { return bind(fd, n) }

// ConnectDatagram makes n the only peer of fd.
func ConnectDatagram(fd int, n Name) error { return connect(fd, n) }

// SetReusePort lets several sockets have one address.
func SetReusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// SetBroadcast allows broadcast addresses.
func SetBroadcast(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
}

// Sender sends datagrams and keeps the memory for the kernel's form of an address, so
// that sending does not allocate. Owned by one goroutine.
type Sender struct {
	encoder
	name [maxName]byte
}

// Send sends one datagram to the peer that fd is connected to.
func Send(fd int, p []byte) error {
	_, err := rawio.Send(fd, p)
	return err
}

// SendTo sends one datagram to n.
func (s *Sender) SendTo(fd int, p []byte, n Name) error {
	size := s.encode(s.name[:], n)
	if size == 0 {
		return notWritten(n)
	}
	_, err := rawio.SendTo(fd, p, s.name[:size])
	return err
}

// ReceiveFrom takes one datagram and tells its whole length, which is more than
// len(p) when its end was cut off, and who sent it.
// It allocates: see Inbox for what needs to be quick.
func ReceiveFrom(fd int, p []byte) (int, Name, error) {
	return receiveFrom(fd, p, unix.MSG_TRUNC)
}

func isLost(err error) bool { return err == unix.EBADF || err == unix.ENOTSOCK }
