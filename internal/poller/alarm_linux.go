package poller

import (
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a timerfd in the epoll set: it ends a sleep with the precision of
// the kernel's high-resolution timers.
//
// Why not epoll_pwait2, which takes nanoseconds itself: x/sys has no wrapper,
// and calling it by number takes an unsafe pointer. A timerfd costs a system
// call only when the deadline moves to an earlier time, needs no argument on
// each wait, and has no timer slack (epoll's own timeouts are up to 50 µs late
// by design).
type alarm struct {
	fd    int   // -1 when the system has none; then Wait rounds up to milliseconds
	until int64 // when the timer expires, in ns since epoch; 0 when it is not armed
	epoch time.Time
	spec  unix.ItimerSpec // kept here so that passing its address allocates nothing
}

// grain is how much later than asked an armed alarm may expire without being set
// again: two readings of the clock for one deadline differ by about this.
const grain = int64(5 * time.Microsecond)

// set makes the alarm expire in at most d. An alarm armed for an earlier time is not
// changed: it costs one return of Wait without events at most, and setting it would
// cost a system call now.
func (a *alarm) set(d time.Duration) error {
	if a.fd < 0 {
		return unix.ENOSYS
	}
	now := int64(time.Since(a.epoch)) + 1 // never 0
	when := now + min(int64(d), math.MaxInt64-now)
	if a.until != 0 && a.until <= when+grain {
		return nil
	}
	a.spec.Value = unix.NsecToTimespec(int64(d))
	if err := unix.TimerfdSettime(a.fd, 0, &a.spec, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	a.until = when
	return nil
}

// open makes the timerfd. It happens in New and not when first needed: later it
// could get the number of a descriptor that was closed while registered, whose
// former owner would then change our registration.
func (a *alarm) open(p *Poller) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err == unix.ENOSYS {
		return nil // a sandbox without timerfd: timeouts round up to milliseconds
	}
	if err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if err := p.watch(fd, alarmSlot); err != nil {
		unix.Close(fd)
		return err
	}
	a.fd, a.epoch = fd, time.Now()
	return nil
}

// rewatch puts the alarm into a new epoll set.
func (a *alarm) rewatch(p *Poller) error {
	if a.fd < 0 {
		return nil
	}
	return p.watch(a.fd, alarmSlot)
}

// rang notes that the kernel's timer has expired.
func (a *alarm) rang() { a.until = 0 }

func (a *alarm) close() {
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
}
