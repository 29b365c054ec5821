package poller

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	minEvents = 128
	maxEvents = 4096
)

// Poller is one epoll set, level-triggered. Make one with New.
// Owned by the loop goroutine; only Wake may be called from elsewhere.
type Poller struct {
	sleeper
	slab   slab
	alarm  alarm
	closed bool
	// orphans is set when a registration may have stayed in the kernel that can
	// no longer be named; see rebuild.
	orphans bool

	wakeMu sync.Mutex // guards wakeFD against Close
	wakeFD int        // Invariant: -1 once closed.

	dropped runtime.Cleanup // closes what is left of a poller nobody closes
}

// wakeSlot and alarmSlot are slots no registration has.
const (
	wakeSlot  int32 = -1
	alarmSlot int32 = -2
)

// New makes a poller. It starts nothing; the caller must Close it.
func New() (*Poller, error) {
	p := &Poller{wakeFD: -1, slab: newSlab(), alarm: alarm{fd: -1}}
	p.events = make([]unix.EpollEvent, minEvents)
	p.bindLook()
	if err := p.open(); err != nil {
		return nil, err
	}
	var err error
	if p.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.sleeper.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := errors.Join(p.watch(p.wakeFD, wakeSlot), p.alarm.open(p)); err != nil {
		p.Close()
		return nil, err
	}
	p.dropped = runtime.AddCleanup(p, closeDropped, [2]int{p.wakeFD, p.alarm.fd})
	return p, nil
}

// closeDropped closes what a poller that nobody closed has beside its file,
// which closes itself.
func closeDropped(fds [2]int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// watch registers one of the poller's own descriptors.
// Why edge-triggered: each write to the eventfd is reported once, so nobody has to read
// it.
func (p *Poller) watch(fd int, slot int32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: slot}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// Close frees the poller's own descriptors and forgets all registrations; the
// registered descriptors stay open. It must not run during Wait, except from
// inside Wait's callback. A second Close does nothing.
func (p *Poller) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.dropped.Stop()
	p.wakeMu.Lock()
	unix.Close(p.wakeFD)
	p.wakeFD = -1
	p.wakeMu.Unlock()
	p.alarm.close()
	p.slab = newSlab()
	return p.sleeper.close()
}

// Add registers fd, which must be non-blocking for the owner's sake, and
// returns the token that names the registration. Wait hands owner back.
//
// Errors: EPERM for regular files and directories, EEXIST when fd has a
// registration, EBADF when it is not open; ErrClosed.
func (p *Poller) Add(fd int, want Events, owner any) (Token, error) {
	if p.closed {
		return Token{}, ErrClosed
	}
	if fd < 0 || fd > math.MaxInt32 { // the kernel would use the lower 32 bits only
		return Token{}, addError(fd, unix.EBADF)
	}
	former := p.slab.holder(fd)
	t := p.slab.take(fd, want&asked, owner)
	if err := p.enter(t, former); err != nil {
		p.slab.drop(t)
		return Token{}, addError(fd, err)
	}
	if former != noSlot {
		p.lose(former)
	}
	p.slab.hold(fd, t.slot)
	return t, nil
}

// enter puts a new registration into the kernel. Even one that wants nothing
// goes there and comes out again, so that the kernel refuses what cannot be
// polled now and not at the first Modify. A socket, which always can, stays outside.
func (p *Poller) enter(t Token, former int32) error {
	e := p.slab.get(t)
	if e.want == 0 && former == noSlot && isSocket(int(e.fd)) {
		return nil
	}
	err := p.ctl(unix.EPOLL_CTL_ADD, t, e.want)
	if err == unix.EEXIST && former == noSlot {
		// A leftover of a descriptor that was closed while registered and that
		// is now open again under the same number: take it over.
		err = p.ctl(unix.EPOLL_CTL_MOD, t, e.want)
	}
	if err != nil {
		return err
	}
	if e.inKernel = e.want != 0; e.inKernel {
		return nil
	}
	return p.ctl(unix.EPOLL_CTL_DEL, t, 0)
}

func isSocket(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// lose marks a registration whose descriptor was closed without Remove. That is known
// because the kernel has just accepted the same number for another file.
func (p *Poller) lose(i int32) {
	e := &p.slab.slots[i]
	e.lost, e.inKernel = true, false
	p.orphans = true
}

func addError(fd int, err error) error {
	switch err {
	case unix.EPERM:
		return fmt.Errorf("poller: descriptor %d is a regular file or directory, which the kernel cannot poll; read it on an executor: %w", fd, err)
	case unix.EEXIST:
		return fmt.Errorf("poller: descriptor %d is already registered; use Modify: %w", fd, err)
	case unix.EBADF:
		return fmt.Errorf("poller: descriptor %d is not open: %w", fd, err)
	}
	return fmt.Errorf("poller: cannot watch descriptor %d: %w", fd, err)
}

// Modify changes what the registration waits for. With want 0 it stays, but
// delivers nothing, not even a hang-up. Events of the current batch that are no
// longer wanted are not delivered.
//
// Errors: ErrStale; EBADF or ENOENT when the descriptor was closed.
func (p *Poller) Modify(t Token, want Events) error {
	e := p.slab.get(t)
	want &= asked
	switch {
	case p.closed:
		return ErrClosed
	case e == nil || e.lost:
		return ErrStale
	case want == e.want:
		return nil
	}
	// Why DEL and ADD: a descriptor that stays in the set with no interest
	// still reports hang-ups, for ever, and the loop would spin.
	op := unix.EPOLL_CTL_MOD
	if want == 0 {
		op = unix.EPOLL_CTL_DEL
	} else if !e.inKernel {
		op = unix.EPOLL_CTL_ADD
	}
	err := p.ctl(op, t, want)
	if err == unix.EEXIST && op == unix.EPOLL_CTL_ADD {
		err = p.ctl(unix.EPOLL_CTL_MOD, t, want) // a leftover, as in enter
	}
	if err != nil {
		return fmt.Errorf("poller: cannot change descriptor %d, was it closed while registered? %w", e.fd, err)
	}
	e.want, e.inKernel = want, want != 0
	return nil
}

// Remove ends the registration. Nothing of it is delivered afterwards, also
// nothing the current batch still holds. Call it before closing the
// descriptor; after is legal too.
//
// Errors: ErrStale, ErrClosed.
func (p *Poller) Remove(t Token) error {
	if p.closed {
		return ErrClosed
	}
	e := p.slab.get(t)
	if e == nil {
		return ErrStale
	}
	if e.inKernel && p.ctl(unix.EPOLL_CTL_DEL, t, 0) != nil {
		p.orphans = true // closed already; a duplicate may keep it in the set
	}
	p.slab.drop(t)
	return nil
}

// ctl names the registration to the kernel by slot and generation.
func (p *Poller) ctl(op int, t Token, want Events) error {
	ev := unix.EpollEvent{Events: toKernel(want), Fd: t.slot, Pad: int32(t.generation)}
	return unix.EpollCtl(p.epfd, op, int(p.slab.slots[t.slot].fd), &ev)
}

func toKernel(want Events) (bits uint32) {
	if want&Readable != 0 {
		bits |= unix.EPOLLIN
	}
	if want&Writable != 0 {
		bits |= unix.EPOLLOUT
	}
	return bits
}

// fromKernel reports a hang-up and an error as readable and writable, too: whoever waits
// for one of these gets the error by reading or writing.
func fromKernel(bits uint32, want Events) (ready Events) {
	if bits&unix.EPOLLIN != 0 {
		ready |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		ready |= Writable
	}
	if bits&unix.EPOLLHUP != 0 {
		ready |= asked | Hangup
	}
	if bits&unix.EPOLLERR != 0 {
		ready |= asked | Failed
	}
	if ready&want == 0 {
		return 0
	}
	return ready & (want | Hangup | Failed)
}

// Wake makes the current or the next Wait return. Any goroutine may call it; it
// never blocks. After Close it answers ErrClosed.
func (p *Poller) Wake() error {
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	if p.wakeFD < 0 {
		return ErrClosed
	}
	_, err := unix.Write(p.wakeFD, one[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil // the counter is full: an earlier Wake is not handled yet
	}
	return os.NewSyscallError("write", err)
}

// one is what an eventfd takes: a 64-bit number that is not zero in either byte order.
var one = [8]byte{1, 0, 0, 0, 0, 0, 0, 0}

// rebuild moves every live registration to a new epoll set.
//
// Why: the kernel names a registration by open file and descriptor number. When
// the descriptor is closed but a duplicate of it is open, for instance in a child
// process, the registration stays, keeps reporting, and cannot be deleted any more.
// Only a new set is without it.
//
// A new set needs descriptors and kernel memory, which may be used up at that
// moment. Then the old set stays in use with all its registrations, and the next
// event of the leftover tries again: until it succeeds the loop does not sleep,
// but no event is lost.
func (p *Poller) rebuild() error {
	old := p.sleeper
	if p.open() != nil {
		return nil
	}
	gone, err := p.fill()
	if err != nil {
		_ = p.sleeper.close() // it was never used
		p.sleeper = old
		return nil
	}
	for _, i := range gone {
		p.slab.slots[i].inKernel = false
	}
	p.orphans = false
	return old.close()
}

// fill registers in the new set what was in the old one. It returns the slots whose
// descriptor is closed, and an error when the kernel has no room.
func (p *Poller) fill() (gone []int, err error) {
	if err := errors.Join(p.watch(p.wakeFD, wakeSlot), p.alarm.rewatch(p)); err != nil {
		return nil, err
	}
	for i := range p.slab.slots {
		e := &p.slab.slots[i]
		if !e.used || !e.inKernel {
			continue
		}
		switch err := p.ctl(unix.EPOLL_CTL_ADD, Token{int32(i), e.generation}, e.want); err {
		case nil:
		case unix.ENOMEM, unix.ENOSPC:
			return nil, err
		default:
			gone = append(gone, i)
		}
	}
	return gone, nil
}
