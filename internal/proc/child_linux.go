package proc

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that this one started and nobody has reaped. Use it from
// one goroutine.
type Child struct {
	pid   int
	pidfd int // None where the kernel has none; Invariant: None once reaped
}

// Start starts a child and returns when it runs its program, or could not: then
// there is no child.
func Start(s Spec) (*Child, error) {
	pidfd := None
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: table(s.Files), Sys: s.Attr.system()}
	if !s.Slow {
		attr.Sys.PidFD = &pidfd
	}
	if s.Attr.Control != "" {
		group, err := os.Open(s.Attr.Control)
		if err != nil {
			return nil, err
		}
		defer group.Close()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Fd())
	}
	pid, err := syscall.ForkExec(s.Path, s.Args, attr)
	if err != nil {
		return nil, explain(s, err)
	}
	c := &Child{pid, pidfd}
	if _, err := c.waitable(unix.WNOHANG); err == unix.EINVAL || err == unix.ENOSYS {
		c.closeFD() // Why: before Linux 5.4 a pidfd cannot be waited for
	}
	return c, nil
}

func (a Attributes) system() *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{
		Setsid: a.Session, Setpgid: a.Lead || a.Group != 0, Pgid: a.Group, Chroot: a.Root, Pdeathsig: a.Death,
	}
	if a.User != nil {
		sys.Credential = &syscall.Credential{Uid: a.User.UID, Gid: a.User.GID, Groups: a.User.Groups}
	}
	return sys
}

// explain says whether it was the folder or the program.
func explain(s Spec, err error) error {
	if s.Dir != "" && s.Attr.Root == "" {
		if info, bad := os.Stat(s.Dir); bad != nil {
			return bad
		} else if !info.IsDir() {
			return &os.PathError{Op: "chdir", Path: s.Dir, Err: syscall.ENOTDIR}
		}
	}
	return &os.PathError{Op: "exec", Path: s.Path, Err: err}
}

// PID is the child's number, also after its end.
func (c *Child) PID() int { return c.pid }

// FD becomes readable when the child has ended; None when there is no such
// descriptor: then Wait in a goroutine.
func (c *Child) FD() int { return c.pidfd }

// waitable asks for the end without reaping.
func (c *Child) waitable(flags int) (bool, error) {
	var info unix.Siginfo
	kind, id := unix.P_PIDFD, c.pidfd
	if id == None {
		kind, id = unix.P_PID, c.pid
	}
	for {
		err := unix.Waitid(kind, id, &info, unix.WEXITED|unix.WNOWAIT|flags, nil)
		if err != unix.EINTR {
			return info.Signo != 0, err
		}
	}
}

// Wait blocks until the child has ended and does not reap it. Any goroutine,
// while no other reaps.
func (c *Child) Wait() { _, _ = c.waitable(0) } // a child that was stolen has ended, too

// WaitFor is Wait with a bound; it reports whether the child has ended.
func (c *Child) WaitFor(limit time.Duration) bool {
	end := time.Now().Add(limit)
	for {
		if done, err := c.waitable(unix.WNOHANG); done || err != nil {
			return true
		}
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		c.rest(left)
	}
}

// rest sleeps until the child may have ended.
func (c *Child) rest(limit time.Duration) {
	if c.pidfd == None {
		_, _ = unix.Poll(nil, 1)
		return
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(c.pidfd), Events: unix.POLLIN}}, int(limit.Milliseconds())+1)
}

// Reap takes the exit code of a child that has ended: -N when signal N killed
// it. done is false when it has not ended. ErrStolen is an end, too.
func (c *Child) Reap() (code int, done bool, err error) {
	ended, err := c.waitable(unix.WNOHANG)
	if err == nil && !ended {
		return 0, false, nil
	}
	var status unix.WaitStatus
	if err == nil {
		// Why: nobody else can get this pid before the next line, and waitid
		// keeps the status where only unsafe code can read it.
		for _, err = unix.Wait4(c.pid, &status, unix.WNOHANG, nil); err == unix.EINTR; {
			_, err = unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
		}
	}
	c.closeFD()
	switch {
	case err != nil:
		return 0, true, ErrStolen
	case status.Signaled():
		return -int(status.Signal()), true, nil
	}
	return status.ExitStatus(), true, nil
}

func (c *Child) closeFD() {
	if c.pidfd != None {
		_ = unix.Close(c.pidfd)
		c.pidfd = None
	}
}

// Signal sends sig to the child, also when it has ended and is not reaped; it
// must not be reaped.
func (c *Child) Signal(sig syscall.Signal) error {
	if c.pidfd != None {
		return unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
	}
	return unix.Kill(c.pid, sig)
}

// SignalGroup sends sig to the process group that the child leads. It must not
// be reaped: until then nobody else gets the group's number.
func (c *Child) SignalGroup(sig syscall.Signal) error { return unix.Kill(-c.pid, sig) }

// SignalGroup sends sig to the process group that the child with that number leads. Only
// while the child is not reaped: afterwards the number may be somebody else's.
func SignalGroup(pid int, sig syscall.Signal) error { return unix.Kill(-pid, sig) }
