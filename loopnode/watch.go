package loopnode

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/core"
)

// watch is one descriptor that the loop watches, level triggered: a callback
// runs every turn while its condition holds. Owned by the loop goroutine.
type watch struct {
	loop       *Loop
	fd         int
	token      Token
	want       Events
	onReadable func()
	onWritable func()
	// Places in the ready queue of callbacks that wait to run.
	readPos, writePos uint64
	closed            bool
}

// watchOwned is loopaccess.Loop.Watch: the watch of a transport, which refuses
// AddReader and AddWriter until it is closed.
func (l *Loop) watchOwned(fd int, onReadable, onWritable func()) (*watch, error) {
	switch {
	case l.closed.Load():
		return nil, closedError(l)
	case onReadable == nil || onWritable == nil:
		return nil, invalid("a callback for descriptor %d is nil", fd)
	}
	if old := l.watches[fd]; old != nil {
		if old.transport {
			return nil, fmt.Errorf("%w: descriptor %d belongs to an open transport", ErrBusy, fd)
		}
		return nil, fmt.Errorf("%w: descriptor %d is watched with AddReader or AddWriter", ErrBusy, fd)
	}
	e := &fdWatch{transport: true}
	if err := l.begin(&e.w, fd, 0, onReadable, onWritable); err != nil {
		return nil, err
	}
	l.watches[fd] = e
	return &e.w, nil
}

func (l *Loop) newWatch(fd int, want Events, onReadable, onWritable func()) (*watch, error) {
	w := new(watch)
	if err := l.begin(w, fd, want, onReadable, onWritable); err != nil {
		return nil, err
	}
	return w, nil
}

// begin makes w the watch of fd.
func (l *Loop) begin(w *watch, fd int, want Events, onReadable, onWritable func()) error {
	*w = watch{loop: l, fd: fd, want: want, onReadable: onReadable, onWritable: onWritable}
	token, err := l.backend.Add(fd, want, w)
	if err != nil {
		return err
	}
	w.token = token
	l.watching++
	return nil
}

// Set says what to watch for. What is queued for a condition that is no longer
// watched does not run.
func (w *watch) Set(read, write bool) error {
	if w.closed {
		return fmt.Errorf("%w: the watch of descriptor %d is closed", ErrInvalidState, w.fd)
	}
	var want Events
	if read {
		want |= Readable
	} else {
		w.drop(&w.readPos)
	}
	if write {
		want |= Writable
	} else {
		w.drop(&w.writePos)
	}
	if want == w.want {
		return nil
	}
	if err := w.loop.backend.Modify(w.token, want); err != nil {
		return err
	}
	w.want = want
	return nil
}

// Close ends the registration: no callback of it runs any more, and the
// descriptor may be closed and its number used again at once.
func (w *watch) Close() {
	if w.closed {
		return
	}
	w.closed = true
	w.drop(&w.readPos)
	w.drop(&w.writePos)
	if e := w.loop.watches[w.fd]; e != nil && &e.w == w {
		delete(w.loop.watches, w.fd)
	}
	w.loop.watching--
	if err := w.loop.backend.Remove(w.token); err != nil && !w.loop.closed.Load() {
		w.loop.log.Debug("unwatching a descriptor failed", "fd", w.fd, "error", err)
	}
}

// drop takes a queued callback back.
func (w *watch) drop(pos *uint64) {
	if *pos != 0 {
		w.loop.core.Ready.Cancel(*pos - 1)
		*pos = 0
	}
}

// ready queues the callbacks whose condition holds.
func (w *watch) ready(ready Events) {
	if w.closed {
		return
	}
	q := &w.loop.core.Ready
	if ready&w.want&Readable != 0 {
		w.readPos = q.Push(core.Item{Run: w.onReadable}) + 1
	}
	if ready&w.want&Writable != 0 {
		w.writePos = q.Push(core.Item{Run: w.onWritable}) + 1
	}
}

// fdWatch is who watches a descriptor: a transport, or AddReader and AddWriter.
type fdWatch struct {
	w              watch
	transport      bool
	reader, writer func()
}

// AddReader runs fn every turn while fd is readable, until RemoveReader; a
// second call replaces the first function. The descriptor stays the caller's.
// Errors: ErrLoopClosed, ErrInvalidArgument (negative number, nil function),
// ErrBusy (an open transport owns it, a socket operation waits there), the kernel's EBADF, and EPERM for a
// regular file. Loop goroutine. asyncio: loop.add_reader.
func (l *Loop) AddReader(fd int, fn func()) error {
	return l.addFD(fd, false, fn, func(e *fdWatch) *func() { return &e.reader })
}

// AddWriter is AddReader for writability. asyncio: loop.add_writer.
func (l *Loop) AddWriter(fd int, fn func()) error {
	return l.addFD(fd, true, fn, func(e *fdWatch) *func() { return &e.writer })
}

// RemoveReader stops the reader and reports whether there was one. asyncio:
// loop.remove_reader; the descriptor of an open transport is refused with false.
func (l *Loop) RemoveReader(fd int) bool {
	return l.removeFD(fd, func(e *fdWatch) *func() { return &e.reader })
}

// RemoveWriter stops the writer and reports whether there was one.
// asyncio: loop.remove_writer.
func (l *Loop) RemoveWriter(fd int) bool {
	return l.removeFD(fd, func(e *fdWatch) *func() { return &e.writer })
}

// watched returns ErrBusy when an open transport owns fd, nil otherwise.
func (l *Loop) watched(fd int) error {
	if e := l.watches[fd]; e != nil && e.transport {
		return fmt.Errorf("%w: descriptor %d belongs to an open transport; use the transport, or close it first", ErrBusy, fd)
	}
	return nil
}

func (l *Loop) addFD(fd int, write bool, fn func(), of func(*fdWatch) *func()) error {
	switch {
	case l.closed.Load():
		return closedError(l)
	case fd < 0:
		return invalid("descriptor %d is negative", fd)
	case fn == nil:
		return invalid("the callback for descriptor %d is nil", fd)
	}
	if err := l.checkGoroutine("Loop.AddReader or AddWriter"); err != nil {
		return err
	}
	if err := l.watched(fd); err != nil {
		return err
	}
	if err := l.unheld(side{fd, write}); err != nil {
		return err
	}
	e := l.watches[fd]
	if e == nil || e.w.stale() {
		if e != nil {
			e.w.Close()
		}
		e = &fdWatch{}
		err := l.begin(&e.w, fd, 0, func() { e.w.readPos = 0; e.reader() }, func() { e.w.writePos = 0; e.writer() })
		if err != nil {
			return watchError(fd, err)
		}
		l.watches[fd] = e
	}
	f := of(e)
	if *f != nil {
		e.cancelQueued(f) // the first function is replaced, also where it waits
	}
	*f = fn
	return e.w.Set(e.reader != nil, e.writer != nil)
}

// cancelQueued takes back what waits in the queue for one side.
func (e *fdWatch) cancelQueued(f *func()) {
	if f == &e.reader {
		e.w.drop(&e.w.readPos)
	} else {
		e.w.drop(&e.w.writePos)
	}
}

// stale reports whether the kernel forgot the registration: its descriptor was
// closed without RemoveReader and the number may be another file by now.
func (w *watch) stale() bool {
	return w.closed || w.loop.backend.Modify(w.token, w.want) != nil
}

func (l *Loop) removeFD(fd int, side func(*fdWatch) *func()) bool {
	if l.checkGoroutine("Loop.RemoveReader or RemoveWriter") != nil {
		return false
	}
	e := l.watches[fd]
	if e == nil || e.transport || *side(e) == nil {
		return false
	}
	*side(e) = nil
	if e.reader == nil && e.writer == nil {
		e.w.Close()
		return true
	}
	if err := e.w.Set(e.reader != nil, e.writer != nil); err != nil {
		l.log.Debug("unwatching a descriptor failed", "fd", fd, "error", err)
	}
	return true
}

// watchError makes the kernel's refusals readable.
func watchError(fd int, err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("descriptor %d cannot be watched: it is a regular file or directory, which is always ready: %w", fd, err)
	case errors.Is(err, syscall.EBADF):
		return fmt.Errorf("descriptor %d is not open: %w", fd, err)
	}
	return fmt.Errorf("watching descriptor %d: %w", fd, err)
}
