//go:build unix

package admin

import (
	"os"
	"syscall"
)

// ownedByUs reports whether the file belongs to the user of this process. A folder of
// somebody else can be renamed or filled by that user, whatever its mode is.
func ownedByUs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
