//go:build unix

package loopnode

import "syscall"

// uncatchable: the kernel lets nobody catch KILL and STOP; os/signal does not
// pass on the faults, which Go's runtime turns into panics and crashes.
func uncatchable(n syscall.Signal) bool {
	switch n {
	case syscall.SIGKILL, syscall.SIGSTOP,
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSYS:
		return true
	}
	return keptBySystem(n)
}
