package poller

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Wait sleeps until a descriptor is ready, Wake was called, or timeout passed
// (negative: for ever; 0: do not sleep), and calls each for every ready
// registration in the kernel's order, on this goroutine. It returns how many
// that were. It may return 0 before its time; the caller simply waits again.
//
// each may call every method of the poller but Wait.
func (p *Poller) Wait(timeout time.Duration, each func(owner any, ready Events)) (int, error) {
	if p.closed {
		return 0, ErrClosed
	}
	n, err := p.sleep(timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	return p.deliver(n, each)
}

// deliver calls each for the first n events.
func (p *Poller) deliver(n int, each func(any, Events)) (count int, err error) {
	events := p.events[:n]
	stale := false
	for i := range events {
		ev := &events[i]
		if ev.Fd < 0 {
			p.own(ev.Fd)
			continue
		}
		e := p.slab.get(Token{ev.Fd, uint32(ev.Pad)})
		if e == nil || e.lost {
			stale = true
			continue
		}
		ready := fromKernel(ev.Events, e.want)
		if ready == 0 {
			continue
		}
		count++
		each(e.owner, ready)
		if p.closed {
			return count, nil
		}
	}
	if stale && p.orphans {
		err = p.rebuild()
	}
	if n == len(p.events) && n < maxEvents {
		p.events = make([]unix.EpollEvent, 2*n)
	}
	return count, err
}

// own handles an event of the poller's own descriptors.
func (p *Poller) own(slot int32) {
	switch slot {
	case alarmSlot:
		p.alarm.rang()
	case wakeSlot:
		p.brisk = 0 // goroutines call this loop: they need its processor
	}
}
