// Package sock is the part of the socket interface that transports need:
// non-blocking descriptors, addresses in and out, and the kernel's errors as
// they are. On systems other than Linux every call answers ErrUnsupported.
package sock

import (
	"errors"
	"io/fs"
	"syscall"
)

// ErrUnsupported: this system has no sockets for the loop yet.
var ErrUnsupported = errors.New("sockets on a loop are supported on Linux only")

// MaxPieces is how many pieces one Writev takes (IOV_MAX).
const MaxPieces = 1024

// ListenOptions says how a listening socket is made.
type ListenOptions struct {
	ReuseAddress bool
	ReusePort    bool
	KeepAlive    bool
	Mode         *fs.FileMode // of the file of a UNIX socket, at most; nil: as the umask says
}

// WouldBlock reports whether err only means: not now.
func WouldBlock(err error) bool {
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
}

// Exhausted reports whether err means that the process or the system has no
// descriptors or memory left, which time may heal.
func Exhausted(err error) bool {
	switch err {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return true
	}
	return false
}

// Unavailable reports whether err means that this machine does not have the
// address or its family at all.
func Unavailable(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}
