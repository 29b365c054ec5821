package netscripts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// end is the transport's end of a connection: its protocol, and the task that does
// the steps. Owned by the loop.
type end struct {
	s       *script
	t       transportactors.Transport
	in, out flow
	taken   int // bytes of out that the transport has accepted

	made, eof, lost bool
	reason          error
	resting         bool // we have paused reading
	paused          bool // we have been told to pause writing
	closed          bool // we have called Close or Abort
	room            []byte
	changed         *loopnode.Future[struct{}] // settled with the next callback
	faults          []error
	log             []string
}

func (e *end) fault(format string, args ...any) {
	if len(e.faults) < 5 {
		e.faults = append(e.faults, fmt.Errorf(format, args...))
	}
}

// note is the beginning of every callback.
func (e *end) note(what string) {
	if len(e.log) < 200 {
		e.log = append(e.log, what)
	}
	switch {
	case e.lost:
		e.fault("%s after ConnectionLost", what)
	case !e.made && what != "made":
		e.fault("%s before ConnectionMade", what)
	}
	if e.changed != nil {
		_ = e.changed.SetResult(struct{}{})
		e.changed = nil
	}
}

func (e *end) ConnectionMade(t transportactors.Transport) {
	if e.made {
		e.fault("ConnectionMade twice")
	}
	e.note("made")
	e.made, e.t = true, t
	if err := t.SetWriteBufferLimits(e.s.high, -1); err != nil {
		e.fault("limits: %w", err)
	}
	if e.s.gather {
		if err := t.Socket().SetWriteGathering(true); err != nil {
			e.fault("gathering: %w", err)
		}
	}
}

func (e *end) DataReceived(b []byte) {
	e.note(fmt.Sprint("data ", len(b)))
	switch {
	case len(b) == 0:
		e.fault("no bytes")
	case e.eof, e.resting, e.closed:
		e.fault("data: after the end %v, while reading is paused %v, after Close %v", e.eof, e.resting, e.closed)
	case !e.t.IsReading() && !e.t.IsClosing(): // what had arrived before a write failed comes while it closes
		e.fault("data while IsReading is false")
	}
	at := e.in.at
	if !bytes.Equal(b, e.in.next(len(b))) {
		e.fault("wrong bytes at %d of %d", at, len(b))
	}
}

func (e *end) EOFReceived() bool {
	e.note("eof")
	ended := e.closed && e.s.tls // the peer's answer to our end, as in asyncio
	if e.eof || e.closed && !ended || e.resting && !ended {
		e.fault("eof: twice %v, while reading is paused %v, after Close %v", e.eof, e.resting, e.closed)
	}
	e.eof = true
	return e.s.keep && !e.s.tls
}

func (e *end) ConnectionLost(reason error) {
	e.note(fmt.Sprint("lost ", reason))
	e.lost, e.reason = true, reason
}

func (e *end) PauseWriting() {
	e.note("pause")
	if e.paused {
		e.fault("PauseWriting twice")
	}
	e.paused = true
}

func (e *end) ResumeWriting() {
	e.note("resume")
	if !e.paused {
		e.fault("ResumeWriting without PauseWriting")
	}
	e.paused = false
}

// cup is an end with memory of its own.
type cup struct{ *end }

func (c cup) GetBuffer(int) []byte {
	if c.room == nil {
		c.room = make([]byte, 3000)
	}
	return c.room
}
func (c cup) BufferUpdated(n int) { c.end.DataReceived(c.room[:n]) }

// until waits for a callback after which cond holds.
func (e *end) until(ctx context.Context, cond func() bool) error {
	for !cond() {
		if e.changed == nil {
			l, err := loopnode.Running(ctx)
			if err != nil {
				return err
			}
			e.changed = loopnode.NewFuture[struct{}](l)
		}
		if _, err := e.changed.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run does the steps and returns when the connection is lost.
func (e *end) run(ctx context.Context) error {
	for _, st := range e.s.ours {
		if err := e.do(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", opNames[st.do], err)
		}
	}
	return e.until(ctx, func() bool { return e.lost })
}

func (e *end) over() bool { return e.lost || e.closed || e.t.IsClosing() }

func (e *end) do(ctx context.Context, st step) error {
	switch st.do {
	case write, lines, remote, file:
		return e.send(ctx, st)
	case turn:
		return loopnode.Sleep(ctx, 0)
	case nap:
		return loopnode.Sleep(ctx, time.Duration(st.n)*100*time.Microsecond)
	case rest:
		e.rest(true)
	case resume:
		e.rest(false)
	case drain:
		return e.until(ctx, func() bool { return !e.paused || e.over() })
	case reset:
		e.closed = true
		e.t.Abort()
	case closeIt:
		e.closed = true
		e.t.Close()
	case wait, endOutput:
		return e.endInOrder(ctx, st.do)
	}
	return nil
}

// endInOrder ends the output, reads to the end, and closes.
func (e *end) endInOrder(ctx context.Context, do op) error {
	e.rest(false)
	if do == endOutput {
		if !e.t.CanWriteEOF() {
			return e.do(ctx, step{do: closeIt})
		}
		if err := e.t.WriteEOF(); err != nil && !e.over() {
			return err
		}
	}
	if err := e.until(ctx, func() bool { return e.eof || e.lost }); err != nil {
		return err
	}
	e.closed = true
	e.t.Close()
	return nil
}

// rest pauses or resumes reading. A transport that closes because a write has failed
// still holds what had arrived before.
func (e *end) rest(on bool) {
	if e.lost || e.closed || on && e.t.IsClosing() {
		return
	}
	call := e.t.ResumeReading
	if on {
		call = e.t.PauseReading
	}
	if err := call(); err != nil {
		e.fault("pausing %v: %w", on, err)
	}
	e.resting = on
}

// send writes the next bytes one way or the other.
func (e *end) send(ctx context.Context, st step) (err error) {
	b, before := e.out.next(st.n), e.over()
	sent := len(b)
	switch st.do {
	case write:
		err = e.t.Write(b)
	case lines:
		err = e.t.Writelines([][]byte{b[:len(b)/3], nil, b[len(b)/3:]})
	case remote:
		err = e.t.Ref().WriteWait(ctx, b)
	case file:
		var n int64
		n, err = transportactors.Sendfile(ctx, e.t, bytes.NewReader(b), 0, int64(len(b)))
		sent = int(n)
	}
	switch {
	case err == nil:
		e.taken += sent
		if before {
			return errors.New("a closed transport has taken it")
		}
	case !e.over():
		return err
	case !errors.Is(err, transportactors.ErrClosed):
		return fmt.Errorf("not ErrClosed: %w", err)
	default:
		e.taken += sent * min(1, int(st.do/file)) // a file may be sent in part
	}
	return nil
}

// verdict compares what happened with what had to.
func (e *end) verdict(sent int) []error {
	if !e.made || !e.lost {
		e.fault("made %v, lost %v", e.made, e.lost)
	}
	if e.s.inOrder() && e.reason != nil {
		e.fault("lost with %w", e.reason)
	}
	if e.in.at > sent || e.s.inputArrives() && e.in.at != sent {
		e.fault("%d bytes came of %d", e.in.at, sent)
	}
	return e.faults
}
