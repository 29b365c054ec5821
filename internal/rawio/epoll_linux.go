package rawio

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Look takes what is ready in an epoll set, and does not wait. events has room for one
// at least.
func Look(epfd int, events []unix.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
