package transportactors

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// tlsHigh is asyncio's write mark for TLS, eight times the plain one.
	tlsHigh = 512 << 10
	// encryptAtOnce is how much plain text becomes cipher text before it leaves.
	encryptAtOnce = 128 << 10
)

func (t *tlsTransport) Write(p []byte) error {
	if err := checkGoroutine(t.loop, "Write"); err != nil {
		return err
	}
	if t.IsClosing() || t.lower == nil {
		return fmt.Errorf("%w: %s", ErrClosed, t)
	}
	if err := t.flow.admits(t.WriteBufferSize(), len(p)); err != nil {
		t.Fail(err)
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if t.phase == tlsHandshaking {
		t.backlog = append(t.backlog, p...)
		return nil
	}
	return t.encrypt(p)
}

func (t *tlsTransport) ending() error {
	if t.IsClosing() {
		return ErrClosed
	}
	return nil
}

func (t *tlsTransport) Writelines(pieces [][]byte) error { return t.Write(slices.Concat(pieces...)) }

// encrypt sends p. The protocol hears of full buffers behind the last byte, so
// that what it writes then comes later.
func (t *tlsTransport) encrypt(p []byte) error {
	t.inside = true
	err := t.seal(p)
	t.inside = false
	if err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	t.passFlowOn()
	return nil
}

func (t *tlsTransport) seal(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), encryptAtOnce)
		if _, err := t.conn.Write(p[:n]); err != nil {
			t.Fail(err)
			return err
		}
		if err := t.flush(); err != nil {
			return err // the lower transport has failed and tells it
		}
		p = p[n:]
	}
	return nil
}

func (t *tlsTransport) sendBacklog() {
	if p := t.backlog; p != nil {
		t.backlog = nil
		_ = t.encrypt(p)
	}
}

// WriteEOF answers ErrNoWriteEOF: a TLS stream ends in both directions at once.
func (t *tlsTransport) WriteEOF() error { return fmt.Errorf("%w: %s", ErrNoWriteEOF, t) }

func (t *tlsTransport) CanWriteEOF() bool { return false }

// ErrNoWriteEOF: this kind of transport cannot end its output alone; Close ends
// both. asyncio: NotImplementedError of write_eof.
var ErrNoWriteEOF = errors.New("transport cannot end its output alone")

// PauseWriting comes from the lower transport.
func (t *tlsTransport) PauseWriting() { t.full = true; t.passFlowOn() }

// ResumeWriting comes from the lower transport.
func (t *tlsTransport) ResumeWriting() {
	t.full = false
	if t.inputStopped {
		t.restartInput()
	}
	t.passFlowOn()
}

// passFlowOn tells the protocol what the lower transport said last, PauseWriting or
// ResumeWriting, unless a call to crypto/tls runs or the connection is ending.
func (t *tlsTransport) passFlowOn() {
	if t.inside || !t.told || t.full == t.paused || t.phase >= tlsFailed || t.full && t.phase == tlsClosing {
		return
	}
	t.paused = t.full
	t.target.setFull(t.paused)
	if t.paused {
		t.logPause(t.loop, t, t.WriteBufferSize())
	}
	switch {
	case t.proto.pauser() == nil:
	case t.paused:
		t.Call("PauseWriting", t.proto.pauser().PauseWriting)
	default:
		t.Call("ResumeWriting", t.proto.pauser().ResumeWriting)
	}
}

func (t *tlsTransport) SetWriteBufferLimits(high, low int) error {
	if err := checkGoroutine(t.loop, "SetWriteBufferLimits"); err != nil {
		return err
	}
	if high < 0 && low < 0 {
		high = tlsHigh
	}
	err := t.limit(high, low)
	if err == nil {
		t.limitLower()
	}
	return err
}

// limitLower makes the lower transport watch our marks. Its high mark is passed
// by what is above it, ours by what reaches it.
func (t *tlsTransport) limitLower() {
	high, low := t.high, t.low
	if _, nested := t.lower.(*tlsTransport); !nested && high > 0 {
		high--
	}
	_ = t.lower.SetWriteBufferLimits(high, min(high, low))
}

func (t *tlsTransport) WriteBufferLimits() (high, low int) { return t.high, t.low }

// WriteBufferSize counts plain text that waits for the handshake and cipher
// text that the kernel has not taken.
func (t *tlsTransport) WriteBufferSize() int {
	if t.lower == nil {
		return len(t.backlog)
	}
	return len(t.backlog) + t.lower.WriteBufferSize()
}
