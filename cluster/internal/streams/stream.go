package streams

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// How a write passes. acceptLocked counts the bytes in accepted and cuts them into
// items of one frame each; Out.Run sends the items; the connection's node tells what
// was taken (took), which makes room in the window. A write that does not fit becomes
// a waiting; pumpLocked moves it into the window part by part, in order, and
// completes it when its last byte is in. Orders (EOF, Close, Pause …) take their
// place in the same queue, so they happen behind what was written before them.
//
// Invariant: items and waiting together are everything that was given and not sent,
// in order, and items is used first. Whoever finds waiting not empty goes behind it,
// or two writers would overtake each other.

// Stream is the writing half: a connection of any node of the cluster, shaped like
// transportactors.Transport. What one goroutine does with it happens there in that
// order. Any goroutine.
type Stream struct {
	out  *Out
	id   uint64
	addr actors.Address
	peer link.Peer // guarded by out.mu until Open returns; then it does not change
	gone link.Peer // a life of the node that ended while the stream was opened; guarded by out.mu

	mu       sync.Mutex
	items    []item // accepted and not yet sent
	queued   bool   // in Out.ready
	sent     wire.Amount
	accepted uint64                           // bytes; Invariant: accepted − taken is at most Window, or one write
	taken    uint64                           // bytes
	swept    struct{ accepted, taken uint64 } // when Sweep last looked
	waiting  []*waiting
	drains   []drain
	eof      bool  // WriteEOF was called
	closing  error // why nothing more is taken: Close, Abort or the end
	aborted  bool
	own      bool  // it is the writer who closed
	ended    error // set once it is over
	done     chan struct{}
	hooks    hooks
}

// item is one frame: an order, or bytes that were written. They are gathered in memory
// of Out that has room for the head of the frame in front of them (link.HeadRoom).
type item struct {
	op  wire.Op
	buf []byte // nil for an order
}

// data are the bytes of an item.
func (i item) data() []byte {
	if i.buf == nil {
		return nil
	}
	return i.buf[link.HeadRoom:]
}

// waiting is a write that waits for the window, or an order behind one. data is what
// is not yet in the window. While by waits it is the caller's memory; by is nil once
// nobody waits: the bytes that are left follow all the same, because a part of them is
// sent and a connection must not get half a message.
type waiting struct {
	op   wire.Op
	data []byte
	by   *wait.Waiter[error] // nil: nobody waits
}

// drain is somebody who waits until the connection has taken that many bytes, counted
// from the beginning of the stream.
type drain struct {
	at uint64
	by wait.Waiter[error]
}

// Address is where the connection is.
func (s *Stream) Address() actors.Address { return s.addr }

// Done is closed when the stream is over: then Err says why.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err is why the stream is over, nil while it is not. After Close, ErrClosed alone
// means that the connection ended as it was told to.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// IsClosing is true from Close, Abort, Detach or the end on.
func (s *Stream) IsClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing != nil
}

// WriteBufferSize is how many bytes were accepted and not yet taken by the connection.
func (s *Stream) WriteBufferSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.accepted - s.taken)
}

// Write sends p, and never waits. It copies p. nil: p is accepted within the window, and
// goes out behind what was written before; should it not, Done, Err and ConnectionLost
// tell. Errors: ErrNoCredit (nothing was taken: the connection does not take what is
// under way), ErrTooLarge (p does not fit into the window at all), ErrWriteEOF of package
// transportactors, and what ended the stream.
func (s *Stream) Write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writableLocked(); err != nil || len(p) == 0 {
		return err
	}
	under := s.accepted - s.taken
	switch {
	case len(p) > Window:
		return fault.New(s.target(), "", fault.ErrTooLarge, fmt.Sprintf("%d bytes, the window has %d: use WriteWait", len(p), Window))
	case len(s.waiting) > 0 || under+uint64(len(p)) > Window:
		return fault.New(s.target(), "", fault.ErrNoCredit, fmt.Sprintf("%d bytes are under way and not taken", under))
	}
	s.acceptLocked(p)
	return nil
}

// WriteWait is Write that waits until the window has room for all of p, which may be
// larger than the window: it suspends the task or blocks the goroutine. When ctx ends
// the wait, a part of p may be on its way, and the rest follows it, so that the bytes
// of the connection stay whole. In a callback of a loop, which may not wait, it is Write.
func (s *Stream) WriteWait(ctx context.Context, p []byte) error {
	if ctx == nil {
		return fault.Config("WriteWait needs a ctx, not nil")
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", s.target(), context.Cause(ctx))
	}
	s.mu.Lock()
	if err := s.writableLocked(); err != nil || len(p) == 0 {
		s.mu.Unlock()
		return err
	}
	if len(s.waiting) == 0 && s.accepted-s.taken+uint64(len(p)) <= Window {
		s.acceptLocked(p)
		s.mu.Unlock()
		return nil
	}
	w, err := wait.New[error](ctx)
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("%w: %w", fault.New(s.target(), "", fault.ErrNoCredit, "the window is full"), err)
	}
	one := &waiting{wire.Write, p, &w}
	s.waiting = append(s.waiting, one)
	s.pumpLocked()
	s.mu.Unlock()
	refused, err := w.Wait(ctx)
	if err != nil {
		s.withdraw(one, len(p))
		return fmt.Errorf("%s: %w", s.target(), err)
	}
	return refused
}

// withdraw takes back a write of which nothing is in the window yet: then it has not
// happened. Otherwise its rest stays in the queue and follows.
func (s *Stream) withdraw(w *waiting, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.by = nil
	i := slices.Index(s.waiting, w)
	switch {
	case i < 0: // all of it is in the window
	case len(w.data) == size:
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.pumpLocked()
	default:
		w.data = bytes.Clone(w.data) // the caller has its memory back
	}
}

// writableLocked is why nothing can be written.
func (s *Stream) writableLocked() error {
	switch {
	case s.closing != nil:
		return s.closing
	case s.eof:
		return fmt.Errorf("%s: %w", s.target(), transportactors.ErrWriteEOF)
	}
	return nil
}

// acceptLocked takes p into the window. It copies p, behind the bytes that were not
// sent yet as far as their memory has room: many small writes travel together.
func (s *Stream) acceptLocked(p []byte) {
	s.accepted += uint64(len(p))
	for len(p) > 0 {
		n := len(s.items)
		if n == 0 || s.items[n-1].op != wire.Write || len(s.items[n-1].buf) == cap(s.items[n-1].buf) {
			s.items = append(s.items, item{wire.Write, s.out.memory.get(len(p), s.out.piece)})
			continue
		}
		last := &s.items[n-1].buf
		room := min(cap(*last)-len(*last), len(p))
		*last = append(*last, p[:room]...)
		p = p[room:]
	}
	s.queueLocked()
	s.hooks.sizeLocked(s)
}

// orderLocked puts an order behind what was written.
func (s *Stream) orderLocked(op wire.Op) {
	if len(s.waiting) > 0 {
		s.waiting = append(s.waiting, &waiting{op, nil, nil})
		return
	}
	s.items = append(s.items, item{op, nil})
	s.queueLocked()
}

// pumpLocked moves what waits into the window as far as there is room. It runs
// whenever room appears or the head of the queue goes away.
func (s *Stream) pumpLocked() {
	for len(s.waiting) > 0 {
		w := s.waiting[0]
		if w.op == wire.Write {
			room := max(Window-int64(s.accepted-s.taken), 0)
			n := int(min(room, int64(len(w.data))))
			if n > 0 {
				s.acceptLocked(w.data[:n])
				w.data = w.data[n:]
			}
			if len(w.data) > 0 {
				return
			}
		} else {
			s.items = append(s.items, item{w.op, nil})
			s.queueLocked()
		}
		if w.by != nil {
			w.by.Deliver(nil)
		}
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
	s.waiting = nil
}

// WriteEOF ends the output behind what was written; the input goes on.
func (s *Stream) WriteEOF() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing != nil || s.eof {
		return s.closing
	}
	s.eof = true
	s.orderLocked(wire.EOF)
	return nil
}

// PauseReading lets the connection read no more until ResumeReading.
func (s *Stream) PauseReading() error { return s.reading(wire.Pause) }

// ResumeReading lets the connection read again.
func (s *Stream) ResumeReading() error { return s.reading(wire.Resume) }

// reading orders the connection to read or not to read. It travels in order with the
// bytes.
func (s *Stream) reading(op wire.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil {
		s.orderLocked(op)
	}
	return s.closing
}

// Close closes the connection behind what was written. It does not wait: Done does.
func (s *Stream) Close() { s.leave(wire.Close) }

// Detach ends the stream behind what was written, and leaves the connection as it is.
func (s *Stream) Detach() { s.leave(wire.End) }

// leave is the common part of Close and Detach: nothing more is taken, and op follows
// what was written.
func (s *Stream) leave(op wire.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil {
		s.closing, s.own = fmt.Errorf("%s: %w", s.target(), transportactors.ErrClosed), true
		s.orderLocked(op)
	}
}

// Abort closes the connection at once and drops what waits.
func (s *Stream) Abort() {
	s.mu.Lock()
	if s.ended != nil || s.aborted {
		s.mu.Unlock()
		return
	}
	s.aborted, s.own = true, true
	s.closing = fmt.Errorf("%s: %w", s.target(), transportactors.ErrClosed)
	s.dropLocked(s.closing)
	s.mu.Unlock()
	s.out.abort(s)
}

// dropLocked forgets what was not sent and tells those who wait for it.
func (s *Stream) dropLocked(why error) {
	for _, w := range s.waiting {
		if w.by != nil {
			w.by.Deliver(why)
		}
	}
	for _, d := range s.drains {
		d.by.Deliver(why)
	}
	s.items, s.waiting, s.drains = nil, nil, nil
}

// Drain waits until the connection has taken all that was written before, at most until
// ctx ends, or says why it never will.
func (s *Stream) Drain(ctx context.Context) error {
	if ctx == nil {
		return fault.Config("Drain needs a ctx, not nil")
	}
	s.mu.Lock()
	at := s.accepted
	for _, w := range s.waiting {
		at += uint64(len(w.data))
	}
	if s.ended != nil || s.aborted || s.taken >= at {
		err := s.ended
		if s.aborted && err == nil {
			err = s.closing
		}
		s.mu.Unlock()
		return err
	}
	w, err := wait.New[error](ctx)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.drains = append(s.drains, drain{at, w})
	s.orderLocked(wire.Query)
	s.mu.Unlock()
	refused, err := w.Wait(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.target(), err)
	}
	return refused
}

func (s *Stream) target() string { return s.addr.Node + "/" + s.addr.Path }

// took notes what the connection has taken. The figure counts from the beginning of
// the stream, so an old one changes nothing and a lost one is made good by the next.
// More than was sent cannot be true: the other node has a fault, and the figure is
// dropped.
func (s *Stream) took(a wire.Amount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Bytes > s.sent.Bytes || a.Bytes <= s.taken {
		return // it cannot be true, or is old
	}
	s.taken = a.Bytes
	s.drains = slices.DeleteFunc(s.drains, func(d drain) bool {
		if d.at <= s.taken {
			d.by.Deliver(nil)
		}
		return d.at <= s.taken
	})
	s.pumpLocked()
	s.hooks.sizeLocked(s)
}

// end is the end of the stream. why is not nil; the first one counts, and only the
// caller of that one goes on to tell others. Everybody who waits is told here, under
// the lock, so that nobody can begin to wait behind it.
func (s *Stream) end(why error) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return false
	}
	s.ended = why
	if s.closing == nil {
		s.closing = why
	}
	s.dropLocked(why)
	s.hooks.endLocked(s)
	close(s.done)
	return true
}
