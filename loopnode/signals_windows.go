package loopnode

import "syscall"

const lastSignal syscall.Signal = 15

// uncatchable: Windows knows Ctrl-C and the end of the session, nothing else.
func uncatchable(n syscall.Signal) bool { return n != syscall.SIGINT && n != syscall.SIGTERM }
