package rawio

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive reads what is there of a stream socket; 0: the peer ended its output.
// EAGAIN when nothing is there, ENOTSOCK for anything but a socket.
func Receive(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	filled(p[:n])
	return int(n), nil
}

// ReceiveFrom takes one datagram, or what is there of a stream, and writes who sent it
// into name, as Accept does. flags are MSG_…; with MSG_TRUNC n is the whole length of
// a datagram whose end was cut off.
func ReceiveFrom(fd int, p, name []byte, flags int) (n, size int, err error) {
	room := uint32(len(name))
	got, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags|unix.MSG_DONTWAIT), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(unsafe.Pointer(&room)))
	if errno != 0 {
		return -1, 0, errno
	}
	filled(p[:min(int(got), len(p))])
	return int(got), min(int(room), len(name)), nil
}

// Send writes what a stream socket takes at once, or one datagram to the peer of a
// connected socket. EPIPE, and no signal, when nobody reads.
func Send(fd int, p []byte) (int, error) { return SendTo(fd, p, nil) }

// SendTo is Send of a datagram to the socket address name, in the kernel's form; nil:
// to the peer.
func SendTo(fd int, p, name []byte) (int, error) {
	released(p)
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	var n uintptr
	var errno syscall.Errno
	if size := uintptr(len(p)); size <= Most {
		n, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), size, flags, uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
	} else {
		n, _, errno = syscall.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), size, flags, uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
	}
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
