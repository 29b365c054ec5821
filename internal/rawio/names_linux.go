package rawio

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept takes a client of a listening socket, non-blocking and closed by exec, and
// writes its address into name in the kernel's form: n bytes, those that have no room
// are cut off.
//
// Why an ordinary call: there is no MSG_DONTWAIT for it, and a listener whose
// non-blocking flag somebody took off would hold the processor for ever. What it saves
// is the memory of the wrappers, and x/sys's question for the protocol.
func Accept(fd int, name []byte) (client, n int, err error) {
	size := uint32(len(name))
	got, _, errno := syscall.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, 0, errno
	}
	return int(got), min(int(size), len(name)), nil
}

// LocalName writes the address of the socket itself into name, as Accept does.
func LocalName(fd int, name []byte) (n int, err error) {
	size := uint32(len(name))
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return min(int(size), len(name)), nil
}

// PeerName writes the address of the other end into name, as Accept does.
func PeerName(fd int, name []byte) (n int, err error) {
	size := uint32(len(name))
	_, _, errno := syscall.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return min(int(size), len(name)), nil
}

// Bind gives a socket the address name, in the kernel's form. Why an ordinary call: a
// UNIX socket makes a file.
func Bind(fd int, name []byte) error { return withName(unix.SYS_BIND, fd, name) }

// Connect begins to connect a socket to the address name, or makes it the only peer of
// a datagram socket. Why an ordinary call: a socket that blocks would wait.
func Connect(fd int, name []byte) error { return withName(unix.SYS_CONNECT, fd, name) }

func withName(call uintptr, fd int, name []byte) error {
	_, _, errno := syscall.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(len(name)))
	if errno != 0 {
		return errno
	}
	return nil
}
