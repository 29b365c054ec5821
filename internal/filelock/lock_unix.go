//go:build unix

// Package filelock locks files against other processes.
package filelock

import (
	"os"
	"syscall"
)

// Take takes f for this process, or fails at once when another one has it. The
// kernel frees it when f is closed or the process ends, however it ends.
func Take(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
