package transportactors

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// How unmodified crypto/tls is driven.
//
// crypto/tls wants a net.Conn that blocks. It gets one that is no connection (wire):
// its Read takes the cipher text that the lower transport has brought (t.in), and
// its Write collects cipher text (t.out), which flush hands to the lower transport.
//
// Handshake. tls.Conn.Handshake runs in a task, because an error in it is for good.
// When t.in is empty, wire.Read suspends the task until more has come.
//
// Afterwards there is no task. The lower transport calls BufferUpdated with cipher
// text; pump calls tls.Conn.Read again and again and gives the plain text to the
// protocol. When t.in is used up, wire.Read returns errNothingYet, a temporary
// net.Error: crypto/tls keeps half a record that it has read and forgets the error,
// so that the next Read goes on. Every other error it would repeat for ever.
//
// States: tlsHandshaking, tlsOpen, tlsClosing (our close_notify is on its way; input is
// decrypted only to find the peer's), tlsFailed (the lower transport is ending),
// tlsOver. They follow each other in this order, and some may be left out.
//
// Invariants. The protocol is never called inside a call to crypto/tls (t.inside):
// it may write, close or pause, and crypto/tls holds its locks. Between two calls of
// the loop t.in is a copy: the room that it was read into is used by every other
// connection. The lower transport reads exactly while wantsInput says so.

// plainRead is room for the plain text of everything one read can bring.
const plainRead = 256<<10 + 32<<10

// plains are buffers for plain text on its way to a protocol.
var plains = sync.Pool{New: func() any { b := make([]byte, plainRead); return &b }}

// nestedRead is how much TLS over TLS reads at a time.
const nestedRead = 16 << 10

// GetBuffer is where the lower transport reads cipher text into.
func (t *tlsTransport) GetBuffer(int) []byte {
	_, nested := t.lower.(*tlsTransport)
	switch {
	case t.phase == tlsHandshaking:
		t.room = make([]byte, handshakeRead)
	case !nested:
		t.room = loopaccess.Of(t.loop).ReadBuffer()
	case len(t.room) < nestedRead: // Why not the loop's: the lower TLS decrypts from it
		t.room = make([]byte, nestedRead)
	}
	return t.room
}

// BufferUpdated takes cipher text.
func (t *tlsTransport) BufferUpdated(n int) {
	if t.phase == tlsHandshaking {
		t.handshakeInput(t.room[:n])
		return
	}
	kept := len(t.in) > 0
	if kept {
		t.in = append(t.in, t.room[:n]...)
	} else {
		t.in = t.room[:n]
	}
	defer t.keep(kept) // also when the protocol leaves by Goexit
	t.pump()
	if t.phase == tlsClosing {
		t.countDiscarded(n)
	}
}

// keep makes what is left a copy, because the room is for the next read. kept says
// that it is a copy already.
func (t *tlsTransport) keep(kept bool) {
	switch {
	case len(t.in) == 0:
		t.in = nil
	case !kept:
		t.in = bytes.Clone(t.in)
	}
}

// pump hands on what can be decrypted within a turn; later: the rest has to wait.
func (t *tlsTransport) pump() (later bool) {
	for t.reads = 0; t.wantsInput(); {
		if t.reads >= turnReads {
			t.laterInput()
			return true
		}
		if !t.deliver() {
			break
		}
	}
	return false
}

// wantsInput reports whether input may be decrypted and more be read.
func (t *tlsTransport) wantsInput() bool {
	return !t.inputStopped && (t.phase == tlsClosing || t.IsReading() && t.told)
}

// deliver is one round of pump; false: nothing is left for the moment.
func (t *tlsTransport) deliver() bool {
	if to := t.proto.buffered(); to != nil && t.phase == tlsOpen {
		return t.deliverInto(to)
	}
	room := plains.Get().(*[]byte)
	defer plains.Put(room)
	n, err := t.decrypt(*room)
	if n > 0 && t.phase == tlsOpen && t.proto.data != nil {
		t.Call("DataReceived", func() { t.proto.data.DataReceived((*room)[:n:n]) })
	}
	return t.goOn(n, err)
}

// deliverInto is deliver into the protocol's own memory.
func (t *tlsTransport) deliverInto(to BufferedProtocol) bool {
	var buf []byte
	if !t.Call("GetBuffer", func() { buf = to.GetBuffer(-1) }) || !t.IsReading() {
		return false
	}
	if len(buf) == 0 {
		t.Fail(errEmptyBuffer)
		t.Report("Fatal error: protocol.GetBuffer() call failed.", errEmptyBuffer)
		return false
	}
	n, err := t.decrypt(buf)
	if n > 0 && t.phase == tlsOpen {
		t.Call("BufferUpdated", func() { to.BufferUpdated(n) })
	}
	return t.goOn(n, err)
}

// decrypt fills buf as far as the input goes. An error but errNothingYet comes
// again with the next call.
func (t *tlsTransport) decrypt(buf []byte) (n int, err error) {
	t.inside = true
	p := guard.Call(func() { // a session cache is the user's code
		for n < len(buf) && err == nil && t.reads < turnReads {
			var m int
			m, err = t.conn.Read(buf[n:])
			if n += m; n < len(buf) { // otherwise more of the same record may be there
				t.reads++
			}
		}
	})
	answered := len(t.out)
	_ = t.flush() // a lower transport that fails tells it as a loss
	t.inside = false
	if p != nil {
		t.Fail(p)
		t.ReportPanic("Fatal error on TLS transport", p)
		return 0, errNothingYet
	}
	t.countAnswers(answered)
	if n > 0 {
		t.first.came()
	}
	t.passFlowOn()
	return n, err
}

// goOn looks at the outcome of a round that brought n bytes; true: there may be
// more.
func (t *tlsTransport) goOn(n int, err error) bool {
	switch {
	case err == nil:
		return true
	case err == errNothingYet:
		return false
	case n > 0:
		return true // the protocol first has the bytes, and may pause
	case err == io.EOF:
		t.inputEnded()
	case t.phase == tlsClosing:
		t.Fail(err)
	default:
		t.Fail(err)
		t.Report("Fatal error on TLS transport", err)
	}
	return false
}

// EOFReceived is the end of the lower input, which for TLS is none.
func (t *tlsTransport) EOFReceived() bool {
	switch t.phase {
	case tlsHandshaking:
		t.failHandshake(fmt.Errorf("TLS handshake: the peer closed the connection: %w", syscall.ECONNRESET))
		if t.handshake.ctx == nil {
			t.Fail(t.handshake.broken)
		}
		return true
	case tlsOpen:
		if t.setup.ragged {
			t.inputEnded()
			return false
		}
		t.Fail(ErrTruncated)
	}
	return false
}

// inputEnded tells the protocol once, sends the rest and closes.
func (t *tlsTransport) inputEnded() {
	first := !t.eof
	t.eof = true
	if first && t.told && t.proto.eof() != nil {
		keep := false
		if !t.Call("EOFReceived", func() { keep = t.proto.eof().EOFReceived() }) {
			return
		}
		if keep {
			t.loop.Logger().Warn("returning true from EOFReceived has no effect on TLS: the connection closes", "transport", t.String())
		}
	}
	t.close()
	if t.phase == tlsClosing {
		t.lower.Close()
	}
}

// PauseReading stops delivery at once, also of what is decrypted already. The end
// of the peer, orderly or not, is told behind what waits, once reading is resumed, as
// with a plain connection; WithIdleTimeout finds a dead peer before that.
func (t *tlsTransport) PauseReading() error {
	if err := checkGoroutine(t.loop, "PauseReading"); err != nil {
		return err
	}
	if t.phase <= tlsOpen && t.reading {
		t.reading = false
		if t.phase == tlsOpen {
			return t.lower.PauseReading()
		}
	}
	return nil
}

// ResumeReading delivers what waits in a later turn.
func (t *tlsTransport) ResumeReading() error {
	if err := checkGoroutine(t.loop, "ResumeReading"); err != nil {
		return err
	}
	if t.phase <= tlsOpen && !t.reading {
		t.reading = true
		if t.phase == tlsOpen {
			t.loop.CallSoon(t.resumed)
		}
	}
	return nil
}

// resumed hands on what waits, then reads on.
func (t *tlsTransport) resumed() {
	if !t.pump() && t.wantsInput() {
		_ = t.lower.ResumeReading()
	}
	t.keep(true)
}

func (t *tlsTransport) IsReading() bool { return t.reading && t.phase <= tlsOpen && !t.eof }
