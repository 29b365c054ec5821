package sock

import (
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

const kind = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// Dial makes a stream socket, binds it to local when that is not nil, and
// begins to connect it to a. done: it is connected already; otherwise it is
// when the descriptor becomes writable and Failure is nil.
func Dial(a, local net.Addr) (fd int, done bool, err error) {
	to, err := NameOf(a)
	if err != nil {
		return -1, false, err
	}
	fd, err = unix.Socket(to.Family().Domain(), kind, 0)
	if err != nil {
		return -1, false, err
	}
	if err = bindLocal(fd, to.Family(), local); err == nil {
		err = connect(fd, to)
	}
	switch err {
	case nil:
		return fd, true, nil
	case unix.EINPROGRESS, unix.EINTR: // Why: an interrupted connect goes on by itself
		return fd, false, nil
	}
	_ = unix.Close(fd)
	return -1, false, err
}

func bindLocal(fd int, f Family, local net.Addr) error {
	if local == nil {
		return nil
	}
	from, err := NameOf(local)
	if err != nil {
		return err
	}
	if from.Family() != f {
		return unix.EAFNOSUPPORT
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return bind(fd, from)
}

// Failure takes the error that waits on fd (SO_ERROR).
func Failure(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// OpenListener makes a stream socket that has the address a and does not listen yet.
func OpenListener(a net.Addr, o ListenOptions) (int, error) {
	at, err := NameOf(a)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(at.Family().Domain(), kind, 0)
	if err != nil {
		return -1, err
	}
	if err := listenOptions(fd, at.Family().row(), o); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if err := bind(fd, at); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func listenOptions(fd int, f *family, o ListenOptions) error {
	if f.paths && o.Mode != nil {
		if err := SetMode(fd, *o.Mode); err != nil {
			return err
		}
	}
	set := slices.Clone(f.listening)
	for _, asked := range []struct {
		on   bool
		name int
	}{{o.ReuseAddress, unix.SO_REUSEADDR}, {o.ReusePort, unix.SO_REUSEPORT}, {o.KeepAlive, unix.SO_KEEPALIVE}} {
		if f.ports && asked.on {
			set = append(set, sockOption{unix.SOL_SOCKET, asked.name})
		}
	}
	for _, opt := range set {
		if err := unix.SetsockoptInt(fd, opt.level, opt.name, 1); err != nil {
			return err
		}
	}
	return nil
}

// Listen lets clients in, backlog of them before Accept.
func Listen(fd, backlog int) error { return unix.Listen(fd, backlog) }

// Accept takes one client, non-blocking, and tells its IP address and port; not valid
// for a client that has none.
func Accept(fd int) (int, netip.AddrPort, error) {
	var name [rawio.NameSize]byte
	client, n, err := rawio.Accept(fd, name[:])
	from, _ := takeName(name[:n]) // the listener's family is known
	return client, from.AddrPort, err
}

// Adopt makes a stream socket of somebody else usable here: non-blocking.
func Adopt(fd int) error {
	if err := expect(fd, unix.SOCK_STREAM); err != nil {
		return err
	}
	if _, err := familyOfSocket(fd); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

// Unread is how many bytes wait to be read; 0 when the kernel does not tell.
func Unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// Read reads what is there of any file.
func Read(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

// ReadStream is Read of a stream socket, for less: see package rawio.
func ReadStream(fd int, p []byte) (int, error) { return rawio.Receive(fd, p) }

// WriteStream is Write to a stream socket, for less: see package rawio.
func WriteStream(fd int, p []byte) (int, error) { return rawio.Send(fd, p) }

// Write writes what fits into any file. To a broken pipe or socket it is EPIPE:
// only package os ends the program for a broken standard output.
func Write(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// Writev writes what fits of at most MaxPieces pieces.
func Writev(fd int, pieces [][]byte) (int, error) {
	return unix.Writev(fd, pieces[:min(len(pieces), MaxPieces)])
}

// CloseWrite ends the output half.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Close closes the descriptor. Call it once: the number is somebody else's then.
func Close(fd int) error { return unix.Close(fd) }
