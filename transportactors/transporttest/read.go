package transporttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var readChecks = []check{
	{"RDT-01 RDT-03 nothing comes between pausing and resuming; repeating either does nothing", nil, pauseAndResume},
	{"CON-05 a pause inside ConnectionMade holds", nil, pausedFromTheStart},
	{"PRO-03 the end of the input closes behind what was written", bothWays, endCloses},
	{"RDT-02 RDT-04 a kept connection does not read and is told of the end once", halfCloses, keptOpen},
	{"BUF-01 BUF-04 bytes go into the protocol's memory; the end is no update", nil, buffered},
	{"BUF-02 no room ends the connection", nil, noRoom},
}

func pauseAndResume(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	there.read(false)
	there.read(false)
	if there.t.IsReading() {
		return errors.New("reading after a pause")
	}
	if err := here.write(pattern(0, e.much)); err != nil {
		return err
	}
	if err := turns(ctx, 50); err != nil {
		return err
	}
	if len(there.data) != 0 || here.t.WriteBufferSize() == 0 {
		return fmt.Errorf("%d bytes came while paused, %d wait at the writer", len(there.data), here.t.WriteBufferSize())
	}
	there.read(true)
	there.read(true)
	if err := until(ctx, "the first bytes", func() bool { return len(there.data) > 0 }); err != nil {
		return err
	}
	there.read(false)
	some := len(there.data)
	if err := turns(ctx, 20); err != nil {
		return err
	}
	if len(there.data) != some {
		return errors.New("the second pause did not hold")
	}
	there.read(true)
	here.close()
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	there.read(false) // after the end neither does anything
	there.read(true)
	return there.got(pattern(0, e.much))
}

func pausedFromTheStart(ctx context.Context, e *env) error {
	here, there := e.probe("here"), e.probe("there")
	there.onMade = func() { there.read(false) }
	if err := e.connect(ctx, here, there); err != nil {
		return err
	}
	if err := here.write([]byte("x")); err != nil {
		return err
	}
	if err := turns(ctx, 20); err != nil {
		return err
	}
	if err := there.heard("made"); err != nil {
		return err
	}
	there.read(true)
	return until(ctx, "the byte", func() bool { return string(there.data) == "x" })
}

func endCloses(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	there.onData = func(b []byte) { _ = there.t.Write(b) }
	if err := here.write([]byte("back")); err != nil {
		return err
	}
	if err := until(ctx, "the echo", func() bool { return string(here.data) == "back" }); err != nil {
		return err
	}
	here.close()
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	return errors.Join(there.heard("made", "data", "eof", "lost"), there.reason)
}

func keptOpen(ctx context.Context, e *env) error {
	here, there, err := e.pair(ctx)
	if err != nil {
		return err
	}
	there.onEOF = func() bool { return true }
	here.act(func() { err = here.t.WriteEOF() })
	if err != nil {
		return err
	}
	if err := until(ctx, "the end of the input", func() bool { return there.logged("eof") }); err != nil {
		return err
	}
	if there.t.IsReading() || there.t.IsClosing() {
		return errors.New("the kept connection reads, or is closing")
	}
	there.read(false)
	there.read(true)
	if err := turns(ctx, 20); err != nil {
		return err
	}
	if there.t.IsReading() {
		return errors.New("resuming after the end of the input reads")
	}
	return there.heard("made", "eof")
}

// reader is a probe that owns the memory it reads into.
type reader struct {
	*probe
	room   []byte
	asked  int
	lent   bool // asked for and not yet updated
	before func()
}

// newReader makes the probe a buffered protocol with so much room.
func newReader(p *probe, room int) *reader {
	r := &reader{probe: p, room: make([]byte, room)}
	p.self = r
	return r
}

// GetBuffer gives all the room.
func (r *reader) GetBuffer(hint int) []byte {
	if hint == 0 || hint < -1 {
		r.blame("the hint is %d", hint)
	}
	if r.deaf {
		r.blame("room was asked for while reading is paused")
	}
	r.asked++
	r.lent = true
	do(r.before)
	return r.room
}

// BufferUpdated takes the bytes out.
func (r *reader) BufferUpdated(n int) {
	if n < 1 || n > len(r.room) || !r.lent {
		r.blame("updated with %d bytes, room %d, asked %v", n, len(r.room), r.lent)
	}
	r.lent = false
	r.probe.DataReceived(r.room[:n])
}

// DataReceived must not be called on a buffered protocol.
func (r *reader) DataReceived([]byte) { r.blame("DataReceived on a buffered protocol") }

func buffered(ctx context.Context, e *env) error {
	here, there := e.probe("here"), e.probe("there")
	r := newReader(there, 5)
	if err := e.connect(ctx, here, there); err != nil {
		return err
	}
	if err := here.write([]byte("hello, world")); err != nil {
		return err
	}
	here.close()
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	if r.asked < 3 {
		return fmt.Errorf("12 bytes in %d rounds of 5", r.asked)
	}
	return errors.Join(there.got([]byte("hello, world")), there.heard("made", "data", "eof", "lost"), there.reason)
}

func noRoom(ctx context.Context, e *env) error {
	here, there := e.probe("here"), e.probe("there")
	newReader(there, 0)
	if err := e.connect(ctx, here, there); err != nil {
		return err
	}
	if err := here.write([]byte("x")); err != nil {
		return err
	}
	if err := until(ctx, "the end", func() bool { return there.ended }); err != nil {
		return err
	}
	if there.reason == nil || slices.Contains(there.log, "data") {
		return fmt.Errorf("%v, %v", there.reason, there.log)
	}
	return nil
}
