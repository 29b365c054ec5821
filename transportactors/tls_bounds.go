package transportactors

// This file bounds what a peer can make a TLS connection do without the
// protocol's help.
//
// Answers. crypto/tls answers some messages by itself: a peer that sends
// KeyUpdate gets a KeyUpdate back. A peer that sends them without end and reads
// nothing would make the output queue grow without end, and no protocol could
// prevent it. So the bytes of such answers are counted. Above answersMost, while
// the queue of the lower transport is above its high mark, input stops:
// it reads no input until the queue has fallen to the low mark. What the protocol
// itself writes does not stop the input: two peers that both write more
// than the other reads would wait for each other for ever.
//
// Discarded input. Behind our close_notify the input is read only to
// find the peer's. A peer that goes on sending instead would be served
// until the shutdown timeout. So the bytes are counted; above discardMost the
// connection ends, without an error, as soon as ours has left the queue.
// Until then the input is stopped.
//
// Work. A change of keys is 27 bytes and costs ten times as much as the record of a
// byte, so a read full of them would hold the loop for a tenth of a second, and a few
// connections for seconds. After turnReads calls to crypto/tls, each of which ends
// one record with data and at most 16 without, the rest of the input waits for the
// next turn. A read of records of 2 KiB or more stays below it.
const (
	answersMost = 64 << 10
	discardMost = 4 << 20
	turnReads   = 128
)

// laterInput leaves the rest of the input to a later turn.
func (t *tlsTransport) laterInput() {
	_ = t.lower.PauseReading() // a closing transport reads nothing anyway
	t.loop.CallSoon(t.resumed)
}

// countAnswers adds n bytes that crypto/tls wrote while it read.
func (t *tlsTransport) countAnswers(n int) {
	if n == 0 {
		return
	}
	if t.answers += n; t.lower.WriteBufferSize() == 0 {
		t.answers = 0
	}
	if t.answers > answersMost && t.full {
		t.stopInput()
	}
}

// countDiscarded adds n bytes of cipher text that came behind our close_notify.
func (t *tlsTransport) countDiscarded(n int) {
	switch t.discarded += n; {
	case t.discarded <= discardMost:
	case t.lower.WriteBufferSize() == 0:
		t.Fail(nil)
	default:
		t.stopInput()
		_ = t.lower.SetWriteBufferLimits(0, 0) // ResumeWriting comes with an empty queue
	}
}

// stopInput stops reading until the lower transport tells that its queue is short.
func (t *tlsTransport) stopInput() {
	t.inputStopped = true
	_ = t.lower.PauseReading() // a closing transport reads nothing anyway
}

// restartInput goes on reading, or ends a connection that has discarded enough.
func (t *tlsTransport) restartInput() {
	t.inputStopped, t.answers = false, 0
	if t.phase == tlsClosing && t.discarded > discardMost {
		t.Fail(nil)
		return
	}
	t.loop.CallSoon(t.resumed)
}
