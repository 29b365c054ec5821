package transportactors

import (
	"net"
	"sync"
	"time"
)

// wire is the net.Conn that crypto/tls sees. Reading takes what has arrived;
// in the handshake it suspends the task until more does, afterwards it answers
// errNothingYet. Writing collects, so that many records leave with one call to
// the kernel, and so that the lower transport tells nobody to pause while
// crypto/tls holds its locks.
type wire tlsTransport

// nothingYet is temporary: crypto/tls keeps what it has read so far and may be
// asked again. Any other error it remembers for ever.
type nothingYet struct{}

var errNothingYet net.Error = nothingYet{}

func (nothingYet) Error() string   { return "no more TLS input for the moment" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

func (w *wire) Read(p []byte) (int, error) {
	t := (*tlsTransport)(w)
	for len(t.in) == 0 {
		if t.handshake == nil {
			return 0, errNothingYet
		}
		if err := t.waitInput(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.in)
	t.in = t.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	t := (*tlsTransport)(w)
	if t.handshake != nil {
		if err := t.lower.Write(p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	if t.out == nil {
		t.out = (*records.Get().(*[]byte))[:0]
	}
	t.out = append(t.out, p...)
	return len(p), nil
}

// records are buffers for cipher text on its way down.
var records = sync.Pool{New: func() any { b := make([]byte, 0, encryptAtOnce+encryptAtOnce/8); return &b }}

// flush gives the lower transport what conn has written.
func (t *tlsTransport) flush() error {
	b := t.out
	if b == nil {
		return nil
	}
	t.out = nil
	err := t.lower.Write(b)
	records.Put(&b)
	return err
}

// crypto/tls calls these, too. They do nothing: the timers and the end are the
// transport's.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return w.lower.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr             { return w.lower.RemoteAddr() }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
