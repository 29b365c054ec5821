// Package poller tells a loop which descriptors are ready. It is epoll on
// Linux; elsewhere New answers ErrUnsupported.
//
// All methods belong to the loop goroutine, except Wake.
package poller

import "errors"

// ErrUnsupported is what New answers on systems without a poller.
var ErrUnsupported = errors.New("poller: this operating system is not supported; run on linux")

// ErrClosed is what methods answer after Close.
var ErrClosed = errors.New("poller: closed")

// ErrStale is what Modify and Remove answer for a token whose registration no longer
// exists: it was removed. Modify answers it also when the descriptor was closed and its
// number registered again.
var ErrStale = errors.New("poller: this registration no longer exists")

// Events is a set of readiness bits.
type Events uint8

const (
	// Readable asks for and reports "a read will not block".
	Readable Events = 1 << iota
	// Writable asks for and reports "a write will not block".
	Writable
	// Hangup is reported beside what was asked for: the other side is gone.
	Hangup
	// Failed is reported beside what was asked for: an error is pending.
	Failed
)

// asked are the bits a caller may ask for.
const asked = Readable | Writable

// Token names one registration. Tokens compare with ==; the zero Token names
// none. A token is never used twice, even when slot and descriptor are.
type Token struct {
	slot       int32
	generation uint32 // Invariant: 0 only in the zero Token.
}

// IsZero reports whether t names no registration.
func (t Token) IsZero() bool { return t.generation == 0 }
