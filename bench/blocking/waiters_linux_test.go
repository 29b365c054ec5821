package blocking

import (
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/internal/poller"
	"golang.org/x/sys/unix"
)

// waiter is one way to sleep on an epoll set: wait fills events and returns how
// many, sleeping at most until the set reports something.
type waiter interface {
	wait() int
	close()
}

// set is the epoll set that all candidates share.
type set struct {
	epfd   int
	events [256]unix.EpollEvent
	wakeFD int
	poller *poller.Poller // instead of epfd in one candidate
	woken  atomic.Bool    // that one's wake-ups have no descriptor
}

func newSet(b testing.TB) *set {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(b, err)
	return &set{epfd: epfd}
}

func (s *set) add(b testing.TB, fd int, bits uint32) {
	if s.poller != nil {
		_, err := s.poller.Add(fd, poller.Readable, int32(fd))
		must(b, err)
		return
	}
	must(b, unix.EpollCtl(s.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: bits, Fd: int32(fd)}))
}

// wakeable gives the set what goroutines wake it by: an eventfd, never read.
func (s *set) wakeable(b testing.TB) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	must(b, err)
	b.Cleanup(func() { unix.Close(fd) })
	if s.wakeFD = fd; s.poller == nil {
		s.add(b, fd, unix.EPOLLIN|unix.EPOLLET)
	}
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// wake ends the current or the next wait. Any goroutine may call it.
func (s *set) wake() {
	if s.poller == nil {
		unix.Write(s.wakeFD, one)
		return
	}
	s.woken.Store(true)
	s.poller.Wake()
}

func (s *set) poll(ms int) int {
	for {
		n, err := unix.EpollWait(s.epfd, s.events[:], ms)
		if err != unix.EINTR {
			return max(n, 0)
		}
	}
}

// raw sleeps in the system call; the runtime's sysmon takes the P away later.
type raw struct{ *set }

func (w raw) wait() int { return w.poll(-1) }
func (w raw) close()    { unix.Close(w.epfd) }

// spin looks first and then sleeps as raw does.
type spin struct{ *set }

func (w spin) wait() int {
	if n := w.poll(0); n > 0 {
		return n
	}
	return w.poll(-1)
}
func (w spin) close() { unix.Close(w.epfd) }

// nested looks first and then parks the goroutine in Go's own poller, in which
// the epoll set is a descriptor like any other.
type nested struct {
	*set
	file *os.File
	conn syscall.RawConn
	n    int
	look func(uintptr) bool
}

func newNested(b testing.TB, s *set) *nested {
	must(b, unix.SetNonblock(s.epfd, true)) // else os.NewFile does not use the poller
	w := &nested{set: s, file: os.NewFile(uintptr(s.epfd), "epoll")}
	conn, err := w.file.SyscallConn()
	must(b, err)
	w.conn = conn
	w.look = func(uintptr) bool { w.n = w.poll(0); return w.n > 0 }
	return w
}

func (w *nested) wait() int {
	if w.conn.Read(w.look) != nil {
		return 0
	}
	return w.n
}
func (w *nested) close() { w.file.Close() }

// hybrid looks, then sleeps raw for at most a bound if the last sleep was
// shorter than that bound, else or afterwards parks as nested does.
type hybrid struct {
	*nested
	bound  time.Duration
	recent bool
}

func (w *hybrid) wait() int {
	if n := w.poll(0); n > 0 {
		return n
	}
	start := time.Now()
	n := 0
	if w.recent {
		n = w.poll(int(w.bound / time.Millisecond))
	}
	if n == 0 {
		n = w.nested.wait()
	}
	w.recent = time.Since(start) < w.bound
	return n
}

// ours is the poller of the loop, which came out of these measurements: hybrid
// with a longer memory. It sleeps raw only after eight short sleeps in a row
// that descriptors ended, not goroutines.
type ours struct {
	*set
	n    int
	each func(any, poller.Events)
}

func newOurs(b testing.TB) (waiter, *set) {
	p, err := poller.New()
	must(b, err)
	w := &ours{set: &set{poller: p}}
	w.each = func(owner any, _ poller.Events) {
		w.events[w.n].Fd = owner.(int32)
		w.n++
	}
	return w, w.set
}

func (w *ours) wait() int {
	w.n = 0
	w.poller.Wait(-1, w.each)
	if w.woken.Swap(false) {
		w.events[w.n].Fd = int32(w.wakeFD)
		w.n++
	}
	return w.n
}
func (w *ours) close() { w.poller.Close() }

type candidate struct {
	name string
	make func(testing.TB) (waiter, *set)
}

var candidates = []candidate{
	{"raw", func(b testing.TB) (waiter, *set) { s := newSet(b); return raw{s}, s }},
	{"spin+raw", func(b testing.TB) (waiter, *set) { s := newSet(b); return spin{s}, s }},
	{"nested", func(b testing.TB) (waiter, *set) {
		s := newSet(b)
		return newNested(b, s), s
	}},
	{"hybrid", func(b testing.TB) (waiter, *set) {
		s := newSet(b)
		return &hybrid{nested: newNested(b, s), bound: time.Millisecond}, s
	}},
	{"poller", newOurs},
}
