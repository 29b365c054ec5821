//go:build unix && !linux

package loopnode

import "syscall"

const lastSignal syscall.Signal = 31

func keptBySystem(syscall.Signal) bool { return false }
