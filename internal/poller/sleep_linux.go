package poller

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// sleeper is how the poller sleeps on its epoll set. There are two ways, because
// neither is right for both an idle loop and a busy one.
//
// Parked: the epoll set is registered in a second one, the gate, and the gate in
// Go's own poller; the goroutine parks there as it would in a read of a
// net.Conn. It keeps neither thread nor processor while it sleeps, so goroutines that
// the loop has just woken run at once on its processor, and an idle loop costs nothing.
//
// Raw: the goroutine blocks in epoll_wait. That answers traffic sooner and with
// fewer system calls, but the goroutine keeps its processor (P) until the
// runtime's monitor takes it away, and with it the goroutines in the processor's
// run queue. A call from a goroutine to the loop takes 45 µs then instead of 2.
//
// So the poller sleeps raw only after briskStreak short sleeps in a row that were
// all ended by descriptors; one long sleep, or one wake-up by a goroutine, and it
// parks again. Two rules bound what others wait meanwhile. Once per yieldEvery a
// raw sleep gives up the processor first, so that what is ready runs and timers
// of other goroutines fire. And where there is only one processor a raw sleep
// lasts rawMost at most. Without them a sleep of 1 ms elsewhere ended up to 10 ms
// late, which is when the monitor steps in.
//
// The gate is empty during a raw sleep. Why: Go's poller has a thread waiting in
// it as a rule, for a timer; with our set in it, that thread would wake for every
// event which the raw sleep takes anyway (with 64 connections a third more CPU).
//
// Figures: bench/blocking. Owned by the loop goroutine.
type sleeper struct {
	epfd   int
	file   *os.File // owns epfd
	gateFD int
	gate   *os.File           // owns gateFD
	gated  bool               // epfd is in the gate
	conn   syscall.RawConn    // the gate's
	look   func(uintptr) bool // bound once: a closure per sleep would allocate
	parks  bool               // false when Go's poller refuses the gate
	single bool               // there is one processor only
	brisk  int                // short sleeps in a row, ended by descriptors
	yield  time.Time          // when a raw sleep last gave up the processor
	events []unix.EpollEvent
	// n and err are what look found.
	n   int
	err error
}

const (
	// briskStreak is how many short sleeps make raw sleeping worth it.
	briskStreak = 8
	// short is below what an idle loop sleeps and above what traffic lets it.
	short = time.Millisecond
	// yieldEvery is how long raw sleeps may follow each other before one gives up
	// the processor.
	yieldEvery = 500 * time.Microsecond
	// rawMost is how long a raw sleep lasts where there is one processor. The alarm ends
	// it. Why not the timeout of epoll_wait: the kernel sets and takes back a timer for it on
	// each sleep, which in a virtual machine costs 10 µs, more than all the rest of an echo;
	// the alarm is set once for all sleeps that end before it rings.
	rawMost = time.Millisecond
)

// open makes a new epoll set, and leaves the former one to the caller.
func (s *sleeper) open() error {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	file := os.NewFile(uintptr(epfd), "epoll")
	gateFD, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		file.Close()
		return os.NewSyscallError("epoll_create1", err)
	}
	unix.SetNonblock(gateFD, true) // tells os.NewFile to use Go's poller
	gate := os.NewFile(uintptr(gateFD), "epoll gate")
	conn, err := gate.SyscallConn()
	if err != nil {
		return errors.Join(err, file.Close(), gate.Close())
	}
	s.epfd, s.file, s.gateFD, s.gate, s.gated, s.conn = epfd, file, gateFD, gate, false, conn
	s.parks = gate.SetReadDeadline(time.Time{}) == nil
	s.single = runtime.GOMAXPROCS(0) == 1
	return nil
}

func (s *sleeper) close() error { return errors.Join(s.file.Close(), s.gate.Close()) }

// setGate puts the set into the gate, or takes it out.
func (s *sleeper) setGate(in bool) error {
	if s.gated == in {
		return nil
	}
	op, ev := unix.EPOLL_CTL_DEL, unix.EpollEvent{Events: unix.EPOLLIN}
	if in {
		op = unix.EPOLL_CTL_ADD
	}
	if err := unix.EpollCtl(s.gateFD, op, s.epfd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.gated = in
	return nil
}

// poll looks, or sleeps raw for at most ms milliseconds (-1: for ever).
func (s *sleeper) poll(ms int) (int, error) {
	if ms == 0 {
		return rawio.Look(s.epfd, s.events)
	}
	return unix.EpollWait(s.epfd, s.events, ms)
}

// raw sleeps in epoll_wait, for at most ms milliseconds (-1: for ever) but maybe
// less; now is the time of the call.
func (s *sleeper) raw(ms int, now time.Time) (int, error) {
	if err := s.setGate(false); err != nil {
		return 0, err
	}
	if now.Sub(s.yield) >= yieldEvery {
		s.yield = now
		runtime.Gosched()
	}
	return s.poll(ms)
}

// park sleeps in Go's poller until something is in the set.
func (s *sleeper) park() (int, error) {
	if err := s.setGate(true); err != nil {
		return 0, err
	}
	if err := s.conn.Read(s.look); err != nil {
		return 0, err
	}
	return s.n, s.err
}

// sleep fills p.events. A timeout above 0 ends it by the alarm.
func (p *Poller) sleep(timeout time.Duration) (n int, err error) {
	if timeout == 0 {
		return p.poll(0)
	}
	ms := -1
	if timeout > 0 && p.alarm.set(timeout) != nil {
		ms = ceilMillis(timeout) // no timerfd to be had: late, but never early
	}
	start := time.Now()
	if p.parks && ms < 0 && p.brisk < briskStreak {
		n, err = p.park()
	} else {
		if p.single && p.parks && ms < 0 && p.alarm.set(rawMost) != nil {
			ms = ceilMillis(rawMost)
		}
		n, err = p.raw(ms, start)
	}
	if p.brisk++; time.Since(start) >= short {
		p.brisk = 0
	}
	return n, err
}

// bindLook makes what runs before every parking and after every unparking: it
// looks into the set and says whether the sleep is over.
//
// Why nothing is lost between look and park: Go's poller has forgotten older
// readiness before it calls look, and remembers what comes after.
func (s *sleeper) bindLook() {
	s.look = func(uintptr) bool {
		s.n, s.err = s.poll(0)
		return s.n != 0 || s.err != nil
	}
}

// ceilMillis rounds up, so that a timeout never ends early, and clips to what
// the kernel's int can hold.
func ceilMillis(d time.Duration) int {
	const most = 1<<31 - 1
	if d > most*time.Millisecond {
		return most
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}
