package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu is processor time of a process.
type cpu struct {
	total time.Duration // by the scheduler, to the nanosecond
	user  float64       // ticks of 10 ms in which the tick found it in user code …
	all   float64       // … and in either: only their ratio is used
}

// spent reads what a process has used up to now, by its living threads.
func spent(pid int) (c cpu, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return c, fmt.Errorf("process %d is gone: %w", pid, err)
	}
	for _, name := range threads {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has just ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			return c, err
		}
		c.total += time.Duration(ns)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err1 != nil || err2 != nil {
		return c, fmt.Errorf("unreadable: %q", b)
	}
	c.user, c.all = user, user+system
	return c, nil
}

// since is what was used between two readings: all of it, and the part in user code.
func (c cpu) since(before cpu) (total, user time.Duration) {
	total = c.total - before.total
	if ticks := c.all - before.all; ticks > 0 {
		user = time.Duration(float64(total) * (c.user - before.user) / ticks)
	}
	return total, user
}
