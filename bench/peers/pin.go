package main

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// pinning keeps the servers on one processor and the load on another, so that
// neither takes time from the other, and the load, which never sleeps, wakes nobody
// on the server's. Off where there is one processor or no taskset, or by -unpinned.
type pinning struct{ on bool }

func pinIf(wanted bool) pinning {
	var set unix.CPUSet
	_, err := exec.LookPath("taskset")
	return pinning{wanted && err == nil && unix.SchedGetaffinity(0, &set) == nil && set.IsSet(0) && set.IsSet(1)}
}

func (p pinning) server(args []string) []string { return p.to("0", args) }
func (p pinning) load(args []string) []string   { return p.to("1", args) }

func (p pinning) to(cpu string, args []string) []string {
	if !p.on {
		return args
	}
	return append([]string{"taskset", "-c", cpu}, args...)
}

func (p pinning) String() string {
	if p.on {
		return "servers on processor 0, the load on processor 1"
	}
	return "not pinned"
}
