package process

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// Why control groups at all, beside sessions and setrlimit: a limit of setrlimit is for each
// process alone, so a child that forks has as many times the memory; and a process that calls
// setsid leaves the process group, so nobody finds it any more. Neither is so in a control
// group: the kernel counts its processes together, and no process leaves it by itself.
//
// Why version 2 only: version 1 has a tree for each controller and no cgroup.kill.
//
// The life of a group: it is made before the child starts, and the kernel puts the child into it
// while it makes it (CLONE_INTO_CGROUP), so there is no moment in which the child is outside.
// When the child has ended, what is left in the group is killed, and the folder goes as soon as
// the kernel has let the last process go. What a node that was killed itself has left in a
// group is not found: the kernel ends the child (its death signal), and the folder stays.

// checkGroup refuses what could only fail later. Whether the machine has the group is not
// looked at here but at each start: it may be made, or taken away, while the node runs.
func checkGroup(p *profile) error {
	g := p.Group
	switch {
	case g == Group{}:
	case g.Parent == "":
		return fmt.Errorf("group has limits and no parent: give the folder of a control group, as /sys/fs/cgroup/loopmesh")
	case !filepath.IsAbs(g.Parent) || filepath.Clean(g.Parent) != g.Parent:
		return fmt.Errorf("the parent %q of group has . or .. in it, or is no absolute path", g.Parent)
	case g.Memory < 0 || g.Processes < 0:
		return fmt.Errorf("a limit of group is negative: 0 is for none")
	case !(g.CPU == 0 || g.CPU >= leastCPU && g.CPU <= mostCPU):
		return fmt.Errorf("the cpu of group is %v: give %v to %v processors, or 0 for no limit", g.CPU, leastCPU, mostCPU)
	}
	return nil
}

const (
	leastCPU, mostCPU = 0.01, 10_000.0
	cpuPeriod         = 100 * time.Millisecond // the kernel's own
)

// limit is a file of a control group and what is written to it.
type limit struct{ controller, file, text string }

// limits are the files that this group needs.
func (g Group) limits() (out []limit) {
	if g.Memory > 0 {
		out = append(out, limit{"memory", "memory.max", strconv.FormatInt(g.Memory, 10)}, limit{"memory", "memory.oom.group", "1"})
	}
	if g.Processes > 0 {
		out = append(out, limit{"pids", "pids.max", strconv.Itoa(g.Processes)})
	}
	if g.CPU > 0 {
		out = append(out, limit{"cpu", "cpu.max", fmt.Sprintf("%d %d", int64(g.CPU*float64(cpuPeriod.Microseconds())), cpuPeriod.Microseconds())})
	}
	return out
}

func noGroup(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNoGroup}, args...)...)
}

// enclose makes the child's group, when its profile has one. It writes some small files of the
// kernel's, which takes microseconds; so it is done on the loop, and there is no moment in
// which a group belongs to nobody. Loop goroutine.
func (c *child) enclose() (err error) {
	if c.profile.Group == (Group{}) {
		return nil
	}
	if c.control, err = openGroup(c.profile.Group, fmt.Sprintf("loopmesh-%s-%s-%d", c.host.node.Name(), c.profile.Name, c.id)); err == nil {
		c.host.groups.Add(1)
	}
	return err
}

// Times of a group that is over: its folder can go when the kernel has let go the last
// process, some milliseconds after it was killed.
const (
	dissolveFirst = 2 * time.Millisecond
	dissolveMost  = time.Second
	dissolveTimes = 20
)

// dissolve kills what is left of the child's group, and removes it. Twice is harmless.
// Loop goroutine.
func (c *child) dissolve() {
	g := c.control
	if g == nil {
		return
	}
	c.control = nil
	pause, left := dissolveFirst, dissolveTimes
	var remove func()
	remove = func() {
		killed := g.kill()
		err := g.remove()
		if left--; err != nil && left > 0 {
			pause = min(2*pause, dissolveMost)
			c.host.loop.CallLater(pause, remove)
			return
		}
		c.host.groups.Add(-1)
		if err != nil {
			c.host.log.Warn("a control group could not be removed; it is left there", "process", c.name(), "group", g.path, "kill", killed, "error", err)
		}
	}
	remove()
}
