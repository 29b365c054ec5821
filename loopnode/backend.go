package loopnode

import (
	"time"

	"github.com/loopmesh/loopmesh/internal/poller"
)

// Events says what a descriptor is ready for: Readable, Writable, Hangup and Failed, or
// some of them together.
type Events = poller.Events

// Token names one registration of a descriptor; it is never used twice. Backend.Add
// makes it, and Modify and Remove take it. Slot is for whoever writes a Backend, IsZero
// tells the token that names none.
type Token = poller.Token

// What a descriptor can be watched for.
const (
	Readable = poller.Readable
	Writable = poller.Writable
)

// Backend is the world under a loop: a clock and a poller. Loops use the
// kernel's; package looptest has one with a virtual clock.
// All methods but Wake are called by the loop goroutine. asyncio: a selector.
type Backend interface {
	// Now is the clock. It never goes backwards.
	Now() Instant
	// Wait sleeps until something is ready, Wake is called or timeout is over
	// (negative: no limit) and hands out what is ready.
	Wait(timeout time.Duration, each func(owner any, ready Events)) (int, error)
	// Wake ends a Wait from any goroutine.
	Wake() error
	Add(fd int, want Events, owner any) (Token, error)
	Modify(t Token, want Events) error
	Remove(t Token) error
	Close() error
}

// kernel is the Backend of ordinary loops.
type kernel struct {
	*poller.Poller
	start time.Time
}

func newKernel() (Backend, error) {
	p, err := poller.New()
	if err != nil {
		return nil, err
	}
	return &kernel{Poller: p, start: time.Now()}, nil
}

func (k *kernel) Now() Instant { return Instant(time.Since(k.start)) }
