//go:build linux || darwin

package admin

import (
	"os"

	"golang.org/x/sys/unix"
)

// The folder /dev/fd has an entry for each open descriptor of the process that looks.
// descriptors are how many files this process has open, and how many it may. 0 and 0 when
// the kernel does not tell: then nobody can say that they are used up.
func descriptors() (open, most int) {
	var limit unix.Rlimit
	all, err := os.ReadDir("/dev/fd")
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, 0
	}
	return len(all) - 1, int(min(limit.Cur, 1<<31-1)) // not the one that reads the folder
}
