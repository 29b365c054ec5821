package nodecmd

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// descriptorLimit is how many files a process may have open now, and could ask for.
func descriptorLimit() (soft, hard uint64, err error) {
	var l unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur, l.Max, err
}

// clockSynced asks the kernel whether somebody keeps the clock (NTP sets that state).
func clockSynced() (bool, error) {
	var t unix.Timex // modes 0: it only reads
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR, err
}

// diskRoom is how much may be written to the disk of a folder, and whether it is memory.
func diskRoom(dir string) (free uint64, inMemory bool, err error) {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
	}
	var s unix.Statfs_t
	err = unix.Statfs(dir, &s)
	return s.Bavail * uint64(s.Bsize), s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC, err
}
