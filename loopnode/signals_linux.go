package loopnode

import "syscall"

const lastSignal syscall.Signal = 64

// keptBySystem: 32 to 34 are the C library's, for threads and credentials.
func keptBySystem(n syscall.Signal) bool {
	return n == syscall.SIGSTKFLT || n >= 32 && n <= 34
}
