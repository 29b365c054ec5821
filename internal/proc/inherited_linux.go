package proc

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// inherited are the descriptors above the standard ones that this process got
// from its parent without the close-on-exec flag: everything else here has it.
// Children do not get them either, unless they are given them.
var inherited = sync.OnceValue(func() (list []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
})

// table is the child's descriptors by number, with those it must not get.
func table(files []int) []uintptr {
	n := len(files)
	for _, fd := range inherited() {
		n = max(n, fd+1)
	}
	t := make([]uintptr, n)
	for i := range t {
		t[i] = ^uintptr(0)
		if i < len(files) && files[i] != None {
			t[i] = uintptr(files[i])
		}
	}
	return t
}
