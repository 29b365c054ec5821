package process

import (
	"errors"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
)

// writer is the stream to the owner.
type writer = *streams.Stream

// outlet is the way of a child's stdout or stderr to its owner. Owned by the loop of the
// host.
//
//	pipe ──▶ came ──▶ spool (Keep)
//	              └──▶ stream, within its window ──▶ Output of the owner
//
// How a slow reader slows the child: what the owner has not read fills the window of the
// stream; above half of it the stream calls PauseWriting, and the pipe is read no more; the
// pipe fills, and the child waits in write(2). Nothing grows: here at most the window and
// one read of the pipe, there at most the window.
//
// Invariant: waits, what was read and is not in the window, goes before everything that
// comes, and the pipe is not read while there is any.
type outlet struct {
	c        *child
	fd       int
	stream   writer // nil: nobody reads
	waits    []byte
	retrying bool      // push will look again
	stopped  bool      // the stream said PauseWriting
	ended    bool      // the pipe has ended
	cut      bool      // the stream ended before all of it was taken: the owner's node was gone
	last     time.Time // when something came
	spool    spool
}

func newOutlet(c *child, fd int) *outlet {
	o := &outlet{c: c, fd: fd}
	if c.profile.Orphan == Keep {
		o.spool.most = c.profile.Spool
	}
	return o
}

// attach sends to s from now on, first what is in before.
func (o *outlet) attach(s writer, before []byte) {
	if o.stream != nil { // of an owner that had it before
		o.stream.Abort()
	}
	o.stream, o.waits, o.stopped, o.cut = s, before, false, false
	o.c.host.open.Add(1)                                                // until ConnectionLost
	if err := s.SetProtocol(o.c.host.loop, &reader{o, s}); err != nil { // nobody else has set one
		o.c.host.log.Error("a stream of a process is deaf", "process", o.c.name(), "error", err)
	}
	o.push()
}

// reader is what a stream tells of its reader. It belongs to one stream: an outlet may have
// another one by the time that something is told.
type reader struct {
	o *outlet
	s writer
}

// PauseWriting stops reading the pipe.
func (r *reader) PauseWriting() { r.paused(true) }

// ResumeWriting goes on.
func (r *reader) ResumeWriting() { r.paused(false) }

func (r *reader) paused(on bool) {
	if r.o.stream == r.s {
		r.o.stopped = on
		r.o.push()
	}
}

// ConnectionLost says that nobody reads any more. A reader that has closed its end leaves
// the child a broken pipe, as anywhere; when the owner's node is gone, or the output is kept,
// what comes is dropped behind the spool, so that a child that is told to end can say so.
func (r *reader) ConnectionLost(reason error) {
	o := r.o
	o.c.host.open.Add(-1)
	if o.stream != r.s {
		return
	}
	o.stream, o.waits, o.stopped = nil, nil, false
	o.cut = reason != nil
	if reason == nil || o.ended {
		return // behind the end of the pipe
	}
	if o.c.t != nil && o.spool.most == 0 && o.c.why == "" && errors.Is(reason, fault.ErrClosed) {
		o.c.t.PipeTransport(o.fd).Close()
		return
	}
	o.flow()
}

// came takes what was read from the pipe.
func (o *outlet) came(data []byte) {
	o.last = time.Now()
	o.spool.add(data)
	if o.stream == nil {
		return
	}
	if len(o.waits) == 0 && o.stream.WriteBufferSize()+len(data) <= streams.Window && o.stream.Write(data) == nil {
		return
	}
	o.waits = append(o.waits, data...)
	o.push()
}

// retry is how soon push looks again when the window was full. The stream tells when it has
// room again, unless it was full for so short that it never said so.
const retry = 20 * time.Millisecond

// push moves what waits into the window, and lets the pipe be read or not. Behind the end
// of the pipe it closes the stream.
func (o *outlet) push() {
	if o.stream == nil {
		return
	}
	for len(o.waits) > 0 {
		n := min(len(o.waits), streams.Window-o.stream.WriteBufferSize())
		if n <= 0 || o.stream.Write(o.waits[:n]) != nil { // one that is over tells ConnectionLost
			break
		}
		o.waits = o.waits[n:]
	}
	switch {
	case len(o.waits) == 0:
		o.waits = nil
	case !o.retrying:
		o.retrying = true
		o.c.host.loop.CallLater(retry, func() { o.retrying = false; o.push() })
	}
	o.flow()
	if o.ended && len(o.waits) == 0 {
		o.stream.Close()
	}
}

// flow reads the pipe, or does not.
func (o *outlet) flow() {
	if o.c.t == nil || o.ended {
		return
	}
	pipe := o.c.t.PipeTransport(o.fd)
	if o.stopped || len(o.waits) > 0 {
		_ = pipe.PauseReading() // refused on other goroutines only
	} else {
		_ = pipe.ResumeReading()
	}
}

// end is the end of the pipe.
func (o *outlet) end() {
	o.ended = true
	o.push()
}

// spool keeps the newest bytes of an output: a ring that grows up to most.
type spool struct {
	most  int
	buf   []byte
	at    int    // of the oldest byte, once buf has grown to most
	total uint64 // bytes that ever came
}

// add keeps p, or its end.
func (s *spool) add(p []byte) {
	s.total += uint64(len(p))
	if len(p) > s.most {
		p = p[len(p)-s.most:]
	}
	grow := min(s.most-len(s.buf), len(p))
	s.buf = append(s.buf, p[:grow]...)
	for p = p[grow:]; len(p) > 0; {
		n := copy(s.buf[s.at:], p)
		p = p[n:]
		s.at = (s.at + n) % s.most
	}
}

// all is a copy of what is kept, and how many bytes came before it.
func (s *spool) all() (kept []byte, missed uint64) {
	kept = append(append([]byte(nil), s.buf[s.at:]...), s.buf[:s.at]...)
	return kept, s.total - uint64(len(kept))
}
