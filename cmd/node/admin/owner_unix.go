//go:build unix

package admin

import (
	"os"
	"syscall"
)

// ownedByUs reports whether the file is this user's.
func ownedByUs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
